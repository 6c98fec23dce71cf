/**
 * `baseload up`: a whole network on this machine. PostgreSQL and the engine come up side by side, then the gateway and
 * its nodes as processes of their own; this process looks after them all until Ctrl-C.
 */
import { join } from 'node:path'
import { reasonOf } from '../../../core/base/refusal.ts'
import { createLogger, type Logger } from '../../../io/telemetry/logger.ts'
import { EXIT, Failure } from '../shell/failure.ts'
import { makePrivateFolder } from '../shell/home.ts'
import { readNetworkFile, writeNetworkFile, type NetworkFile } from '../shell/network-file.ts'
import { aborted, type StopRequests } from '../shell/stop-requests.ts'
import type { Terminal } from '../shell/terminal.ts'
import { findRuntime } from '../../node/leases/find-runtime.ts'
import { banner } from './banner.ts'
import type { FirstAccounts } from './first-accounts.ts'
import { choosePort } from './free-port.ts'
import { lockHome, type HomeLock } from './home-lock.ts'
import { endLeftovers } from './leftovers.ts'
import { openLocalMoney, type LocalMoney } from './local-money.ts'
import { startNetwork, type NetworkPlan, type RunningProcesses } from './network.ts'
import { networkPlan } from './network-plan.ts'
import type { UpConfig } from './up-config.ts'
import { untilServing } from './until-serving.ts'

/** Children of a killed supervisor notice its end by themselves; those that hang are killed after this. */
const LEFTOVER_GRACE_MS = 3_000

export type UpParts = {
  readonly config: UpConfig
  /** Given on to the gateway and the nodes. */
  readonly configFile: string
  readonly json: boolean
  readonly terminal: Terminal
  readonly stops: StopRequests
  readonly env: NodeJS.ProcessEnv
}

/** Runs until it is asked to stop, or the gateway leaves; then nothing of it runs any more. */
export async function up(parts: UpParts): Promise<void> {
  const { terminal, stops } = parts
  const home = makePrivateFolder(parts.config.home)
  const lock = lockHome(home)
  makePrivateFolder(join(home, 'logs'))
  const said = stopwatch(terminal)
  const closers: Closer[] = [() => lock.release()]
  try {
    const starting = start({ ...parts, home, said, closers, lock })
    // Asked to stop, what is still starting breaks off by itself.
    const started = starting.catch((error: unknown) => {
      if (!stops.stop.aborted) throw error
    })
    const stopped = aborted(stops.stop)
    const network = await Promise.race([started, stopped])
    if (network) await Promise.race([network.over, stopped])
    // After the ^C that the terminal shows.
    if (terminal.isTty) terminal.err('\n')
    said('stopping; Ctrl-C again kills at once')
  } finally {
    await closeAll(closers, said)
  }
  said('everything has stopped; balances and receipts are kept')
}

type Closer = () => Promise<void> | void

/** Last started, first closed; one that fails must not keep the others running. */
async function closeAll(closers: readonly Closer[], said: (text: string) => void): Promise<void> {
  for (const close of closers.toReversed()) {
    try {
      await close()
    } catch (error) {
      said(`while stopping: ${reasonOf(error)}`)
    }
  }
}

/** What network.json says while nothing can be used. */
const NOTHING_RUNS = { nodes: [], gateway: { pid: null }, supervisor: { pid: null } }

type Start = UpParts & {
  readonly home: string
  readonly said: (text: string) => void
  /** What must be undone, in the order it was done. */
  readonly closers: Closer[]
  readonly lock: HomeLock
}

async function start(parts: Start): Promise<{ over: Promise<void> }> {
  const { config, home, said, terminal, stops, json } = parts
  const { earlier, port } = await takeOver(parts)
  const enginesDir = config.enginesDir ?? join(home, 'engines')
  const runtime = findRuntime(null, parts.env)
  const preparing = [
    openDatabase(parts, earlier),
    openMoney(parts),
    installEngine(enginesDir, said),
  ] as const
  // When one fails, the others end first: nothing is stopped under their feet.
  await Promise.allSettled(preparing)
  const [database, money] = await Promise.all(preparing)
  stops.stop.throwIfAborted()
  const url = `http://127.0.0.1:${port}`
  const { apiKey, operatorKey, balanceNanoUsd } = database.accounts
  said(`starting the gateway on port ${port} and ${config.nodes} nodes`)
  const plan = networkPlan({ ...parts, url, port, enginesDir, databaseUrl: database.url, money })
  const processes = runProcesses(parts, plan, { url, apiKey, consoleUrl: null, operatorKey })

  const { network, over } = processes
  const linked = await untilServing({ url, network, nodes: config.nodes, stop: stops.stop })
  const logs = join(home, 'logs')
  if (linked < config.nodes) said(`only ${linked} of ${config.nodes} nodes came up; see ${logs}`)
  else said(`ready; logs are in ${logs}`)
  processes.publish()
  const found = await runtime
  const engine =
    typeof found === 'string' ? found : { name: `${found.facts.engine} ${found.facts.version}` }
  await terminal.out(
    json
      ? `${JSON.stringify(readNetworkFile(home))}\n`
      : banner(
          { home, url, apiKey, nodes: linked, balanceNanoUsd, engine, money: money !== null },
          terminal,
        ),
  )
  return { over }
}

