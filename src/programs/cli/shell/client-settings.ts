/** Which gateway a command talks to, and with which key. */
import { readFileSync } from 'node:fs'
import { z } from 'zod'
import { reasonOf } from '../../../core/base/refusal.ts'
import { EXIT, Failure } from './failure.ts'
import { readNetworkFile } from './network-file.ts'
import { mergeSettings, readConfigFile } from '../settings/settings.ts'
import { homeFolder } from './home.ts'
import { join } from 'node:path'

export const clientConfig = z.strictObject({
  url: z
    .url({ protocol: /^https?$/, error: 'must be an http(s) address' })
    .optional()
    .describe('The gateway. Without it, the network that `baseload up` runs from this home.'),
  apiKey: z
    .string()
    .min(1)
    .optional()
    .describe(
      'An API key. There is no flag for it, so that `ps` never shows it; --key-file reads one from a file.',
    ),
  keyFile: z.string().optional().describe('A file that holds the API key, and nothing else.'),
  wallet: z
    .string()
    .min(1)
    .optional()
    .describe(
      'The wallet that pays where the gateway asks for vouchers. Without it, the only one that has agreed to this gateway.',
    ),
  passwordFile: z
    .string()
    .optional()
    .describe(
      "A file that holds the wallet's password, and nothing else. Or set BASELOAD_WALLET_PASSWORD; there is no flag for the password itself.",
    ),
  timeoutMs: z
    .number()
    .int()
    .min(100)
    .max(600_000)
    .default(30_000)
    .describe(
      'Longest silence of the gateway, milliseconds: a command never hangs on a dead network.',
    ),
})

export type Access = {
  readonly url: string
  readonly apiKey: string | null
  readonly timeoutMs: number
  readonly home: string
  readonly wallet: string | null
  readonly passwordFile: string | null
}

/** Flags and environment first, then network.json of the home. */
export function readAccess(flags: Record<string, unknown>, env: NodeJS.ProcessEnv): Access {
  const home = homeFolder(textOf(flags['home']), env)
  const config = textOf(flags['config'])
  const settings = mergeSettings(clientConfig, {
    role: 'client',
    fallback: {},
    file: readConfigFile(config ?? join(home, 'config.json'), 'client', config !== undefined),
    env,
    flags,
  })
  const { timeoutMs, wallet = null, passwordFile = null } = settings
  const paying = { home, wallet, passwordFile }
  const keyFromFile = settings.keyFile === undefined ? undefined : readKey(settings.keyFile)
  const apiKey = keyFromFile ?? settings.apiKey
  // A key of the local network must not be sent to somebody else's gateway.
  if (settings.url !== undefined) {
    const local = apiKey === undefined ? readNetworkFile(home) : null
    const own = local !== null && sameGateway(local.url, settings.url) ? local.apiKey : null
    return { url: trim(settings.url), apiKey: apiKey ?? own, timeoutMs, ...paying }
  }
  const network = readNetworkFile(home)
  if (network === null)
    throw new Failure(EXIT.usage, `no gateway given, and no network was started from ${home}`, {
      code: 'no_gateway',
      next: 'run `npm start`, or give --url https://… (or BASELOAD_URL) and BASELOAD_API_KEY',
    })
  return { url: trim(network.url), apiKey: apiKey ?? network.apiKey, timeoutMs, ...paying }
}

/** Accepts what an OpenAI SDK calls the base URL, too. */
const trim = (url: string): string => url.replace(/\/+$/, '').replace(/\/v1$/, '')

const sameGateway = (a: string, b: string): boolean => new URL(a).origin === new URL(b).origin

const textOf = (value: unknown): string | undefined =>
  typeof value === 'string' ? value : undefined

function readKey(path: string): string {
  try {
    const key = readFileSync(path, 'utf8').trim()
    if (key !== '') return key
  } catch (error) {
    throw new Failure(EXIT.usage, `cannot read the key file: ${reasonOf(error)}`, { cause: error })
  }
  throw new Failure(EXIT.usage, `the key file ${path} is empty`)
}
