/** An hour and a week of virtual time. */
import { DAY, MINUTE, type Millis } from '../../../core/base/time.ts'

export const HOUR: Millis = 60 * MINUTE
export const WEEK: Millis = 7 * DAY
