/**
 * A whole network in this process: a real PostgreSQL, a real gateway, real nodes over real links, and engines
 * that know twelve words, so that every token is foreseen. Stopped when the test ends.
 */
import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { idFrom } from '../../src/core/base/id.ts'
import { silentLogger } from '../../src/io/telemetry/logger.ts'
import { testDatabaseUrl } from '../../src/io/store/testing.ts'
import { createPostgresStore } from '../../src/io/store/postgres-store.ts'
import {
  NO_LIMITS,
  SCOPES,
  TEST_CREDIT,
  tenantLedger,
  type ApiKey,
  type Store,
} from '../../src/io/store/store.ts'
import { gatewayConfig, type GatewayConfig } from '../../src/programs/gateway/config.ts'
import {
  startGateway,
  type GatewayParts,
  type RunningGateway,
} from '../../src/programs/gateway/main.ts'
import { nodeConfig } from '../../src/programs/node/config.ts'
import {
  createFakeEngine,
  fakeModel,
  type FakeEngine,
} from '../../src/programs/node/fake-engine.ts'
import { startNode, type RunningNode } from '../../src/programs/node/main.ts'

export type SmallNode = {
  readonly node: RunningNode
  readonly engine: FakeEngine
  readonly id: string
}

export type SmallNetwork = {
  readonly gateway: RunningGateway
  readonly url: string
  readonly store: Store
  readonly nodes: readonly SmallNode[]
  /** A key of the first tenant, with every scope but the operator's. */
  readonly key: string
  readonly account: string
  /** The gateway's line for people about each request. */
  readonly lines: string[]
  addNode(): Promise<SmallNode>
  /** Ends the gateway and starts it again, at the same port. */
  restart(): Promise<void>
  newTenant(nanoUsd: bigint): Promise<string>
  newKey(account: string, more?: Partial<ApiKey>): Promise<{ key: string; id: string }>
  post(
    path: string,
    body: unknown,
    more?: { key?: string; headers?: Record<string, string>; signal?: AbortSignal },
  ): Promise<Response>
  get(path: string, key?: string): Promise<Response>
  /** Waits until the condition holds, looking every 10 ms; fails after 10 s. */
  until(what: string, condition: () => boolean | Promise<boolean>): Promise<void>
}

