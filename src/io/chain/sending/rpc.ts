/**
 * A chain through one or several RPC servers that need not be honest. A fact counts when a majority of those configured
 * gives the same; whoever stalls, lags, lies, fails or limits us makes us wait, and nothing else. With a single server its
 * word is all there is.
 */
import {
  BaseError,
  createPublicClient,
  custom,
  http,
  RpcRequestError,
  type PublicClient,
} from 'viem'
import { Fault, reasonOf } from '../../../core/base/refusal.ts'
import type { Logger } from '../../telemetry/logger.ts'
import { atHeight, factOf, policyOf, pickOne } from './rpc-facts.ts'

export type Call = { readonly method: string; readonly params?: unknown }

export type ChainRpc = {
  readonly chainId: number
  /** For reading: each call goes through the majority. */
  readonly client: PublicClient
  /** Throws a Fault `chain_unavailable` (retryable) while there is no majority, or what a majority refused it with. */
  readonly request: (call: Call) => Promise<unknown>
  /** What is wrong with which server, by its host: addresses may hold keys. */
  readonly troubles: () => readonly string[]
}

/** One JSON-RPC server: answers, refuses with an `RpcRequestError`, or fails otherwise. */
type Server = {
  readonly host: string
  readonly ask: (call: Call) => Promise<unknown>
  readonly trouble: () => string | null
}

const DEADLINE_MS = 5_000
const FIRST_PAUSE_MS = 250
const LAST_PAUSE_MS = 15_000
/** "Limit exceeded", as EIP-1474 has it; some say HTTP's number. */
const LIMITED = new Set([-32_005, 429])

type RpcOptions = {
  readonly urls: readonly string[]
  readonly logger: Logger
  readonly deadlineMs?: number
}

/** Resolves when a majority tells the same chain id; tries until then, or until the signal. */
export async function openRpc(
  options: RpcOptions & { readonly chainId?: number; readonly signal?: AbortSignal },
): Promise<ChainRpc> {
  const { urls, logger, chainId, signal } = options
  if (urls.length === 0)
    throw new Fault('config_invalid', 'No RPC address of a chain is given: set chainRpc.')
  if (chainId !== undefined) return rpcOf(options, chainId)
  const plain = urls.map((url) => serverOf(url, options, null))
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, LAST_PAUSE_MS)) {
    try {
      const told = await majority(plain, { method: 'eth_chainId' })
      return rpcOf(options, Number(told))
    } catch (error) {
      logger.warn('the chain cannot be reached', { error: reasonOf(error) })
      await pause(pauseMs, signal)
    }
  }
}

function rpcOf(options: RpcOptions, chainId: number): ChainRpc {
  const servers = options.urls.map((url) => serverOf(url, options, chainId))
  const request = (call: Call): Promise<unknown> => decide(servers, call)
  const client = createPublicClient({
    transport: custom({ request }, { retryCount: 0 }),
    cacheTime: 0,
  })
  const troubles = (): string[] =>
    servers.flatMap(({ host, trouble }) => {
      const what = trouble()
      return what === null ? [] : [`${host}: ${what}`]
    })
  return { chainId, client, request, troubles }
}

async function decide(servers: readonly Server[], call: Call): Promise<unknown> {
  switch (policyOf(call.method)) {
    case 'send':
      return await anyOf(servers, call)
    case 'estimate':
      return await pickOne(call.method, await several(servers, call))
    case 'height':
      return await height(servers, call)
    case 'fact': {
      // "The latest" is another block for each of them: ask for the one that a majority has.
      const latest = (): Promise<string> => height(servers, { method: 'eth_blockNumber' })
      const exact = servers.length === 1 ? call : await atHeight(call, latest)
      return await majority(servers, exact)
    }
  }
}

/** What a majority says. Resolves as soon as it has, whatever the others do. */
function majority(servers: readonly Server[], call: Call): Promise<unknown> {
  const need = Math.floor(servers.length / 2) + 1
  return new Promise((resolve, reject) => {
    const votes = new Map<string, number>()
    const failures: string[] = []
    let open = servers.length
    const vote = (fact: string, settle: () => void): void => {
      const count = (votes.get(fact) ?? 0) + 1
      votes.set(fact, count)
      if (count === need) settle()
    }
    const done = (): void => {
      open -= 1
      if (open === 0) reject(unsure(call.method, votes.size, failures))
    }
    for (const server of servers)
      server
        .ask(call)
        .then(
          (value) => vote(factOf(call.method, value), () => resolve(value)),
          (error: unknown) => {
            if (error instanceof RpcRequestError) vote(refusalOf(error), () => reject(error))
            else failures.push(`${server.host}: ${reasonOf(error)}`)
          },
        )
        .finally(done)
  })
}

/** The answers of a majority, whichever come first; or what a majority refused it with. */
async function several(servers: readonly Server[], call: Call): Promise<unknown[]> {
  const need = Math.floor(servers.length / 2) + 1
  return await new Promise((resolve, reject) => {
    const answers: unknown[] = []
    const refusals: RpcRequestError[] = []
    const failures: string[] = []
    let open = servers.length
    const done = (): void => {
      open -= 1
      if (answers.length >= need) resolve(answers)
      else if (refusals[0] && refusals.length >= need) reject(refusals[0])
      else if (open === 0) reject(unsure(call.method, answers.length, failures))
    }
    for (const server of servers)
      server
        .ask(call)
        .then(
          (value) => answers.push(value),
          (error: unknown) => {
            if (error instanceof RpcRequestError) refusals.push(error)
            else failures.push(`${server.host}: ${reasonOf(error)}`)
          },
        )
        .finally(done)
  })
}

