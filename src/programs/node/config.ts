/** A node's settings. The schema is the manual: each field says its unit, its default, and the accident it prevents. */
import { z } from 'zod'
import { MAX_NANO_USD_PER_MTOK, parseUsd, type TokenPrice } from '../../core/base/money.ts'
import { Fault } from '../../core/base/refusal.ts'
import { MAX_MODELS_PER_OFFER, MAX_SLOTS_PER_MODEL } from '../../core/protocol/offer.ts'
import { leaseSettings } from './leases/lease-settings.ts'

/** Each gateway is a socket, a heartbeat and a spool; a node that needs more is in the wrong region. */
export const MAX_GATEWAYS = 16

/** As in an offer. */
const MODEL_NAME = /^[\w.:/@+-]{1,200}$/

const usdPerMTok = z.string().refine(
  (text) => {
    const nano = parseUsd(text)
    return nano !== null && nano >= 0n && nano <= MAX_NANO_USD_PER_MTOK
  },
  { message: 'dollars as a plain decimal such as "0.05", from 0 to 1000000' },
)

const model = z.strictObject({
  source: z
    .string()
    .min(1)
    .optional()
    .describe(
      'A GGUF file: a path, https://…, or hf:org/repo/file.gguf. Its SHA-256 goes into the offer, so that a changed file is seen. Only for the engine llama.cpp, which needs it.',
    ),
  name: z
    .string()
    .regex(MODEL_NAME)
    .optional()
    .describe(
      "What tenants ask for. Default: the file's name without .gguf. With the engine openai: the upstream's own name of the model.",
    ),
  contextTokens: z.coerce
    .number()
    .int()
    .min(16)
    .max(100_000_000)
    .optional()
    .describe(
      'Longest prompt and answer together, tokens. Default: what an upstream tells; else 8192, or less when the model was trained for less. Memory grows with it, once for each slot.',
    ),
  slots: z.coerce
    .number()
    .int()
    .min(1)
    .max(MAX_SLOTS_PER_MODEL)
    .default(4)
    .describe(
      'Answers computed at the same time. Each needs memory for its context; too many make each of them slow.',
    ),
  inputUsdPerMTok: usdPerMTok
    .default('0.02')
    .describe('Price per million input tokens, USD, as text: a binary fraction would round money.'),
  outputUsdPerMTok: usdPerMTok
    .default('0.05')
    .describe('Price per million output tokens, USD, as text.'),
})
export type ModelConfig = z.infer<typeof model>

export const nodeConfig = z.strictObject({
  gateways: z
    .array(z.url({ protocol: /^(https?|wss?)$/ }))
    .min(1)
    .max(MAX_GATEWAYS)
    .describe(
      'Gateways to link to, e.g. https://gateway.example. The node dials out; it never opens a port.',
    ),
  gatewayLinks: z.coerce
    .number()
    .int()
    .min(0)
    .max(MAX_GATEWAYS)
    .default(3)
    .describe(
      'Of how many gateways of a network it keeps links, when one that you named tells of others in its region. Those that you named stay beside them. 0: only those.',
    ),
  home: z
    .string()
    .min(1)
    .describe(
      'Folder of this node: its key (0600) and its unpaid receipts. Losing it loses the name, its reputation and that money; one node runs in it at a time.',
    ),
  models: z
    .array(model)
    .max(MAX_MODELS_PER_OFFER)
    .default([])
    .describe(
      'What to serve and for how much. With the engine openai an empty list offers all that the upstream has, at the default price.',
    ),
  engine: z
    .enum(['llama.cpp', 'openai'])
    .default('llama.cpp')
    .describe(
      '`llama.cpp` runs GGUF files in this process; `openai` sells a server that runs already.',
    ),
  upstream: z
    .url({ protocol: /^https?$/ })
    .nullable()
    .default(null)
    .describe(
      'Base URL of the OpenAI-compatible server for the engine openai, e.g. http://127.0.0.1:8000/v1. Never taken by guess: what runs on a usual port may not be for sale.',
    ),
  upstreamKeyEnv: z
    .string()
    .regex(/^[A-Za-z_]\w*$/)
    .nullable()
    .default(null)
    .describe(
      "Name of the environment variable that holds the upstream's API key: the key itself belongs in no file and no process list.",
    ),
  enginesDir: z
    .string()
    .nullable()
    .default(null)
    .describe(
      'Folder of installed engines, shared by the nodes of a machine. Default: engines/ in the home.',
    ),
  modelsDir: z
    .string()
    .nullable()
    .default(null)
    .describe('Folder of downloaded models, shared likewise. Default: models/ in the home.'),
  threads: z.coerce
    .number()
    .int()
    .min(1)
    .max(1024)
    .nullable()
    .default(null)
    .describe(
      'CPU threads that compute each model. Default: half of what the machine has. Take 1 when several nodes share it: threads that wait for each other make all of them slow.',
    ),
  gpu: z
    .enum(['auto', 'none'])
    .default('auto')
    .describe(
      '`auto` uses a GPU whose backend was installed with `baseload doctor --install`; `none` keeps the GPU for its owner, and every answer the same bit for bit.',
    ),
  providerName: z
    .string()
    .max(80)
    .nullable()
    .default(null)
    .describe('Whom tenants may thank. Public, and not verified.'),
  region: z
    .string()
    .max(40)
    .nullable()
    .default(null)
    .describe(
      'Where the machine is, e.g. eu-de. Tenants who ask for a region skip nodes without one.',
    ),
  dataCollection: z
    .enum(['deny', 'allow'])
    .default('deny')
    .describe(
      'Whether prompts are kept or learned from. `deny` is a promise to tenants: say `allow` when an upstream keeps them.',
    ),
  payoutAddress: z
    .string()
    .regex(/^0x[0-9a-fA-F]{40}$/, 'an address: 0x and 40 hexadecimal digits, e.g. of your wallet')
    .nullable()
    .default(null)
    .describe(
      'Where your earnings go on chain: an address in its checksummed form, 0x…, so that a slip of the finger is seen. Without one they stay in each gateway’s ledger. A change holds from the gateway’s next payout epoch on; what was earned before goes to the old address.',
    ),
  ...leaseSettings,
  drainSeconds: z.coerce
    .number()
    .int()
    .min(0)
    .max(3_600)
    .default(30)
    .describe(
      'How long running answers may finish after SIGTERM, seconds; then another node takes them over.',
    ),
  logLevel: z
    .enum(['debug', 'info', 'warn', 'error', 'silent'])
    .default('info')
    .describe('JSON logs; never prompts, answers or keys.'),
  logFile: z
    .string()
    .nullable()
    .default(null)
    .describe('File for the JSON logs; standard error when absent.'),
})

