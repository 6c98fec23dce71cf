/** One row of the scorecard: a fault, what is promised under it, and how that is measured here. */
import type { Occasion } from '../support/occasion.ts'

/** `short` is for CI (seconds a row), `long` for a night. */
export type Form = 'short' | 'long'

export type RowContext = {
  readonly form: Form
  /** Repeats a run; every random choice of a row comes from it. */
  readonly seed: number
  /** Aborted by Ctrl-C: a row ends its processes and rejects. */
  readonly signal: AbortSignal
  /** A line of progress, shown only where somebody looks on. */
  readonly tell: (line: string) => void
  /** Run at the end of the row, last first, also when it failed. */
  readonly after: (cleanUp: () => unknown) => void
}

export type Measured = {
  /** How many requests, kills or probes the figure stands on. */
  readonly n: number
  /** What was seen, in one short line with units. */
  readonly measured: string
  readonly pass: boolean
}

export type FaultRow = {
  /** Its number on the scorecard (docs/reliability.md). */
  readonly number: number
  readonly fault: string
  readonly load: string
  readonly promise: string
  /** Null: it can run on this machine; otherwise what is missing, and what to do about it. */
  readonly missing?: () => Promise<string | null>
  /** `npm test` runs what it measures in a test of its own: it is not run again among the rows there. */
  readonly testedApart?: true
  readonly run: (context: RowContext) => Promise<Measured>
}

/** For the support code that rows and tests share. */
export const occasionOf = ({ after, tell }: RowContext): Occasion => ({
  after,
  diagnostic: tell,
})