/** A transaction is out when one has taken it; the rest hear of it all the same. */
async function anyOf(servers: readonly Server[], call: Call): Promise<unknown> {
  try {
    return await Promise.any(servers.map(async (server) => await server.ask(call)))
  } catch (error) {
    const errors: unknown[] = error instanceof AggregateError ? error.errors : [error]
    throw (
      errors.find((each) => each instanceof RpcRequestError) ??
      unsure(call.method, 0, errors.map(reasonOf))
    )
  }
}

/**
 * The highest block that a majority has: one that runs ahead is not followed, one that lags holds nobody up. All are waited
 * for, unless a majority is close together already.
 */
function height(servers: readonly Server[], call: Call): Promise<string> {
  const need = Math.floor(servers.length / 2) + 1
  return new Promise((resolve, reject) => {
    const heights: bigint[] = []
    const failures: string[] = []
    let open = servers.length
    const done = (): void => {
      open -= 1
      heights.sort((a, b) => (a < b ? 1 : -1))
      const [highest, most] = [heights[0], heights[need - 1]]
      if (highest !== undefined && most !== undefined && (open === 0 || highest - most <= CLOSE))
        resolve(`0x${most.toString(16)}`)
      else if (open === 0) reject(unsure(call.method, heights.length, failures))
    }
    for (const server of servers)
      server
        .ask(call)
        .then((value) => heights.push(blockNumber(value)))
        .catch((error: unknown) => failures.push(`${server.host}: ${reasonOf(error)}`))
        .finally(done)
  })
}

/** Blocks: what honest servers differ by. */
const CLOSE = 2n

function blockNumber(value: unknown): bigint {
  if (typeof value === 'string' && /^0x[0-9a-f]{1,16}$/i.test(value)) return BigInt(value)
  throw new Error('it gave no block number')
}

const refusalOf = ({ code, message, data }: RpcRequestError): string =>
  `refused ${typeof data === 'string' ? data : `${code} ${message}`}`

const unsure = (method: string, opinions: number, failures: readonly string[]): Fault =>
  new Fault(
    'chain_unavailable',
    `The chain's RPC servers give no common answer to ${method} (${opinions} opinions${failures.length > 0 ? `; ${failures.join('; ')}` : ''}). It is tried again by itself.`,
    { retryable: true },
  )

/** Pauses after each failure, and serves only when it is of this chain. */
function serverOf(url: string, { logger, deadlineMs }: RpcOptions, chainId: number | null): Server {
  const host = new URL(url).host
  const timeout = deadlineMs ?? DEADLINE_MS
  const transport = http(url, { retryCount: 0, timeout })({ retryCount: 0 })
  const raw = ({ method, params }: Call): Promise<unknown> =>
    withDeadline(transport.request({ method, params }), timeout)
  let known = chainId === null
  let pauseMs = 0
  let restUntil = 0
  let problem: string | null = null
  const fail = (why: string): void => {
    pauseMs = pauseMs === 0 ? FIRST_PAUSE_MS : Math.min(2 * pauseMs, LAST_PAUSE_MS)
    restUntil = performance.now() + pauseMs
    // It may be another server when it is back.
    known = chainId === null
    if (problem !== why) logger.warn('trouble with an RPC server of the chain', { host, why })
    problem = why
  }
  const ask = async (call: Call): Promise<unknown> => {
    if (performance.now() < restUntil) throw new Error(problem ?? 'it rests')
    try {
      if (!known) {
        const told = Number(await raw({ method: 'eth_chainId' }))
        if (told !== chainId) throw new Error(`it is of chain ${told}, not ${chainId}`)
        known = true
      }
      const value = await raw(call)
      if (problem !== null) logger.info('an RPC server of the chain is well again', { host })
      pauseMs = 0
      problem = null
      return value
    } catch (error) {
      const refusal = refusalIn(error)
      if (refusal !== null && !LIMITED.has(refusal.code)) throw refusal
      fail(shortReason(error))
      throw new Error(shortReason(error), { cause: error })
    }
  }
  return { host, ask, trouble: () => problem }
}

/** What the server itself answered: viem wraps it by its code. */
function refusalIn(error: unknown): RpcRequestError | null {
  const found =
    error instanceof BaseError ? error.walk((each) => each instanceof RpcRequestError) : null
  return found instanceof RpcRequestError ? found : null
}

/** viem's messages hold the address, which may hold a key. */
function shortReason(error: unknown): string {
  if (!(error instanceof Error)) return 'it failed'
  if ('status' in error && typeof error.status === 'number') return `HTTP ${error.status}`
  if ('details' in error && typeof error.details === 'string')
    return error.details.replaceAll(/https?:\/\/\S+/g, '…').slice(0, 200)
  return error.message.replaceAll(/https?:\/\/\S+/g, '…').slice(0, 200)
}

async function withDeadline<T>(work: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${ms} ms`)), ms)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}

async function pause(ms: number, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted()
  await new Promise<void>((resolve) => {
    const end = (): void => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', end)
      resolve()
    }
    const timer = setTimeout(end, ms)
    signal?.addEventListener('abort', end, { once: true })
  })
  signal?.throwIfAborted()
}