/** Ends what an earlier, killed supervisor left, and finds the port. From here on nothing runs until it is published. */
async function takeOver({ config, home, said, lock }: Start) {
  const earlier = readNetworkFile(home)
  if (lock.leftovers.length > 0) said('ending what an earlier, killed start left behind')
  await endLeftovers(lock.leftovers, LEFTOVER_GRACE_MS)
  const port = await choosePort(config.port, earlier && Number(new URL(earlier.url).port))
  if (earlier) writeNetworkFile(home, { ...earlier, ...NOTHING_RUNS })
  return { earlier, port }
}

/** Starts the gateway and the nodes. Scripts wait for network.json: `publish` writes it when the network can be used. */
function runProcesses(
  { home, lock, said, terminal, stops, closers, json }: Start,
  plan: NetworkPlan,
  about: Pick<NetworkFile, 'url' | 'apiKey' | 'consoleUrl' | 'operatorKey'>,
) {
  let published = false
  let running: RunningProcesses = { gateway: { pid: null }, nodes: [], pids: [] }
  const over = new AbortController()
  const write = () => {
    const { gateway, nodes } = running
    writeNetworkFile(home, { ...about, nodes, gateway, supervisor: { pid: process.pid } })
  }
  const network = startNetwork(plan, {
    changed: (now) => {
      running = now
      lock.noteChildren(now.pids)
      if (published) write()
    },
    line: (text) => (json ? terminal.err(`${text}\n`) : void terminal.out(`${text}\n`)),
    say: said,
    over: () => over.abort(),
  })
  closers.push(async () => {
    await network.stop()
    writeNetworkFile(home, { ...about, ...NOTHING_RUNS })
  })
  stops.kill.addEventListener('abort', () => network.kill())
  const publish = () => {
    published = true
    write()
  }
  return { network, over: aborted(over.signal), publish }
}

type Database = { readonly url: string; readonly accounts: FirstAccounts }

/** The operator's own database, or the embedded one; with the first accounts in it. */
async function openDatabase(parts: Start, earlier: NetworkFile | null): Promise<Database> {
  const { config, home, said } = parts
  const logger = createLogger('info', join(home, 'logs', 'supervisor.log'))
  const url = config.databaseUrl ?? (await embedded(parts, logger))
  const [{ createPostgresStore }, { firstAccounts }] = await Promise.all([
    import('../../../io/store/postgres-store.ts'),
    import('./first-accounts.ts'),
  ])
  const store = await createPostgresStore({ url, logger, connections: 1 }).catch(
    (error: unknown) => {
      throw config.databaseUrl === undefined ? error : unusable(error)
    },
  )
  try {
    const accounts = await firstAccounts(store, earlier)
    said('the database is ready')
    return { url, accounts }
  } finally {
    await store.close()
  }
}

const unusable = (cause: unknown): Failure =>
  new Failure(EXIT.failure, `the database of DATABASE_URL cannot be used: ${reasonOf(cause)}`, {
    next: 'correct DATABASE_URL, or unset it to use the embedded PostgreSQL',
    cause,
  })

async function embedded({ home, said, closers, stops }: Start, logger: Logger): Promise<string> {
  const { startEmbeddedPostgres } = await import('../../../io/store/embedded-postgres.ts')
  const starting = startEmbeddedPostgres({
    folder: join(home, 'postgres'),
    logger,
    say: said,
    onDown: (fault) => said(`PostgreSQL is down: ${fault.message}; trying on`),
  })
  // Noted before it runs: one that is asked to stop while it starts is still stopped.
  closers.push(async () => (await starting.catch(() => null))?.stop())
  const postgres = await starting
  stops.kill.addEventListener('abort', () => {
    const pid = postgres.pid()
    // Immediate shutdown: what was acknowledged is on disk, the next start recovers it.
    if (pid !== null) process.kill(pid, 'SIGQUIT')
  })
  return postgres.url
}

async function openMoney({
  config,
  home,
  said,
  closers,
  stops,
}: Start): Promise<LocalMoney | null> {
  if (config.chain === 'none') return null
  const logger = createLogger('info', join(home, 'logs', 'chain.log'))
  const opening = openLocalMoney({ home, nodes: config.nodes, logger, say: said })
  // Noted before it runs: one that is asked to stop while it starts is still stopped.
  closers.push(async () => (await opening.catch(() => null))?.stop())
  const money = await opening
  stops.kill.addEventListener('abort', () => {
    const pid = money?.pid() ?? null
    if (pid !== null) process.kill(pid, 'SIGKILL')
  })
  return money
}

async function installEngine(enginesDir: string, said: Start['said']): Promise<void> {
  const { installLlamaCpp } = await import('../../../io/engine/llama-cpp/install.ts')
  await installLlamaCpp({ enginesDir, backend: 'cpu', say: said })
}

/** Lines with the seconds since the start. */
function stopwatch(terminal: Terminal): (text: string) => void {
  const startedAt = performance.now()
  return (text) => {
    const elapsed = `${((performance.now() - startedAt) / 1000).toFixed(1)} s`
    terminal.err(`${terminal.dim(elapsed.padStart(8))}  ${text}\n`)
  }
}
