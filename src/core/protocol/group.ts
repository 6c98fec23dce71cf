/** A group: everything of one SDL that must run at one provider. It is what an order asks the market for. */
import { z } from 'zod'
import { resourcesSchema } from './resources.ts'
import { rateText } from './rate-text.ts'

const word = z.string().max(300)

const endpointsSchema = z.strictObject({
  /** Behind the ingress, by host name. */
  sharedHttp: z.int().min(0).max(1000),
  /** A TCP or UDP port of its own. */
  randomPort: z.int().min(0).max(1000),
  leasedIp: z.int().min(0).max(100),
})

const unitSchema = z.strictObject({
  /** Counts from 1 within the group; services of the manifest name it. */
  id: z.int().min(1),
  resources: resourcesSchema,
  count: z.int().min(1).max(1000),
  endpoints: endpointsSchema,
  /** The most that one copy may cost: atto-dollars a second. */
  maxRate: rateText,
})
/** `count` copies of the same resources. */
export type Unit = z.infer<typeof unitSchema>

export const groupSchema = z.strictObject({
  /** The placement's name. */
  name: word,
  /** All must be met; keys may have `*` as a glob, and so may values. */
  attributes: z.record(word, word),
  signedBy: z.strictObject({
    anyOf: z.array(word).max(100),
    allOf: z.array(word).max(100),
  }),
  units: z.array(unitSchema).min(1).max(100),
  /** The shortest notice before a provider may close; null: none is asked. */
  minNoticeS: z.int().min(1).nullable(),
})
export type Group = z.infer<typeof groupSchema>
