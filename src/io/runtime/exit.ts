/** What an exit means, and what follows from it. Pure. */
import type { Restart } from './runtime.ts'

/** 128 + SIGKILL: what the kernel does to a process over its memory limit, and an engine to one that will not stop. */
export const KILLED = 137

/**
 * Engines are no sure witnesses: Podman 4 never reports it, Docker 20 under load misses about one in fifty. But when we
 * did not ask for a 137, nobody outside of the container can have sent it but the kernel.
 */
export function exitCause(exit: {
  readonly exitCode: number
  /** What the engine says. */
  readonly oomKilled: boolean
  /** We stopped or killed it. */
  readonly asked: boolean
}): 'exit' | 'oom' {
  if (exit.asked) return 'exit'
  // A child may have been killed for memory long before the container ended well.
  return exit.exitCode === KILLED || (exit.oomKilled && exit.exitCode !== 0) ? 'oom' : 'exit'
}

const FIRST_RESTART_MS = 1_000
const LAST_RESTART_MS = 5 * 60_000
/** A container that ran so long is not crashing in a loop: its next restart is quick again. As in Kubernetes. */
const GOOD_RUN_MS = 10 * 60_000

/** Counts failures in a row, and so the pause before the next start: doubling, from a second to five minutes. */
export class RestartPause {
  #failures = 0

  /** Null: no restart. */
  next(restart: Restart, exit: { exitCode: number; ranMs: number }): number | null {
    if (restart === 'never' || (restart === 'on-failure' && exit.exitCode === 0)) return null
    if (exit.ranMs >= GOOD_RUN_MS) this.#failures = 0
    const pauseMs = Math.min(FIRST_RESTART_MS * 2 ** this.#failures, LAST_RESTART_MS)
    if (pauseMs < LAST_RESTART_MS) this.#failures += 1
    return pauseMs
  }
}
