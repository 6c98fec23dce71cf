/** The child's end of the supervisor: says when it is ready, and ends when the supervisor is gone. */
import { z } from 'zod'

/** What a child tells its supervisor: that it works now, and under which id. */
export const childMessage = z.object({ ready: z.object({ id: z.string() }) })

/** Does nothing for a program that no supervisor started. */
export function reportReady(id: string): void {
  process.send?.({ ready: { id } } satisfies z.infer<typeof childMessage>)
}
