/** `baseload screen` and `baseload bids`: who could run it, at what price, why others cannot, and what would help. */
import type { Command } from 'commander'
import { EXIT, Failure } from '../shell/failure.ts'
import type { GatewayClient } from '../shell/gateway-client.ts'
import { table } from '../shell/terminal.ts'
import { understand } from './answers.ts'
import { clientOf, describeClient, print, textOf, type Flags, type Shell } from './command.ts'
import {
  deployment,
  deploymentPath,
  fetchDeployment,
  perHour,
  screening,
  type Deployment,
  type Screening,
} from './deployment-answers.ts'
import { readInput } from './sdl-file.ts'
import { safeFile } from './sealing.ts'

export function screenCommand(command: Command, shell: Shell): Command {
  return describeClient(
    command.argument('<file>', 'the SDL file, or - for standard input'),
    'Show who could run an SDL file, at what price, and why others cannot; costs nothing',
    'baseload screen app.yaml',
    "baseload screen app.yaml --json | jq '.groups[].bids | length'",
  ).action((file: string, flags: Flags) => screenFile(file, flags, shell))
}

/** Fails when some group could run nowhere. `sealed`: it will have secrets, which not every node can open. */
export async function screenFile(
  file: string,
  flags: Flags,
  shell: Shell,
  sealed = false,
): Promise<void> {
  const { sdl } = safeFile(await readInput(file), new Map(), flags, shell)
  const body = { sdl, ...(sealed && { sealed }) }
  const answer = await clientOf(flags, shell).post('/v1/deployments/screen', body)
  await print(flags, shell.terminal, answer, () => screeningPage(understand(screening, answer)))
  const { groups } = understand(screening, answer)
  const nowhere = groups.filter(({ bids }) => bids.length === 0).map(({ group }) => `'${group}'`)
  if (nowhere.length > 0)
    throw new Failure(EXIT.refused, `nobody can run ${nowhere.join(', ')} now`, {
      code: 'no_bids',
      next: 'change what excludes most nodes; where none leases, `baseload join` on a machine with Docker or Podman',
    })
}

export function bidsCommand(command: Command, shell: Shell): Command {
  return describeClient(
    command.argument('<deployment>', 'id or name'),
    'Show the bids for a deployment, and take one where its rule is manual',
    'baseload bids shop',
    'baseload bids shop --accept node_0123456789abcdefghjkmnpq',
  )
    .option('--accept <node>', "take this node's bid")
    .option('--lease <id>', 'for which lease, where more than one waits')
    .action(async (id: string, flags: Flags) => {
      const client = clientOf(flags, shell)
      const found = await fetchDeployment(client, id)
      const node = textOf(flags, 'accept')
      if (node !== undefined) return acceptBid(client, found, node, flags, shell)
      const answer = await client.get(`${deploymentPath(found.id)}/bids`)
      await print(flags, shell.terminal, answer, () => screeningPage(understand(screening, answer)))
    })
}

async function acceptBid(
  client: GatewayClient,
  found: Deployment,
  node: string,
  flags: Flags,
  { terminal }: Shell,
): Promise<void> {
  const lease = textOf(flags, 'lease') ?? onlyWaiting(found)
  const path = `${deploymentPath(found.id)}/leases/${encodeURIComponent(lease)}/accept`
  const answer = await client.post(path, { node })
  await print(flags, terminal, answer, () => {
    const { leases, name } = understand(deployment, answer)
    const taken = leases.find(({ id }) => id === lease)
    const price = taken ? ` at ${perHour(taken.rate)}` : ''
    return `${node} has it${price}; \`baseload events -f ${name}\` shows it start\n`
  })
}

function onlyWaiting({ leases, name }: Deployment): string {
  const waiting = leases.filter(({ state }) => state === 'bid' || state === 'ordered')
  const [first] = waiting
  if (first && waiting.length === 1) return first.id
  if (!first)
    throw new Failure(EXIT.refused, `no lease of ${name} waits for a choice`, {
      code: 'nothing_waits',
      next: `\`baseload leases ${name}\` shows their states`,
    })
  const names = waiting.map(({ id, group }) => `${id} (${group})`).join(', ')
  throw new Failure(EXIT.usage, `${waiting.length} leases wait: say which with --lease`, {
    next: names,
  })
}

/** A person rarely reads further; --json has all. */
const MAX_SHOWN_BIDS = 10

function screeningPage({ groups, warnings }: Screening): string {
  const notes = warnings.map((warning) => `! ${warning}\n`).join('')
  return notes + groups.map(groupPage).join('\n')
}

function groupPage({ group, max_rate, bids, reasons, relaxations }: Screening['groups'][number]) {
  const head = ['node', 'provider', 'tier', 'region', 'gpu', 'images', 'by', 'price', 'a month']
  const rows = bids
    .slice(0, MAX_SHOWN_BIDS)
    .map((one) => [
      one.node,
      one.provider ?? '–',
      one.tier,
      one.region ?? '–',
      one.gpu ?? '–',
      one.cached ? 'cached' : 'to pull',
      one.by,
      perHour(one.rate),
      `$${one.rate.usd_per_month}`,
    ])
  const more = bids.length > rows.length ? `… and ${bids.length - rows.length} more\n` : ''
  const count = bids.length === 1 ? '1 bid' : `${bids.length} bids`
  return [
    `${group}: ${count}, at most ${perHour(max_rate)}\n`,
    bids.length === 0 ? '' : table([head, ...rows], [7, 8]) + more,
    listing('Others cannot:', reasons),
    listing('What would help:', relaxations),
  ].join('')
}

const listing = (head: string, lines: readonly string[]): string =>
  lines.length === 0 ? '' : `${head}\n${lines.map((line) => `  ${line}\n`).join('')}`