export type NodeConfig = z.infer<typeof nodeConfig>

/** Reads settings from anywhere. Throws Fault `invalid_settings` whose message names each wrong field. */
export function readNodeConfig(input: unknown): NodeConfig {
  const parsed = nodeConfig.safeParse(input)
  const problems = parsed.success ? [] : parsed.error.issues.map(issueText)
  if (parsed.success) problems.push(...contradictions(parsed.data))
  if (parsed.success && problems.length === 0) return parsed.data
  throw new Fault('invalid_settings', `The node's settings are wrong: ${problems.join('; ')}.`)
}

/** What the engine sells, in the protocol's own unit. */
export function tokenPriceOf(sold: ModelConfig): TokenPrice {
  return {
    inputNanoUsdPerMTok: parseUsd(sold.inputUsdPerMTok) ?? 0n,
    outputNanoUsdPerMTok: parseUsd(sold.outputUsdPerMTok) ?? 0n,
  }
}

/** The settings of a model that nobody wrote any for. */
export const defaultModelConfig = (name: string): ModelConfig => model.parse({ name })

/** The name tenants ask for: given, or the file's without `.gguf`. */
export function modelNameOf(sold: Pick<ModelConfig, 'name' | 'source'>): string {
  if (sold.name !== undefined) return sold.name
  const path = (sold.source ?? '').split(/[?#]/)[0] ?? ''
  return path.slice(path.lastIndexOf('/') + 1).replace(/\.gguf$/i, '')
}

function issueText(issue: z.core.$ZodIssue): string {
  const field = issue.path.join('.')
  return field === '' ? issue.message : `${field}: ${issue.message}`
}

/** What no single field can see. */
function contradictions(config: NodeConfig): string[] {
  const problems: string[] = []
  if (config.engine === 'openai' && config.upstream === null)
    problems.push('upstream: the engine openai needs the base URL of a server')
  if (config.engine === 'llama.cpp' && config.models.length === 0)
    problems.push('models: the engine llama.cpp needs at least one GGUF file')
  config.models.forEach((sold, i) => {
    if (config.engine === 'llama.cpp' && sold.source === undefined)
      problems.push(`models.${i}.source: the engine llama.cpp needs a GGUF file`)
    if (config.engine === 'openai' && sold.name === undefined)
      problems.push(`models.${i}.name: the engine openai needs the upstream's name of the model`)
  })
  const names = config.models.map(modelNameOf)
  names.forEach((name, i) => {
    if (!MODEL_NAME.test(name))
      problems.push(`models.${i}.name: the file's name '${name}' cannot be one; give it a name`)
  })
  const twice = names.find((name, i) => names.indexOf(name) !== i)
  if (twice !== undefined) problems.push(`models: two are called ${twice}; give one another name`)
  return problems
}
