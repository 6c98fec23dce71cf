/** Milliseconds since the Unix epoch. The core never reads a clock: callers pass `now`. */
export type Millis = number

export const SECOND: Millis = 1000
export const MINUTE: Millis = 60 * SECOND
export const DAY: Millis = 24 * 60 * MINUTE
