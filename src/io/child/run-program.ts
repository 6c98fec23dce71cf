/**
 * Runs a program of the provider's own: fed on standard input, read with limits, ended with all that it started. It is
 * trusted to be what its owner wants, but not to be quick, quiet or tidy.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { dirname } from 'node:path'
import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { Fault } from '../../core/base/refusal.ts'

export type ProgramTask = {
  readonly path: string
  readonly input: string
  /** All that it sees of the environment. */
  readonly env: Readonly<Record<string, string>>
  readonly timeoutMs: number
  /** Bytes of standard output after which it is ended; of standard error only so many are kept. */
  readonly maxOutputBytes: number
  readonly signal: AbortSignal
}

export type ProgramEnd = {
  /** Null when it was stopped by a signal. */
  readonly exitCode: number | null
  /** At most one byte more than was allowed. */
  readonly stdout: string
  /** The beginning of it. */
  readonly stderr: string
  /** After how long it was ended for taking too long; null: it was not. */
  readonly timedOutMs: number | null
}

/** For what was written before the end to arrive. A process that has left the group may hold the pipes open for ever. */
const PIPES_CLOSE_MS = 100

/** Throws Fault `program_not_started`. Aborting ends it at once. */
export async function runProgram(task: ProgramTask): Promise<ProgramEnd> {
  const { path, input, env, timeoutMs, maxOutputBytes, signal } = task
  const child = spawn(path, [], {
    cwd: dirname(path),
    env,
    detached: true, // a process group of its own, so that all of it can be ended
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  const end = () => endGroup(child)
  let timedOutMs: number | null = null
  const timer = setTimeout(() => {
    timedOutMs = timeoutMs
    end()
  }, timeoutMs)
  signal.addEventListener('abort', end)
  try {
    const stdout = collect(child.stdout, maxOutputBytes + 1, end)
    const stderr = collect(child.stderr, maxOutputBytes, () => {})
    // A program need not read what it is told.
    child.stdin.on('error', () => {})
    child.stdin.end(input)
    const closed = new Promise<void>((resolve) => child.once('close', () => resolve()))
    const exitCode = await exitOf(child, path)
    end()
    await Promise.race([closed, sleep(PIPES_CLOSE_MS)])
    for (const pipe of [child.stdin, child.stdout, child.stderr]) pipe.destroy()
    return { exitCode, stdout: stdout.text(), stderr: stderr.text(), timedOutMs }
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', end)
  }
}

function exitOf(child: ChildProcess, path: string): Promise<number | null> {
  return new Promise((resolve, reject) => {
    child.once('exit', (code) => resolve(code))
    child.once('error', (cause) =>
      reject(
        new Fault('program_not_started', `${path} cannot be started: ${cause.message}`, { cause }),
      ),
    )
  })
}

/** Kills what is left of the group: the program itself, and what it left behind. */
function endGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // Nothing of it is left.
  }
}

/** The first `most` bytes; `full` is told when there are so many, the rest is read and dropped. */
function collect(stream: Readable, most: number, full: () => void): { text(): string } {
  const chunks: Buffer[] = []
  let bytes = 0
  stream.on('error', () => {})
  stream.on('data', (chunk: Buffer) => {
    if (bytes >= most) return
    chunks.push(chunk.subarray(0, most - bytes))
    bytes += chunk.length
    if (bytes >= most) full()
  })
  return { text: () => Buffer.concat(chunks).toString('utf8') }
}
