/**
 * The database's clock, carried on by this machine's monotonic one: gateways over one database agree about the time,
 * whatever their own clocks say and however those are set meanwhile.
 */
import { performance } from 'node:perf_hooks'
import { reasonOf } from '../../core/base/refusal.ts'
import { SECOND, type Millis } from '../../core/base/time.ts'
import type { Store } from '../../io/store/store.ts'
import type { Logger } from '../../io/telemetry/logger.ts'

const LOOK_EVERY_MS = 10 * SECOND
/** At the start; the quickest of them counts. */
const FIRST_LOOKS = 3
/** An answer that took longer says too little about when it was made. */
const MAX_ROUND_TRIP_MS = SECOND
/** Worth a line: this machine slept, or the database's clock was set. */
const NOTABLE_MS = 5 * SECOND

type Look = { readonly offsetMs: number; readonly roundTripMs: number }

export type SharedClock = {
  /** Whole milliseconds since 1970. */
  readonly now: () => Millis
  /** Reads the database's clock again; rejects as the store does. */
  look(): Promise<void>
  close(): void
}

/** Resolves when the time is known; rejects as the store does. While the database is away the time goes on. */
export async function startSharedClock(parts: {
  readonly store: Pick<Store, 'clock'>
  readonly logger: Logger
  /** Milliseconds that pass evenly, from any beginning. */
  readonly monotonic?: () => number
}): Promise<SharedClock> {
  const { store, logger, monotonic = () => performance.now() } = parts
  const read = async (): Promise<Look> => {
    const askedAt = monotonic()
    const databaseMs = await store.clock()
    const heardAt = monotonic()
    return { offsetMs: databaseMs - (askedAt + heardAt) / 2, roundTripMs: heardAt - askedAt }
  }
  const looks: Look[] = []
  for (let i = 0; i < FIRST_LOOKS; i++) looks.push(await read())
  const [best] = looks.toSorted((a, b) => a.roundTripMs - b.roundTripMs)
  let offsetMs = best?.offsetMs ?? 0

  async function look(): Promise<void> {
    const { offsetMs: seen, roundTripMs } = await read()
    const apartMs = seen - offsetMs
    // Within the round trip it is not known better than before.
    if (roundTripMs > MAX_ROUND_TRIP_MS || Math.abs(apartMs) <= roundTripMs / 2) return
    offsetMs = seen
    if (Math.abs(apartMs) > NOTABLE_MS)
      logger.warn('the database has another time than before', { apartMs: Math.round(apartMs) })
  }
  const timer = setInterval(() => {
    // Its absence is told by those who need it more.
    look().catch((error: unknown) => logger.debug('time not read', { error: reasonOf(error) }))
  }, LOOK_EVERY_MS)
  timer.unref()
  return {
    now: () => Math.round(monotonic() + offsetMs),
    look,
    close: () => clearInterval(timer),
  }
}
