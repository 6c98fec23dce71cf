/** A rate as documents and frames carry it. */
import { z } from 'zod'
import { parseRate } from '../base/rate.ts'

/** Atto-dollars a second as a decimal string. */
export const rateText = z
  .string()
  .refine((text) => parseRate(text) !== null, { message: 'atto-dollars a second as a decimal' })
