/** The manifest: what the node needs to run a group. Its secrets travel beside it, sealed to the node's key: `secrets.ts`. */
import { z } from 'zod'

const text = z.string().max(64 * 1024)
const word = z.string().max(300)

export const HTTP_FAILURES = [
  'error',
  'timeout',
  '500',
  '502',
  '503',
  '504',
  '403',
  '404',
  '429',
  'off',
] as const

const httpOptionsSchema = z.strictObject({
  maxBodyBytes: z.int().min(0),
  readTimeoutMs: z.int().min(0),
  sendTimeoutMs: z.int().min(0),
  nextTries: z.int().min(0),
  nextTimeoutMs: z.int().min(0),
  nextCases: z.array(z.enum(HTTP_FAILURES)),
  proxyBufferBytes: z.int().min(0).nullable(),
})
export type HttpOptions = z.infer<typeof httpOptionsSchema>

const exposeSchema = z.strictObject({
  port: z.int().min(1).max(65_535),
  externalPort: z.int().min(1).max(65_535),
  proto: z.enum(['tcp', 'udp']),
  /** Only for this other service; null: for all of the group, and for the world when `global`. */
  service: word.nullable(),
  global: z.boolean(),
  /** Host names that lead here. */
  hosts: z.array(word).max(64),
  /** The leased IP endpoint's name. */
  ip: word.nullable(),
  http: httpOptionsSchema,
})
export type Expose = z.infer<typeof exposeSchema>

const serviceSchema = z.strictObject({
  name: word,
  image: word,
  /** Null: the image's own. */
  command: z.array(text).nullable(),
  args: z.array(text).nullable(),
  /** `K=V`, or `K` alone for an empty value. */
  env: z.array(text).max(1000),
  /** The group's unit that it runs on. */
  unit: z.int().min(1),
  count: z.int().min(1).max(1000),
  expose: z.array(exposeSchema).max(100),
  /** Volumes of the unit that are mounted. */
  mounts: z
    .array(z.strictObject({ volume: word, path: z.string().max(1000), readOnly: z.boolean() }))
    .max(16),
  credentials: z.strictObject({ host: word, username: word, password: text }).nullable(),
  permissions: z.array(z.enum(['deployment', 'logs', 'events'])).max(3),
  tee: z.enum(['cpu', 'cpu-gpu']).nullable(),
})
export type Service = z.infer<typeof serviceSchema>

export const manifestSchema = z.strictObject({
  /** The group's name. */
  group: word,
  services: z.array(serviceSchema).min(1).max(100),
})
export type Manifest = z.infer<typeof manifestSchema>
