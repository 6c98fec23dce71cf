/**
 * What a settings schema says about its fields: name, kind, default, description. Flags, environment names and the manual are
 * made from this, so none of them can disagree with the schema.
 */
import { z } from 'zod'

export type Field = {
  readonly key: string
  readonly kind: 'text' | 'boolean' | 'number' | 'list' | 'object'
  /** `--log-level`. */
  readonly flag: string
  /** Environment names, the first one preferred: `BASELOAD_LOG_LEVEL`. */
  readonly env: readonly string[]
  readonly description: string
  readonly default: unknown
  readonly choices: readonly string[]
  /** Kept out of flags, where `ps` would show it, and out of error messages. */
  readonly secret: boolean
}

const described = z.looseObject({
  type: z.union([z.string(), z.array(z.string())]).optional(),
  anyOf: z.array(z.looseObject({ type: z.string().optional() })).optional(),
  description: z.string().default(''),
  default: z.unknown().optional(),
  enum: z.array(z.string()).optional(),
})

/** The fields in the order of the schema. */
export function fieldsOf(schema: z.ZodObject): Field[] {
  const { properties } = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' })
  return Object.entries(properties ?? {}).map(([key, property]) => {
    const about = described.parse(property)
    return {
      key,
      kind: kindOf(about),
      flag: `--${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`,
      env: [envName(key), ...(CONVENTIONAL[key] ?? [])],
      description: about.description,
      default: about.default,
      choices: about.enum ?? [],
      secret: SECRET.has(key),
    }
  })
}

const envName = (key: string): string =>
  `BASELOAD_${key.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`

/** Names that hosting platforms and other programs already have, and a short one that the tests use. */
const CONVENTIONAL: Readonly<Record<string, readonly string[]>> = {
  databaseUrl: ['DATABASE_URL'],
  enginesDir: ['BASELOAD_ENGINES'],
  s3Region: ['AWS_REGION'],
  s3AccessKeyId: ['AWS_ACCESS_KEY_ID'],
  s3SecretAccessKey: ['AWS_SECRET_ACCESS_KEY'],
  s3SessionToken: ['AWS_SESSION_TOKEN'],
}

const SECRET = new Set([
  'databaseUrl',
  'apiKey',
  'upstreamKey',
  's3AccessKeyId',
  's3SecretAccessKey',
  's3SessionToken',
])

function kindOf(about: z.infer<typeof described>): Field['kind'] {
  const types = [about.type ?? [], about.anyOf?.map((one) => one.type ?? []) ?? []].flat(2)
  const type = types.find((one) => one !== 'null')
  switch (type) {
    case 'boolean':
      return 'boolean'
    case 'integer':
    case 'number':
      return 'number'
    case 'array':
      return 'list'
    case 'object':
      return 'object'
    case undefined:
    default:
      return 'text'
  }
}
