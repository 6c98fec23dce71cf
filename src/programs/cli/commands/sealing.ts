/**
 * What leaves this machine of an SDL file and its secrets: the file without its passwords, and envelopes that only nodes
 * open. Every key is checked against the node's own signature, so that no gateway can put its own in its place.
 */
import { randomBytes } from 'node:crypto'
import { z } from 'zod'
import type { Manifest } from '../../../core/protocol/manifest.ts'
import {
  readVariable,
  registryOf,
  registrySecret,
  sealedLogins,
  type SecretEnvelope,
  type SecretValues,
} from '../../../core/protocol/secrets.ts'
import { plural } from '../../../core/sdl/explain.ts'
import { takePasswords } from '../../../core/sdl/passwords.ts'
import {
  isSealingKeyOf,
  sealedDeploymentId,
  sealSecrets,
  type Recipient,
} from '../../../io/keys/secret-envelope.ts'
import { EXIT, Failure } from '../shell/failure.ts'
import type { GatewayClient } from '../shell/gateway-client.ts'
import { understand } from './answers.ts'
import type { Flags, Shell } from './command.ts'
import { readingOf, refusal, type InputFile } from './sdl-file.ts'
import { textsOf, type GivenSecrets } from './secret-flags.ts'

/** What of a file may be shown to a gateway. */
export type SafeFile = {
  readonly sdl: string
  /** Empty for a file that cannot be read: its gateway will say so. */
  readonly manifests: readonly Manifest[]
  /** By name, those of the file and those that were given. */
  readonly secrets: GivenSecrets
}

/** Throws Failure where secrets do not fit the file, or cannot be told from it. */
export function safeFile(
  file: InputFile,
  given: GivenSecrets,
  flags: Flags,
  shell: Shell,
): SafeFile {
  const reading = readingOf(file, flags)
  if (!('sdl' in reading)) {
    // What is not understood may hold a password anywhere.
    if (given.size > 0 || /password/i.test(file.text))
      throw refusal(file, reading.problems, flags, shell.terminal)
    return { sdl: file.text, manifests: [], secrets: given }
  }
  const taken = takePasswords(file.text, reading.sdl)
  if ('why' in taken)
    throw new Failure(EXIT.usage, `${file.path} is not sent: ${taken.why}`, {
      code: 'secret_unusable',
      next: "write 'password: sealed-by-baseload', and give it as --secret <service>@registry=@file",
    })
  const logins = [...taken.passwords].map(
    ([service, text]) => [registrySecret(service), text] as const,
  )
  const secrets = new Map([...logins, ...given])
  const { manifests } = reading.sdl
  for (const name of secrets.keys()) checkPlace(name, manifests)
  return { sdl: taken.text, manifests, secrets }
}

function checkPlace(name: string, manifests: readonly Manifest[]): void {
  const [service = ''] = name.split(/[.@]/, 1)
  const found = manifests.flatMap(({ services }) => services.filter((one) => one.name === service))
  if (found.length === 0) throw unplaced(`${name}: the file has no service '${service}'`)
  if (name === registrySecret(service) && found.every(({ credentials }) => credentials === null))
    throw unplaced(`${name}: '${service}' has no credentials with host and username in the file`)
}

const unplaced = (why: string): Failure => new Failure(EXIT.usage, why, { code: 'secret_unusable' })

/** The `secrets` of a new deployment; null: it has none. */
export async function sealNew(
  client: GatewayClient,
  file: SafeFile,
  flags: Flags,
  shell: Shell,
): Promise<{ nonce: string; groups: SecretEnvelope[] } | null> {
  const missing = missingLogin(file)
  if (missing !== undefined) throw notGiven([missing], 'its file says that it comes sealed')
  if (file.secrets.size === 0) return null
  const nonce = randomBytes(16).toString('base64url')
  const keys = await fetchKeys(client, { sdl: file.sdl })
  const deployment = sealedDeploymentId(keys.tenant, nonce)
  return { nonce, groups: sealAll({ file, keys, deployment, flags, shell }) }
}

