/** How a command fails: what happened, the next step, and the exit code that scripts read. */
import { Fault, reasonOf } from '../../../core/base/refusal.ts'

/** Documented in `baseload --help` and docs/operations.md; scripts rely on them. */
export const EXIT = {
  ok: 0,
  failure: 1,
  usage: 2,
  refused: 3,
  unreachable: 4,
  interrupted: 130,
} as const
export type ExitCode = (typeof EXIT)[keyof typeof EXIT]

export class Failure extends Error {
  readonly exitCode: ExitCode
  /** What the reader can do now; null when the message already says it. */
  readonly next: string | null
  /** The gateway's error code (`insufficient_balance`), or ours (`unreachable`). */
  readonly code: string
  /** What a node said, where the gateway passes it on: `path_not_found`. */
  readonly reason: string | null

  constructor(
    exitCode: ExitCode,
    message: string,
    more: { next?: string; code?: string; reason?: string | null; cause?: unknown } = {},
  ) {
    super(message, { cause: more.cause })
    this.name = 'Failure'
    this.exitCode = exitCode
    this.next = more.next ?? null
    this.code = more.code ?? 'failed'
    this.reason = more.reason ?? null
  }
}

/** The command ran another program, and ends as that did: with its exit code, and without a word of its own. */
export class EndedWith extends Error {
  readonly exitCode: number

  constructor(exitCode: number) {
    super(`ended with ${exitCode}`)
    this.name = 'EndedWith'
    this.exitCode = exitCode
  }
}

/** Anything thrown, as a failure. Bad settings are the caller's to mend: a usage error. */
export function failureOf(thrown: unknown): Failure {
  if (thrown instanceof Failure) return thrown
  if (thrown instanceof Error && thrown.name === 'AbortError')
    return new Failure(EXIT.interrupted, 'interrupted', { code: 'interrupted', cause: thrown })
  if (thrown instanceof Fault && thrown.code === 'invalid_settings')
    return new Failure(EXIT.usage, thrown.message, {
      code: thrown.code,
      next: '`baseload help config` lists every setting',
      cause: thrown,
    })
  const code = thrown instanceof Fault ? thrown.code : 'failed'
  return new Failure(EXIT.failure, reasonOf(thrown), { code, cause: thrown })
}

/** What standard error says. Stacks, with their causes, only under --debug. */
export function failureText(thrown: unknown, debug: boolean): string {
  const failure = failureOf(thrown)
  const next = failure.next === null ? '' : `\n  → ${failure.next}`
  const cause = debug ? `\n${stackOf(thrown)}` : ''
  return `✗ ${failure.message}${next}${cause}\n`
}

function stackOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown)
  const own = thrown.stack ?? thrown.message
  return thrown.cause === undefined ? own : `${own}\ncaused by: ${stackOf(thrown.cause)}`
}
