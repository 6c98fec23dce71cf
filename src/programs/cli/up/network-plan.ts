/** How the processes of `baseload up` are called: the same commands a person would type for each. */
import { existsSync } from 'node:fs'
import { extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { packageRoot } from '../shell/home.ts'
import { DEMO_MODEL } from './banner.ts'
import type { LocalMoney } from './local-money.ts'
import type { NetworkPlan } from './network.ts'
import type { UpConfig } from './up-config.ts'

export type PlanInput = {
  readonly config: UpConfig
  readonly configFile: string
  readonly home: string
  readonly env: NodeJS.ProcessEnv
  readonly url: string
  readonly port: number
  readonly enginesDir: string
  readonly databaseUrl: string
  /** Null: nothing is settled on a chain. */
  readonly money: Pick<LocalMoney, 'gatewayFlags' | 'payoutAddresses'> | null
}

export function networkPlan(input: PlanInput): NetworkPlan {
  const { config, home, env, url, databaseUrl } = input
  const shared = existsSync(input.configFile) ? ['--config', input.configFile] : []
  const gateway = ['gateway', '--home', join(home, 'gateway'), '--port', String(input.port)]
  return {
    home,
    program: [process.execPath, ...process.execArgv, mainFile()],
    gateway: {
      args: [...gateway, '--log-requests', 'both', ...(input.money?.gatewayFlags ?? []), ...shared],
      // In the environment and not among the arguments: the URL holds a password, and `ps` shows arguments.
      env: { ...env, BASELOAD_DATABASE_URL: databaseUrl },
    },
    nodes: Array.from({ length: config.nodes }, (_, index) => ({
      args: ['join', url, ...nodeArguments(input, index + 1), ...shared],
      env: withoutSecrets(env),
    })),
  }
}

function nodeArguments(input: PlanInput, number: number): string[] {
  const { config, home, enginesDir } = input
  const payout = input.money?.payoutAddresses[number - 1]
  const model = join(packageRoot(), 'models', DEMO_MODEL, `${DEMO_MODEL}-f16.gguf`)
  const options = {
    home: join(home, 'nodes', String(number)),
    model: `${DEMO_MODEL}=${model}`,
    slots: String(config.slots),
    // Several nodes share this machine's cores, and the demo model needs no GPU.
    threads: '1',
    gpu: 'none',
    // They are one machine: together they must not lease it out twice.
    'lease-share': (1 / config.nodes).toFixed(4),
    // Ctrl-C leaves nothing behind.
    'lease-on-exit': 'stop',
    'engines-dir': enginesDir,
    ...(payout === undefined ? {} : { 'payout-address': payout }),
  }
  return [
    ...Object.entries(options).flatMap(([flag, value]) => [`--${flag}`, value]),
    '--skip-doctor',
  ]
}

/** Nodes are strangers' machines in real life: they get nothing that only a gateway or tenant may know. */
function withoutSecrets(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const {
    DATABASE_URL: _url,
    BASELOAD_DATABASE_URL: _ownUrl,
    BASELOAD_API_KEY: _key,
    BASELOAD_S3_ACCESS_KEY_ID: _s3Id,
    BASELOAD_S3_SECRET_ACCESS_KEY: _s3Secret,
    BASELOAD_S3_SESSION_TOKEN: _s3Token,
    AWS_ACCESS_KEY_ID: _awsId,
    AWS_SECRET_ACCESS_KEY: _awsSecret,
    AWS_SESSION_TOKEN: _awsToken,
    ...rest
  } = env
  return rest
}

/** main.js in dist/, main.ts under tsx. */
const mainFile = (): string =>
  fileURLToPath(new URL(`../main${extname(import.meta.url)}`, import.meta.url))
