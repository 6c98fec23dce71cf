/**
 * The built program as processes of their own: started, killed, started again, and never left behind. Each child
 * has an IPC channel: over it it says that it is ready, and by its end it learns that these tests are gone.
 */
import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { childMessage } from '../../src/programs/cli/shell/supervised.ts'
import type { FleetEngineSettings } from './fleet/fleet-engine.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
export const MAIN = join(root, 'dist/src/programs/cli/main.js')
const FAKE_NODE = join(root, 'dist/test/support/fleet/fake-node.js')
export const DEMO_MODEL = 'bard-3m'
const MODEL_FILE = join(root, 'models', DEMO_MODEL, `${DEMO_MODEL}-f16.gguf`)
/** What is kept of a child's output, for the message of a failure. */
const MAX_SAID_CHARACTERS = 20_000
const LOOK_EVERY_MS = 20

const living = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of living) child.kill('SIGKILL')
})

export class Program {
  readonly name: string
  readonly #main: string
  readonly #args: readonly string[]
  readonly #env: NodeJS.ProcessEnv
  #child: ChildProcess | null = null
  #said = ''

  /** Whoever makes one kills it when the test ends. */
  constructor(plan: {
    name: string
    args: readonly string[]
    env?: NodeJS.ProcessEnv
    /** Another script than the built program. */
    main?: string
  }) {
    checkBuild()
    this.name = plan.name
    this.#main = plan.main ?? MAIN
    this.#args = plan.args
    this.#env = { ...process.env, BASELOAD_LOG_LEVEL: 'warn', ...plan.env }
  }

  /** What it wrote to standard output and standard error since it was last started. */
  get said(): string {
    return this.#said
  }

  /** Null while it does not run. */
  get pid(): number | null {
    return this.#child?.pid ?? null
  }

  /** Resolves with the id that it reports when it can be used. */
  async start(): Promise<string> {
    assert.equal(this.#child, null, `${this.name} runs already`)
    this.#said = ''
    const child = spawn(process.execPath, [this.#main, ...this.#args], {
      cwd: root,
      env: this.#env,
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    })
    this.#child = child
    living.add(child)
    for (const stream of [child.stdout, child.stderr])
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.#said = (this.#said + text).slice(-MAX_SAID_CHARACTERS)
      })
    child.once('exit', (code, signal) => {
      living.delete(child)
      if (this.#child === child) this.#child = null
      this.#said += `\n[${this.name} ended: ${signal ?? `exit code ${code}`}]\n`
    })
    return this.#ready(child)
  }

  #ready(child: ChildProcess): Promise<string> {
    return new Promise((resolve, reject) => {
      child.on('message', (value) => {
        const message = childMessage.safeParse(value)
        if (message.success) resolve(message.data.ready.id)
      })
      child.once('exit', () => reject(new Error(`${this.name} ended:\n${this.#said}`)))
    })
  }

  /** Resolves when it has written something like this since it was last started. */
  async says(wanted: RegExp): Promise<void> {
    while (!wanted.test(this.#said)) {
      assert.ok(this.#child, `${this.name} ended before it said ${wanted}:\n${this.#said}`)
      await sleep(LOOK_EVERY_MS)
    }
  }

  /** Tells it something over its IPC channel. */
  tell(message: object): void {
    this.#child?.send(message)
  }

  /** Sends the signal and goes on. */
  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal)
  }

  /** Sends a signal that ends it, and resolves when it is gone. */
  async kill(signal: 'SIGKILL' | 'SIGTERM' | 'SIGINT'): Promise<void> {
    const child = this.#child
    if (!child) return
    const gone = once(child, 'exit')
    child.kill(signal)
    // A stopped process takes no other signal.
    child.kill('SIGCONT')
    await gone
  }
}

/** `port` stays the same over restarts. */
export const gatewayProgram = (plan: {
  name: string
  home: string
  port: number
  databaseUrl: string
  /** More of its settings. */
  env?: NodeJS.ProcessEnv
  /** Another build than this one. */
  main?: string
}): Program =>
  new Program({
    name: plan.name,
    ...(plan.main !== undefined && { main: plan.main }),
    args: ['gateway', '--home', plan.home, '--port', String(plan.port)],
    env: { BASELOAD_DATABASE_URL: plan.databaseUrl, ...plan.env },
  })

/** A node with the real demo model on one thread. */
export const nodeProgram = (plan: {
  name: string
  home: string
  gateways: readonly string[]
  /** More of them, or others than these. */
  flags?: Readonly<Record<string, string>>
  env?: NodeJS.ProcessEnv
}): Program =>
  new Program({
    name: plan.name,
    ...(plan.env && { env: plan.env }),
    args: [
      'join',
      ...plan.gateways,
      ...flags({
        home: plan.home,
        model: `${DEMO_MODEL}=${MODEL_FILE}`,
        slots: '4',
        threads: '1',
        gpu: 'none',
        'engines-dir': enginesDir(),
        ...plan.flags,
      }),
      '--skip-doctor',
    ],
  })

/** The real node agent with a fake engine (test/support/fleet): real links, receipts and spools, foreseen tokens. */
export const fakeNodeProgram = (plan: {
  name: string
  home: string
  gateways: readonly string[]
  engine: FleetEngineSettings
  env?: NodeJS.ProcessEnv
}): Program =>
  new Program({
    name: plan.name,
    ...(plan.env && { env: plan.env }),
    main: FAKE_NODE,
    args: [plan.home, JSON.stringify(plan.engine), ...plan.gateways],
  })

const flags = (values: Record<string, string>): string[] =>
  Object.entries(values).flatMap(([name, value]) => [`--${name}`, value])

const enginesDir = (): string =>
  process.env['BASELOAD_ENGINES'] ?? join(root, 'node_modules/.cache/baseload/engines')

/** A port that nobody has now: the gateways of a test keep theirs over many restarts. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

let checked = false

/** These tests run what was built: an old build would be tested instead of the sources. */
function checkBuild(): void {
  if (checked) return
  assert.ok(existsSync(MAIN), `${MAIN} is missing: run \`npm test\`, which builds it`)
  const builtAt = newest(join(root, 'dist/src'), /\.js$/)
  assert.ok(
    newest(join(root, 'src'), /(?<!\.test)\.(ts|sql)$/) <= builtAt,
    'dist/ is older than src/: run `npm test`, which builds it',
  )
  checked = true
}

function newest(folder: string, wanted: RegExp): number {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  const times = files
    .filter((file) => wanted.test(file))
    .map((file) => statSync(join(folder, file)).mtimeMs)
  return Math.max(0, ...times)
}
