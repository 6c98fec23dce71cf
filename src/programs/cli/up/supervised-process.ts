/**
 * A child process that should always run: it is started again when it dies, at once the first time, later with
 * growing patience. It lives in its own process group, so that Ctrl-C in the terminal reaches only the supervisor, and on an IPC
 * channel, whose end tells it that the supervisor is gone.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { createInterface } from 'node:readline'

export type ProcessPlan = {
  readonly command: string
  readonly args: readonly string[]
  readonly env: NodeJS.ProcessEnv
  /** Standard error, and standard output unless somebody listens to its lines. */
  readonly logFile: string
}

export type ProcessEvents = {
  started(pid: number): void
  message(value: unknown): void
  line?(text: string): void
  /** It ended unasked and will be started again. */
  failed(how: string, againInMs: number): void
  /** It ended with exit code 0: on purpose, so it stays away. */
  left(): void
}

export type Patience = {
  readonly firstMs: number
  readonly maxMs: number
  readonly healthyMs: number
}
const PATIENCE: Patience = { firstMs: 300, maxMs: 10_000, healthyMs: 30_000 }

export type SupervisedProcess = {
  readonly pid: number | null
  /** Asks (SIGTERM), waits, then kills the whole group. Resolves when the process is gone. */
  stop(graceMs: number): Promise<void>
  /** Kills the whole group now. */
  kill(): void
}

export function supervise(
  plan: ProcessPlan,
  events: ProcessEvents,
  patience: Patience = PATIENCE,
): SupervisedProcess {
  let child: ChildProcess | null = null
  let restart: NodeJS.Timeout | null = null
  let stopping = false
  let failures = 0

  function start(): void {
    restart = null
    const startedAt = performance.now()
    let ready = false
    const running = launch(plan, events)
    child = running
    running.on('message', (value) => {
      ready = true
      events.message(value)
    })
    // A program that cannot even start reports here and never exits.
    running.on('error', (error) => running.pid === undefined && ended(null, error.message))
    running.on('exit', (code, signal) => ended(code, signal ?? `exit code ${code}`))
    if (running.pid !== undefined) events.started(running.pid)

    function ended(code: number | null, how: string): void {
      child = null
      if (stopping) return
      if (code === 0) return events.left()
      // Killed from outside while it did its work is bad luck; anything else may be a loop.
      const unlucky = ready && how === 'SIGKILL'
      if (unlucky || performance.now() - startedAt >= patience.healthyMs) failures = 0
      const againInMs = Math.min(patience.maxMs, patience.firstMs * 2 ** failures)
      failures += 1
      restart = setTimeout(start, againInMs)
      events.failed(how, againInMs)
    }
  }

  function kill(): void {
    stopping = true
    if (restart) clearTimeout(restart)
    if (child?.pid !== undefined) signalGroup(child.pid, 'SIGKILL')
  }

  start()
  return {
    get pid() {
      return child?.pid ?? null
    },
    kill,
    stop(graceMs) {
      stopping = true
      if (restart) clearTimeout(restart)
      const running = child
      if (running === null) return Promise.resolve()
      return new Promise((resolve) => {
        const impatience = setTimeout(kill, graceMs)
        running.once('exit', () => {
          clearTimeout(impatience)
          resolve()
        })
        running.kill('SIGTERM')
      })
    },
  }
}

function launch(plan: ProcessPlan, events: ProcessEvents): ChildProcess {
  const log = openSync(plan.logFile, 'a', 0o600)
  try {
    const child = spawn(plan.command, plan.args, {
      detached: true,
      env: plan.env,
      stdio: ['ignore', events.line ? 'pipe' : log, log, 'ipc'],
    })
    if (child.stdout)
      createInterface({ input: child.stdout }).on('line', (text) => events.line?.(text))
    return child
  } finally {
    closeSync(log)
  }
}

/** Ends a whole process group; it may be gone already. */
export function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal)
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error
  }
}
