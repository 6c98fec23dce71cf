/**
 * The embedded store: real PostgreSQL from npm's binaries, kept alive by us. A server that outlived its program
 * is adopted, one that dies is started again, and its URL never changes meanwhile.
 *
 * Loopback TCP with SCRAM and not a private socket: a socket's path may have 107 characters only, not every
 * platform has them, and a URL with a port works for any other program as it is.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import { Fault, reasonOf } from '../../core/base/refusal.ts'
import type { Logger } from '../telemetry/logger.ts'
import { findPostgresBinaries, type PostgresBinaries } from './postgres-binaries.ts'
import {
  choosePort,
  claimSupervision,
  endSupervision,
  openFolder,
  prepareData,
  SUPERUSER,
  type PostgresFolder,
} from './postgres-folder.ts'
import { choosePostgresUser, type PostgresUser } from './postgres-user.ts'
import {
  isAlive,
  livingPostmaster,
  removeStalePidFile,
  startPostmaster,
  stopPostmaster,
} from './postmaster.ts'

export type EmbeddedPostgres = {
  /** Stays the same when the server is restarted: whoever uses it only has to connect again. */
  readonly url: string
  /** Of the server that runs now; null while it is down. */
  pid(): number | null
  /** Shuts the server down, unless another living program looks after it. */
  stop(): Promise<void>
}

export type EmbeddedPostgresOptions = {
  readonly folder: string
  readonly logger: Logger
  /** Sentences for the person who waits. */
  readonly say?: (line: string) => void
  /** Told when quick restarts did not help; restarts go on, slowly. */
  readonly onDown?: (fault: Fault) => void
}

/** As Erlang's supervisors count: more restarts than this within the window, and something is really wrong. */
const QUICK_RESTARTS = 3
const RESTART_WINDOW_MS = 60_000
const QUICK_RESTART_MS = 100
const SLOW_RESTART_MS = 3_000
const WATCH_MS = 200
const ADOPT_TIMEOUT_MS = 60_000

type Server = { readonly pid: number; readonly port: number; readonly exited: Promise<void> }

/** Resolves when the database answers: about 1 s the first time, 0.1 s later. */
export async function startEmbeddedPostgres(
  options: EmbeddedPostgresOptions,
): Promise<EmbeddedPostgres> {
  const { logger, say = () => {} } = options
  const binaries = findPostgresBinaries()
  const folder = openFolder(options.folder)
  const stopping = new AbortController()
  let server: Server | null = await adopt(folder, stopping.signal)
  const url = (port: number): string =>
    `postgres://${SUPERUSER}:${folder.password}@127.0.0.1:${port}/postgres`

  if (server) {
    say(`using the PostgreSQL that still runs in ${folder.path} (pid ${server.pid})`)
    await login(url(server.port), folder.data)
    claimSupervision(folder)
  } else {
    claimSupervision(folder, true)
    const user = choosePostgresUser(folder.path, binaries.postgres)
    say(`starting PostgreSQL ${binaries.major} in ${folder.path} as ${user.name}`)
    prepareData(folder, user, binaries)
    server = await launch({ folder, user, binaries, port: await choosePort(folder) })
  }
  logger.info('postgres up', { pid: server.pid, port: server.port })

  const { port } = server
  const watching = watch({
    server,
    folder,
    logger,
    binaries,
    onDown: options.onDown ?? (() => {}),
    signal: stopping.signal,
    changed: (now) => {
      server = now
    },
  })
  return {
    url: url(port),
    pid: () => server?.pid ?? null,
    stop: async () => {
      stopping.abort()
      await watching
      if (!claimSupervision(folder)) return
      if (server) await stopPostmaster(server.pid)
      server = null
      endSupervision(folder)
    },
  }
}

async function launch(options: {
  folder: PostgresFolder
  user: PostgresUser
  binaries: PostgresBinaries
  port: number
}): Promise<Server> {
  const { folder, user, binaries, port } = options
  const { data, log } = folder
  removeStalePidFile(data)
  const started = await startPostmaster({ user, postgres: binaries.postgres, data, port, log })
  return { ...started, port }
}

