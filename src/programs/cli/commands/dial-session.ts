/** The way back to a command whose connection broke off, while the node keeps it. */
import type { Duplex } from 'node:stream'
import { setTimeout as pause } from 'node:timers/promises'
import { EXEC_AWAY_MS } from '../../../core/protocol/exec-log.ts'
import { EXIT, Failure, failureOf } from '../shell/failure.ts'
import type { Shell } from './command.ts'
import { isPassing, pauseMs } from './try-again.ts'

/** A tunnel to the command for who has taken so many frames of it; null: one that starts it. */
export type Dial = (taken: number | null, signal: AbortSignal) => Promise<Duplex>

type Lost = {
  readonly dial: Dial
  readonly taken: number
  readonly lost: Failure
  readonly shell: Shell
}

/** Throws Failure: the command was hung up, the way back was not found in time, or the user left. */
export async function dialSession({ dial, taken, lost, shell }: Lost): Promise<Duplex> {
  const { terminal, stops } = shell
  const until = performance.now() + EXEC_AWAY_MS
  terminal.err(`${lost.message}; trying for ${EXEC_AWAY_MS / 1000} s to come back to the command\n`)
  for (let failures = 1; ; failures += 1) {
    try {
      const tunnel = await dial(taken, stops.kill)
      terminal.err('back at the command\n')
      return tunnel
    } catch (error) {
      const failure = failureOf(error)
      if (stops.kill.aborted) throw left()
      if (failure.reason === 'session_unknown') throw hungUp(failure)
      if (!isPassing(failure) || performance.now() > until) throw failure
    }
    await pause(pauseMs(failures), null, { signal: stops.kill }).catch(() => {
      throw left()
    })
  }
}

const hungUp = (cause: Failure): Failure =>
  new Failure(EXIT.unreachable, `the command is lost: ${cause.message}`, {
    code: 'session_unknown',
    next: 'run it again; what must live longer runs as a service, or under tmux in the container',
    cause,
  })

export const left = (): Failure =>
  new Failure(EXIT.interrupted, 'left the command; it may still run', { code: 'interrupted' })
