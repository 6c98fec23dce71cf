/** What one check of the self-test found: never only "failed", always the cause and the way out. */

export type CheckStatus = 'ok' | 'warn' | 'fail'

export type CheckResult = {
  /** `clock`, `network`, `model file`, … */
  readonly check: string
  readonly status: CheckStatus
  /** What was seen, in a line for people. */
  readonly found: string
  /** Why that is a problem; null when it is none. */
  readonly cause: string | null
  /** What to do about it; null when there is nothing to do. */
  readonly fix: string | null
  /** The numbers, for programs. */
  readonly details: CheckDetails
}

export type CheckDetails = Readonly<Record<string, string | number | boolean | null>>

export function ok(check: string, found: string, details: CheckDetails = {}): CheckResult {
  return { check, status: 'ok', found, cause: null, fix: null, details }
}

type Problem = {
  readonly found: string
  readonly cause: string
  readonly fix: string
  readonly details?: CheckDetails
}

/** The node works, but not as well as it could. */
export function warn(check: string, { found, cause, fix, details = {} }: Problem): CheckResult {
  return { check, status: 'warn', found, cause, fix, details }
}

/** The node cannot work like this. */
export function fail(check: string, { found, cause, fix, details = {} }: Problem): CheckResult {
  return { check, status: 'fail', found, cause, fix, details }
}

export const GIB = 1024 ** 3

/** `3.2 GiB` */
export const gib = (bytes: number): string => `${(bytes / GIB).toFixed(1)} GiB`
