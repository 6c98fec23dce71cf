/** Every process that the comparison starts: pinned to a core, waited for, and gone when it ends, however it ends. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createServer, connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

export type Started = {
  readonly pid: number
  /** Lines on standard output until now. */
  readonly lines: readonly string[]
  /** The end of standard error. */
  readonly complaint: () => string
  readonly running: () => boolean
  stop(): Promise<void>
}

const living = new Set<ChildProcess>()
const KILL_AFTER_MS = 15_000
const COMPLAINT_CHARACTERS = 2000

export function start(
  core: number,
  command: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Started {
  // `taskset` becomes the command: the pid is the command's own.
  const child = spawn('taskset', ['-c', String(core), command, ...args], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  living.add(child)
  let rest = ''
  let complaint = ''
  const lines: string[] = []
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    const parts = (rest + text).split('\n')
    rest = parts.pop() ?? ''
    lines.push(...parts)
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaint = (complaint + text).slice(-COMPLAINT_CHARACTERS)
  })
  child.on('error', (error) => (complaint = `${command}: ${error.message}`))
  child.on('close', () => living.delete(child))
  return {
    pid: child.pid ?? -1,
    lines,
    complaint: () => complaint,
    running: () => child.exitCode === null && child.signalCode === null,
    stop: () => stop(child),
  }
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = once(child, 'close')
  child.kill('SIGTERM')
  const killer = setTimeout(() => child.kill('SIGKILL'), KILL_AFTER_MS)
  await ended
  clearTimeout(killer)
}

/** At once: for the way out. */
export function killAll(): void {
  for (const child of living) child.kill('SIGKILL')
}

/** Resolves when the condition holds; rejects with the process's own words when it died or took too long. */
export async function until(
  what: string,
  process: Started,
  condition: () => boolean | Promise<boolean>,
  timeoutMs = 30_000,
): Promise<void> {
  const deadline = Date.now() + timeoutMs
  while (!(await condition())) {
    if (!process.running()) throw new Error(`${what}: the process ended.\n${process.complaint()}`)
    if (Date.now() > deadline)
      throw new Error(`${what}: not within ${timeoutMs} ms.\n${process.complaint()}`)
    await sleep(20)
  }
}

export function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.on('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.on('error', () => resolve(false))
  })
}

/** A port that was free just now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new Error('no TCP port')
  return address.port
}
