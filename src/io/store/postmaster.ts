/** One PostgreSQL server process: what its pid file says, whether it lives, how it starts and stops. */
import { spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Fault } from '../../core/base/refusal.ts'
import { postgresEnvironment, type PostgresUser } from './postgres-user.ts'

export type Postmaster = {
  readonly pid: number
  readonly port: number
  readonly ready: boolean
}

/** Recovery after a crash replays the log since the last checkpoint: seconds, at most minutes. */
const READY_TIMEOUT_MS = 120_000
const FAST_STOP_MS = 15_000
const POLL_MS = 15

/**
 * What every server is started with. The tuning suits a gateway's own small database on a shared machine; the
 * durability settings are PostgreSQL's defaults, named because money depends on them.
 */
const SETTINGS = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  max_connections: 60,
  shared_buffers: '64MB',
  max_wal_size: '512MB',
  wal_compression: 'off',
  checkpoint_timeout: '10min',
  autovacuum_naptime: '20s',
  jit: 'off',
  log_line_prefix: '%m [%p] ',
  log_checkpoints: 'off',
  fsync: 'on',
  synchronous_commit: 'on',
  full_page_writes: 'on',
} as const

/** The server that the data folder's pid file names, if that process lives and really serves this folder. */
export function livingPostmaster(data: string): Postmaster | null {
  const file = readPidFile(data)
  return file !== null && isAlive(file.pid) && servesFolder(file.pid, data) ? file : null
}

function readPidFile(data: string): Postmaster | null {
  let text: string
  try {
    text = readFileSync(join(data, 'postmaster.pid'), 'utf8')
  } catch {
    return null
  }
  // https://github.com/postgres/postgres/blob/REL_18_STABLE/src/include/utils/pidfile.h
  const [pid, , , port, , , , status] = text.split('\n')
  const parsed = { pid: Number(pid), port: Number(port), ready: status?.trim() === 'ready' }
  return parsed.pid > 0 ? parsed : null
}

/** A process that has ended but that nobody has waited for yet (a zombie, usual in containers) counts as dead. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3) !== 'Z'
  } catch {
    return true
  }
}

/**
 * Removes the pid file of a server that is gone when its pid now belongs to something else, as happens after a
 * reboot and in containers, where pids are small. PostgreSQL would take that process for a server and not start.
 * Only /proc can tell; without it PostgreSQL decides.
 */
export function removeStalePidFile(data: string): void {
  const file = readPidFile(data)
  if (file === null || process.platform !== 'linux') return
  if (isAlive(file.pid) && !servesFolder(file.pid, data)) rmSync(join(data, 'postmaster.pid'))
}

/** After a reboot the pid may belong to anything. Where there is no /proc, the login that follows must tell. */
function servesFolder(pid: number, data: string): boolean {
  try {
    const [program = '', ...args] = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
    return program.endsWith('postgres') && args.includes(data)
  } catch {
    return process.platform !== 'linux'
  }
}

/**
 * Starts a server and resolves when it answers; its `exited` promise resolves when it ends. In its own
 * process group, so that Ctrl-C in the terminal reaches only us; its log is a file, so that it outlives us.
 */
export async function startPostmaster(options: {
  user: PostgresUser
  postgres: string
  data: string
  port: number
  log: string
}): Promise<{ pid: number; exited: Promise<void> }> {
  const { user, postgres, data, port, log } = options
  const settings = Object.entries(SETTINGS).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  const command = [...user.prefix, postgres, '-D', data, '-p', String(port), ...settings]
  const output = openSync(log, 'a', 0o600)
  const child = spawn(command[0] ?? postgres, command.slice(1), {
    ...user.identity,
    cwd: data,
    detached: true,
    env: postgresEnvironment(),
    stdio: ['ignore', output, output],
  })
  closeSync(output)
  const state = { over: false }
  const exited = new Promise<void>((resolve) => {
    const done = (): void => {
      state.over = true
      resolve()
    }
    child.once('exit', done)
    child.once('error', done)
  })
  child.unref()
  const { pid } = child
  const deadline = Date.now() + READY_TIMEOUT_MS
  while (!state.over && Date.now() < deadline) {
    const file = readPidFile(data)
    if (pid !== undefined && file?.pid === pid && file.ready) return { pid, exited }
    await sleep(POLL_MS)
  }
  if (pid !== undefined && !state.over) await stopPostmaster(pid)
  throw new Fault(
    'postgres_start_failed',
    `PostgreSQL did not start in ${data}. The end of ${log}:\n${tail(log)}`,
    { retryable: true },
  )
}

/** Fast shutdown (sessions are cut, a checkpoint is written); when that takes too long, immediate. */
export async function stopPostmaster(pid: number, fastStopMs = FAST_STOP_MS): Promise<void> {
  if (signal(pid, 'SIGINT') && (await gone(pid, fastStopMs))) return
  if (signal(pid, 'SIGQUIT') && (await gone(pid, fastStopMs))) return
  if (signal(pid, 'SIGKILL')) await gone(pid, fastStopMs)
}

/** False when there is no such process any more. */
function signal(pid: number, name: NodeJS.Signals): boolean {
  try {
    process.kill(pid, name)
    return true
  } catch {
    return false
  }
}

async function gone(pid: number, withinMs: number): Promise<boolean> {
  const deadline = Date.now() + withinMs
  while (isAlive(pid)) {
    if (Date.now() > deadline) return false
    await sleep(POLL_MS)
  }
  return true
}

function tail(path: string): string {
  try {
    return readFileSync(path, 'utf8').split('\n').slice(-8).join('\n')
  } catch {
    return '(no log)'
  }
}
