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

/** 2027-01-31T12:00:00.000Z → 2027-01-31 12:00. */
export const minutes = (time: string | null | undefined): string =>
  time ? time.slice(0, 16).replace('T', ' ') : 'never'