/** Tenant with $5, two nodes unless told otherwise. */
export async function smallNetwork(
  t: TestContext,
  options: {
    nodes?: number
    config?: Partial<GatewayConfig>
    openChain?: GatewayParts['openChain']
  } = {},
): Promise<SmallNetwork> {
  const folder = mkdtempSync(join(tmpdir(), 'baseload-network-'))
  const databaseUrl = await testDatabaseUrl()
  const lines: string[] = []
  const config = gatewayConfig.parse({
    home: join(folder, 'gateway'),
    databaseUrl,
    logRequests: 'pretty',
    ...options.config,
  })
  const { openChain } = options
  const parts: GatewayParts = {
    logger: silentLogger,
    say: (line) => void lines.push(line),
    openChain,
  }
  const running = { gateway: await startGateway(config, parts) }
  const { gateway } = running
  const store = await createPostgresStore({ url: databaseUrl, logger: silentLogger })
  const nodes: SmallNode[] = []
  t.after(async () => {
    await Promise.all(nodes.map(({ node }) => node.stop()))
    await running.gateway.close()
    await store.close()
    rmSync(folder, { recursive: true, force: true })
  })

  const newTenant: SmallNetwork['newTenant'] = async (nanoUsd) => {
    const id = idFrom('acct', randomBytes(15))
    await store.createAccount({ id, kind: 'tenant', name: 'alice', limits: NO_LIMITS })
    await store.transfer({
      key: `deposit-${id}`,
      debit: TEST_CREDIT,
      credit: tenantLedger(id),
      nanoUsd,
      kind: 'deposit',
      reference: 'test credit',
    })
    return id
  }
  const newKey: SmallNetwork['newKey'] = async (account, more = {}) => {
    const key = `sk-bl-${randomBytes(24).toString('base64url')}`
    const made = await store.createKey({
      id: idFrom('key', randomBytes(15)),
      account,
      name: 'test',
      hint: key.slice(0, 10),
      hash: createHash('sha256').update(key).digest('hex'),
      scopes: SCOPES.filter((scope) => scope !== 'operator'),
      limits: NO_LIMITS,
      budgetNanoUsd: null,
      expiresAt: null,
      ...more,
    })
    return { key, id: made.id }
  }
  const addNode = async (): Promise<SmallNode> => {
    const engine = createFakeEngine()
    const home = join(folder, `node-${nodes.length}`)
    const settings = nodeConfig.parse({
      gateways: [gateway.url],
      home,
      models: [{ source: 'words.gguf', name: 'words' }],
      drainSeconds: 1,
    })
    const node = await startNode(settings, {
      logger: silentLogger,
      say: () => {},
      engine,
      settleMs: 500,
    })
    const small = { node, engine, id: node.id }
    nodes.push(small)
    await until(
      `${node.id} is linked`,
      async () =>
        (await (await fetch(`${gateway.url}/v1/network`)).text()) !== '' &&
        (await linked(gateway.url, node.id)),
    )
    return small
  }

  const account = await newTenant(5_000_000_000n)
  const { key } = await newKey(account)
  for (let i = 0; i < (options.nodes ?? 2); i++) await addNode()
  return {
    gateway,
    url: gateway.url,
    store,
    nodes,
    key,
    account,
    lines,
    addNode,
    async restart() {
      await running.gateway.close()
      const port = Number(new URL(gateway.url).port)
      running.gateway = await startGateway({ ...config, port }, parts)
      await until('nodes are linked again', async () => {
        const headers = { authorization: `Bearer ${key}` }
        const { data } = await answerOf(await fetch(`${gateway.url}/v1/models`, { headers }))
        return data.length > 0
      })
    },
    newTenant,
    newKey,
    until,
    post: (path, body, more = {}) =>
      fetch(gateway.url + path, {
        method: 'POST',
        headers: {
          authorization: `Bearer ${more.key ?? key}`,
          'content-type': 'application/json',
          ...more.headers,
        },
        body: typeof body === 'string' ? body : JSON.stringify(body),
        ...(more.signal && { signal: more.signal }),
      }),
    get: (path, other = key) =>
      fetch(gateway.url + path, { headers: { authorization: `Bearer ${other}` } }),
  }
}

const until: SmallNetwork['until'] = async (what, condition) => {
  for (let i = 0; i < 1000; i++) {
    if (await condition()) return
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  throw new Error(`waited 10 s in vain: ${what}`)
}

async function linked(url: string, node: string): Promise<boolean> {
  const response = await fetch(`${url}/v1/network/nodes/${node}`)
  return response.status === 200
}

/** What the words engine says, from token `begin` on, at most `count` tokens. */
export function words(begin = 0, count = 12): string {
  const all = 'the base load is what people can always count on today'.split(' ')
  return all
    .slice(begin, begin + count)
    .map((word) => `${word} `)
    .join('')
}

export const MODEL = fakeModel.model
export const hello = { model: MODEL, messages: [{ role: 'user', content: 'hello' }] }

/** What the tests look at of any JSON answer: absent members are their own failure. */
export type Answer = {
  choices: { message: { content: string }; finish_reason: string }[]
  data: { embedding: number[] }[]
  usage: { prompt_tokens: number; completion_tokens: number }
  error: { message: string; code: string; param: string | null }
  baseload: {
    attempts: { node: string; tokens: number; outcome: string }[]
    seeds: number[]
    price_nano_usd: string
  }
  receipt: { outputTokens: number; nanoUsd: string }
}

export async function answerOf(response: Response): Promise<Answer> {
  const answer: Answer = JSON.parse(await response.text())
  return answer
}

/** The data of each event of an SSE answer, `[DONE]` included. */
export async function eventsOf(response: Response): Promise<string[]> {
  const text = await response.text()
  return text
    .split('\n\n')
    .filter((event) => event !== '')
    .map((event) => event.replace(/^data: /, ''))
}

/** The text of all chat chunks. */
export const textOf = (events: readonly string[]): string =>
  events
    .filter((event) => event.startsWith('{'))
    .map((event): { choices?: { delta?: { content?: string } }[] } => JSON.parse(event))
    .map(({ choices }) => choices?.[0]?.delta?.content ?? '')
    .join('')
