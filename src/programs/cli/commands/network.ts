/** `baseload network` and `baseload models`: who serves what, how fast, at what price. */
import type { Command } from 'commander'
import { z } from 'zod'
import type { GatewayClient } from '../shell/gateway-client.ts'
import { table } from '../shell/terminal.ts'
import { listOf, understand } from './answers.ts'
import { clientOf, describeClient, print, type Flags, type Shell } from './command.ts'

const replica = z.looseObject({
  model: z.string(),
  context_tokens: z.number(),
  input_usd_per_mtok: z.string(),
  output_usd_per_mtok: z.string(),
  slots: z.number(),
  free_slots: z.number(),
  tokens_per_second: z.number().nullable(),
  cooldown: z.looseObject({ reason: z.string() }).nullable(),
})
const node = z.looseObject({
  id: z.string(),
  tier: z.string(),
  region: z.string().nullable(),
  provider: z.string().nullable(),
  uptime: z.number().nullable(),
  draining: z.boolean(),
  models: z.array(replica),
})
type Node = z.infer<typeof node>
type Replica = z.infer<typeof replica>

const PAGE = 1000

export function networkCommand(command: Command, shell: Shell): Command {
  return describeClient(
    command,
    'Show the nodes of a network: models, free slots, speed, uptime',
    'baseload network',
    'baseload network --url https://gateway.example --json',
  ).action(async (flags: Flags) => {
    const client = clientOf(flags, shell)
    const [totals, nodes] = await Promise.all([client.get('/v1/network'), allNodes(client)])
    await print(flags, shell.terminal, { network: totals, nodes }, () =>
      nodePage(client.url, nodes),
    )
  })
}

export function modelsCommand(command: Command, shell: Shell): Command {
  return describeClient(
    command,
    'Show what can be asked for, and at what price',
    'baseload models',
    "baseload models --json | jq -r '.models[].model'",
  ).action(async (flags: Flags) => {
    const client = clientOf(flags, shell)
    const models = modelsOf(await allNodes(client))
    await print(flags, shell.terminal, { models }, () => modelPage(models))
  })
}

async function allNodes(client: GatewayClient): Promise<Node[]> {
  const nodes: Node[] = []
  const page = listOf(node).extend({ has_more: z.boolean() })
  for (let more = true; more;) {
    const after = nodes.length === 0 ? '' : `&after=${encodeURIComponent(nodes.at(-1)?.id ?? '')}`
    const answer = understand(page, await client.get(`/v1/network/nodes?limit=${PAGE}${after}`))
    nodes.push(...answer.data)
    more = answer.has_more
  }
  return nodes
}

function nodePage(url: string, nodes: readonly Node[]): string {
  if (nodes.length === 0)
    return `No node is linked to ${url}. Add one: baseload join ${url} --model <file.gguf>\n`
  const head = [
    'node',
    'tier',
    'region',
    'provider',
    'state',
    'uptime',
    'model',
    'free',
    'tokens/s',
  ]
  const rows = nodes.flatMap((one) => {
    const about = [one.id, one.tier, one.region ?? '–', one.provider ?? '–']
    const uptime = one.uptime === null ? '–' : `${(one.uptime * 100).toFixed(1)} %`
    if (one.models.length === 0) return [[...about, stateOf(one), uptime, '–', '–', '–']]
    return one.models.map((served) => [
      ...about,
      stateOf(one, served),
      uptime,
      served.model,
      `${served.free_slots}/${served.slots}`,
      served.tokens_per_second === null ? '–' : String(served.tokens_per_second),
    ])
  })
  return table([head, ...rows], [5, 7, 8])
}

function stateOf({ draining }: Node, served?: Replica): string {
  if (draining) return 'draining'
  return served?.cooldown ? `resting: ${served.cooldown.reason}` : 'serving'
}

type ModelRow = {
  readonly model: string
  readonly nodes: number
  readonly slots: number
  readonly free_slots: number
  readonly context_tokens: number
  readonly input_usd_per_mtok: string
  readonly output_usd_per_mtok: string
}

/** One row a model; prices and context are the best that some node offers. */
function modelsOf(nodes: readonly Node[]): ModelRow[] {
  const replicas = nodes.flatMap((one) => one.models)
  const names = [...new Set(replicas.map(({ model }) => model))].toSorted()
  return names.map((model) => {
    const serving = replicas.filter((one) => one.model === model)
    const sum = (of: (one: Replica) => number) => serving.reduce((total, one) => total + of(one), 0)
    return {
      model,
      nodes: serving.length,
      slots: sum(({ slots }) => slots),
      free_slots: sum(({ free_slots }) => free_slots),
      context_tokens: Math.max(...serving.map((one) => one.context_tokens)),
      input_usd_per_mtok: lowest(serving.map((one) => one.input_usd_per_mtok)),
      output_usd_per_mtok: lowest(serving.map((one) => one.output_usd_per_mtok)),
    }
  })
}

const lowest = (prices: readonly string[]): string =>
  prices.toSorted((a, b) => Number(a) - Number(b))[0] ?? '–'

function modelPage(models: readonly ModelRow[]): string {
  if (models.length === 0)
    return 'No node serves a model now; `baseload network` shows the nodes.\n'
  const head = ['model', 'nodes', 'free', 'context', '$/M in from', '$/M out from']
  const rows = models.map((one) => [
    one.model,
    String(one.nodes),
    `${one.free_slots}/${one.slots}`,
    String(one.context_tokens),
    one.input_usd_per_mtok,
    one.output_usd_per_mtok,
  ])
  return table([head, ...rows], [1, 2, 3, 4, 5])
}
