/** What the commands read of the gateway's answers; anything more passes through to `--json` untouched. */
import { z } from 'zod'
import { EXIT, Failure } from '../shell/failure.ts'

export const money = z.looseObject({ nano_usd: z.string(), usd: z.string() })

export const listOf = <T extends z.ZodType>(item: T) => z.looseObject({ data: z.array(item) })

/** Throws Failure when the answer is not what this version of the CLI understands. */
export function understand<T extends z.ZodType>(schema: T, answer: unknown): z.output<T> {
  const parsed = schema.safeParse(answer)
  if (parsed.success) return parsed.data
  throw new Failure(
    EXIT.refused,
    `the gateway's answer is not understood: ${z.prettifyError(parsed.error)}`,
    {
      code: 'not_understood',
      next: 'gateway and CLI may be of different versions; --json shows the answer as it is',
    },
  )
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB']

/** 1536 → 1.5 KiB. */
export function sizeText(bytes: number): string {
  const step = Math.min(UNITS.length - 1, Math.floor(Math.log2(Math.max(1, bytes)) / 10))
  return `${(bytes / 1024 ** step).toFixed(step === 0 ? 0 : 1)} ${UNITS[step]}`
}

/** 2027-01-31T12:00:00.000Z → 2027-01-31 12:00. */
export const minutes = (time: string | null | undefined): string =>
  time ? time.slice(0, 16).replace('T', ' ') : 'never'