/** The `secrets` of a deployment that has `sealed` already; null: they stay as they are. */
export async function sealAgain(
  client: GatewayClient,
  { file, id, sealed }: { file: SafeFile; id: string; sealed: readonly string[] },
  flags: Flags,
  shell: Shell,
): Promise<{ groups: SecretEnvelope[] } | null> {
  const dropped = new Set(textsOf(flags, 'dropSecret'))
  if (file.secrets.size === 0 && dropped.size === 0) return null
  const services = file.manifests.flatMap((manifest) => manifest.services.map(({ name }) => name))
  const missing = sealed.filter(
    (name) =>
      !file.secrets.has(name) &&
      !dropped.has(name) &&
      services.includes(name.split(/[.@]/, 1)[0] ?? ''),
  )
  if (missing.length > 0)
    throw notGiven(missing, 'nobody but its node can open what was sealed before')
  const login = missingLogin(file)
  if (login !== undefined) throw notGiven([login], 'its file says that it comes sealed')
  if (file.secrets.size === 0) return { groups: [] }
  const keys = await fetchKeys(client, { sdl: file.sdl, deployment: id })
  if (keys.deployment === null)
    throw new Failure(EXIT.refused, 'the gateway does not say which deployment it is', {
      code: 'not_understood',
    })
  return { groups: sealAll({ file, keys, deployment: keys.deployment, flags, shell }) }
}

const missingLogin = ({ manifests, secrets }: SafeFile): string | undefined =>
  manifests
    .flatMap((manifest) => sealedLogins(manifest).map(registrySecret))
    .find((name) => !secrets.has(name))

const notGiven = (names: readonly string[], why: string): Failure =>
  new Failure(EXIT.usage, `${names.join(', ')} is not given: ${why}`, {
    code: 'secret_missing',
    next: `give it with --secret ${names[0]}=@file, --secret-env or --secrets${
      why.startsWith('nobody') ? `; or leave it out for good: --drop-secret ${names[0]}` : ''
    }`,
  })

const keysSchema = z.looseObject({
  tenant: z.string(),
  deployment: z.string().nullable(),
  groups: z.array(
    z.looseObject({
      group: z.string(),
      nodes: z.array(
        z.looseObject({
          node: z.string(),
          node_key: z.string(),
          sealing_key: z.string(),
          signature: z.string(),
        }),
      ),
      reasons: z.array(z.string()),
    }),
  ),
})
type Keys = z.infer<typeof keysSchema>

async function fetchKeys(
  client: GatewayClient,
  wanted: { sdl: string; deployment?: string },
): Promise<Keys> {
  const keys = understand(keysSchema, await client.post('/v1/deployments/sealing-keys', wanted))
  for (const { nodes } of keys.groups)
    for (const { node, node_key, sealing_key: key, signature } of nodes)
      if (!isSealingKeyOf(node, node_key, { key, signature }))
        throw new Failure(
          EXIT.refused,
          `the sealing key of ${node} is not signed by ${node}: nothing was sent`,
          {
            code: 'sealing_key_forged',
            next: 'gateways check this too: do not trust this one with secrets',
          },
        )
  return keys
}

function sealAll(input: {
  readonly file: SafeFile
  readonly keys: Keys
  readonly deployment: string
  readonly flags: Flags
  readonly shell: Shell
}): SecretEnvelope[] {
  const { file, keys, deployment, flags, shell } = input
  const envelopes: SecretEnvelope[] = []
  for (const manifest of file.manifests) {
    const values = valuesFor(manifest, file.secrets)
    if (values.env.length + values.registry.length === 0) continue
    const scope = { tenant: keys.tenant, deployment, group: manifest.group }
    const to = recipientsFor(manifest.group, keys, textsOf(flags, 'sealTo'))
    envelopes.push(sealSecrets(values, scope, to))
    if (flags['json'] !== true) {
      const count = values.env.length + values.registry.length
      shell.terminal.err(`${plural(count, 'secret')} sealed for ${plural(to.length, 'node')}\n`)
    }
  }
  return envelopes
}

function valuesFor({ services }: Manifest, secrets: GivenSecrets): SecretValues {
  const values: SecretValues = { v: 1, env: [], registry: [] }
  for (const [name, value] of secrets) {
    const variable = readVariable(name)
    const service = services.find(
      (one) => one.name === (variable?.service ?? name.split('@', 1)[0]),
    )
    if (!service) continue
    if (variable) values.env.push({ ...variable, value })
    else
      values.registry.push({
        service: service.name,
        registry: registryOf(service.image),
        password: value,
      })
  }
  return values
}

function recipientsFor(group: string, { groups }: Keys, only: readonly string[]): Recipient[] {
  const found = groups.find((one) => one.group === group)
  const nodes = (found?.nodes ?? []).filter(({ node }) => only.length === 0 || only.includes(node))
  if (nodes.length > 0)
    return nodes.map(({ node, sealing_key }) => ({ node, sealingKey: sealing_key }))
  const whom = only.length > 0 ? `none of ${only.join(', ')}` : 'no node'
  const reasons = found?.reasons.join('; ') ?? ''
  throw new Failure(
    EXIT.refused,
    `${whom} could run '${group}' and has a key that secrets can be sealed to${reasons === '' ? '' : `: ${reasons}`}`,
    { code: 'no_sealing_key', next: '`baseload screen <file>` shows who could run it' },
  )
}