/** A server that already runs in this folder, once it is ready. */
async function adopt(folder: PostgresFolder, signal: AbortSignal): Promise<Server | null> {
  const deadline = Date.now() + ADOPT_TIMEOUT_MS
  for (;;) {
    const found = livingPostmaster(folder.data)
    if (!found) return null
    if (found.ready) return { ...found, exited: death(found.pid, signal) }
    if (Date.now() > deadline)
      throw new Fault(
        'postgres_start_failed',
        `PostgreSQL (pid ${found.pid}) runs in ${folder.data} but does not get ready; see ${folder.log}.`,
      )
    await sleep(WATCH_MS)
  }
}

/** Somebody else's child: nobody tells us of its end, so look. */
async function death(pid: number, signal: AbortSignal): Promise<void> {
  while (isAlive(pid) && !signal.aborted) await nap(WATCH_MS, signal)
}

/** Is the server behind the port really the one of our folder? Its password says so, and it says so itself. */
async function login(url: string, data: string): Promise<void> {
  const sql = postgres(url, { max: 1, connect_timeout: 10, fetch_types: false, onnotice: () => {} })
  try {
    const [row] = await sql<
      { folder: string }[]
    >`select current_setting('data_directory') as folder`
    if (row?.folder !== data) throw new Error(`it serves ${row?.folder}`)
  } catch (cause) {
    throw new Fault(
      'postgres_not_ours',
      `A PostgreSQL runs in ${data}, but it cannot be used: ${reasonOf(cause)}. Stop it and start again.`,
      { cause },
    )
  } finally {
    await sql.end({ timeout: 1 })
  }
}

type Watch = {
  server: Server
  readonly folder: PostgresFolder
  readonly binaries: PostgresBinaries
  readonly logger: Logger
  readonly onDown: (fault: Fault) => void
  readonly signal: AbortSignal
  readonly changed: (server: Server | null) => void
}

/** Starts the server again whenever it dies, until `signal`. */
async function watch(watched: Watch): Promise<void> {
  const { signal, logger, changed } = watched
  const restarts: number[] = []
  const stopped = aborted(signal)
  let server: Server | null = watched.server
  while (!signal.aborted) {
    if (server) {
      await Promise.race([server.exited, stopped])
      if (signal.aborted) return
      logger.warn('postgres died', { pid: server.pid })
      server = null
      changed(null)
    }
    while (restarts.length > 0 && Date.now() - (restarts[0] ?? 0) > RESTART_WINDOW_MS)
      restarts.shift()
    if (restarts.length === QUICK_RESTARTS) watched.onDown(downFault(watched.folder))
    const slow = restarts.length >= QUICK_RESTARTS
    await nap(slow ? SLOW_RESTART_MS : QUICK_RESTART_MS * 2 ** restarts.length, signal)
    if (signal.aborted) return
    restarts.push(Date.now())
    server = await revive(watched)
    changed(server)
  }
}

async function revive({ folder, binaries, server, logger, signal }: Watch): Promise<Server | null> {
  try {
    const found = await adopt(folder, signal)
    if (found) return found
    // The program that looks after it restarts it; we adopt what it starts.
    if (!claimSupervision(folder)) return null
    const user = choosePostgresUser(folder.path, binaries.postgres)
    const started = await launch({ folder, user, binaries, port: server.port })
    logger.info('postgres restarted', { pid: started.pid })
    return started
  } catch (error) {
    logger.error('postgres restart failed', { error })
    return null
  }
}

const downFault = (folder: PostgresFolder): Fault =>
  new Fault(
    'postgres_keeps_dying',
    `PostgreSQL died or failed to start ${QUICK_RESTARTS} times within ${RESTART_WINDOW_MS / 1000} s. It is tried again every ` +
      `${SLOW_RESTART_MS / 1000} s; the reason is in ${folder.log}.`,
    { retryable: true },
  )

const nap = async (ms: number, signal: AbortSignal): Promise<void> => {
  await sleep(ms, undefined, { signal }).catch(() => {})
}

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
