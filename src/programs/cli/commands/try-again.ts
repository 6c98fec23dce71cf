/** What is worth another try, and when. */
import { EXIT, type Failure } from '../shell/failure.ts'

/** A gateway that restarts, a node that links again, a container that starts: asking again can help. */
export const isPassing = ({ exitCode, code }: Failure): boolean =>
  exitCode === EXIT.unreachable || PASSING.has(code)

const PASSING: ReadonlySet<string> = new Set([
  'store_unavailable',
  'shutting_down',
  'tunnel_failed',
  'lease_unreachable',
  'tunnel_lost',
  'internal_error',
])

/** Longer each time, to 5 s: a gateway that comes back is not met by everybody at once. */
export const pauseMs = (failures: number): number => Math.min(5_000, 250 * 2 ** (failures - 1))
