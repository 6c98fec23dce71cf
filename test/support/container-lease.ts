/** A private engine with images and a runtime over it, and leases in few words, for the suites that run on real engines. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Service } from '../../src/core/protocol/manifest.ts'
import type { Volume } from '../../src/core/protocol/resources.ts'
import { openRuntime, type RuntimeOptions } from '../../src/io/runtime/container-runtime.ts'
import { detectEngine } from '../../src/io/runtime/detect.ts'
import type {
  LeaseSpec,
  Output,
  Runtime,
  RuntimeEvent,
  Target,
} from '../../src/io/runtime/runtime.ts'
import { startEngine, type EngineName, type PrivateEngine } from './container-engines.ts'
import { imageArchive, makeLayer, type ImageConfig } from './container-image.ts'

export const MIB = 1 << 20

/** Serves `/www` on port 80 unless told otherwise. */
export const IMAGE = 'localhost/baseload-test:1'

/** The end of a script that goes on until it is stopped. As process 1 it hears only signals that it asked for. */
export const REST = "trap 'exit 0' TERM; sleep 1000 & wait"
const SERVE = "trap 'exit 0' TERM; httpd -f -p 80 -h /www & wait"

export type Bench = {
  readonly engine: PrivateEngine
  /** All that the runtime told, oldest first. */
  readonly events: RuntimeEvent[]
  runtime: Runtime
  /** Closes the runtime and opens another, as an agent does that was started anew. */
  reopen(): Promise<void>
  /** An image of the same files under another name. */
  load(name: string, config: ImageConfig): Promise<string[]>
  archive(name: string, config: ImageConfig): Promise<Readable>
  /** Resolves with the first event of this type that fits, past or to come. */
  event<T extends RuntimeEvent['type']>(
    type: T,
    fits?: (event: Extract<RuntimeEvent, { type: T }>) => boolean,
  ): Promise<Extract<RuntimeEvent, { type: T }>>
  /** Ends what a test left behind. */
  clear(): Promise<void>
  close(): Promise<void>
}

export async function openBench(
  name: EngineName,
  options: Partial<RuntimeOptions> = {},
): Promise<Bench> {
  const engine = await startEngine(name)
  const layer = await makeLayer()
  const events: RuntimeEvent[] = []
  const waiting = new Set<() => void>()
  const open = async (): Promise<Runtime> => {
    const found = await detectEngine(engine.socket)
    assert.ok(found.usable, found.usable ? '' : found.problem)
    return await openRuntime({
      facts: found.facts,
      agent: `test-${process.pid}`,
      folder: join(engine.folder, 'agent'),
      onEvent: (event) => {
        events.push(event)
        for (const look of waiting) look()
      },
      diskPauseMs: 200,
      ...options,
    })
  }
  const bench: Bench = {
    engine,
    events,
    runtime: await open(),
    reopen: async () => {
      await bench.runtime.close()
      bench.runtime = await open()
    },
    load: async (image, config) =>
      await bench.runtime.loadImage(await bench.archive(image, config)),
    archive: (image, config) => imageArchive(layer, { name: image, config }),
    event: (type, fits = () => true) =>
      new Promise((resolve) => {
        type Wanted = Extract<RuntimeEvent, { type: typeof type }>
        const isWanted = (event: RuntimeEvent): event is Wanted =>
          event.type === type && fits(event as Wanted)
        const look = () => {
          const found = events.find(isWanted)
          if (found === undefined) return
          waiting.delete(look)
          resolve(found)
        }
        waiting.add(look)
        look()
      }),
    clear: async () => {
      const { adopted, stopped } = await bench.runtime.recover(new Map())
      for (const { lease } of [...adopted, ...stopped]) await bench.runtime.removeVolumes(lease)
    },
    close: async () => {
      await bench.runtime.close()
      await layer.remove()
      await engine.stop()
    },
  }
  await bench.load(IMAGE, { Cmd: ['sh', '-c', SERVE] })
  return bench
}

export type Plan = {
  readonly image?: string
  /** For `sh -c`. */
  readonly script?: string
  readonly command?: readonly string[]
  readonly args?: readonly string[]
  readonly env?: readonly string[]
  readonly count?: number
  readonly cpuMilli?: number
  readonly memoryBytes?: number
  readonly diskBytes?: number
  /** Name → where, and how large. */
  readonly volumes?: Readonly<Record<string, Partial<Volume> & { path: string }>>
  readonly gpus?: number
  readonly credentials?: Service['credentials']
}

/** Each service on a unit of its own. */
export function leaseOf(
  lease: string,
  services: Readonly<Record<string, Plan>>,
  more: Partial<LeaseSpec> = {},
): LeaseSpec {
  const entries = Object.entries(services)
  return {
    lease,
    epoch: 1,
    units: entries.map(([, plan], index) => ({
      id: index + 1,
      resources: {
        cpuMilli: plan.cpuMilli ?? 500,
        cpuArch: null,
        memoryBytes: plan.memoryBytes ?? 64 * MIB,
        volumes: volumesOf(plan),
        gpu: plan.gpus === undefined ? null : { units: plan.gpus, anyOf: [ANY_GPU] },
      },
      count: plan.count ?? 1,
      endpoints: { sharedHttp: 0, randomPort: 0, leasedIp: 0 },
      maxRate: '1',
    })),
    manifest: {
      group: 'test',
      services: entries.map(([name, plan], index) => serviceOf(name, plan, index + 1)),
    },
    ...more,
  }
}

const ANY_GPU = { vendor: 'nvidia', model: null, ramBytes: null, interface: null }

const volumesOf = (plan: Plan): Volume[] => [
  { name: 'default', bytes: plan.diskBytes ?? 64 * MIB, persistent: false, class: 'default' },
  ...Object.entries(plan.volumes ?? {}).map(([name, { path: _path, ...volume }]) => ({
    name,
    bytes: 64 * MIB,
    persistent: true,
    class: 'beta1' as const,
    ...volume,
  })),
]

const serviceOf = (name: string, plan: Plan, unit: number): Service => ({
  name,
  image: plan.image ?? IMAGE,
  command: plan.script === undefined ? (plan.command?.slice() ?? null) : ['sh', '-c'],
  args: plan.script === undefined ? (plan.args?.slice() ?? null) : [plan.script],
  env: [...(plan.env ?? [])],
  unit,
  count: plan.count ?? 1,
  expose: [],
  mounts: Object.entries(plan.volumes ?? {}).map(([volume, { path }]) => ({
    volume,
    path,
    readOnly: false,
  })),
  credentials: plan.credentials ?? null,
  permissions: [],
  tee: null,
})

export const at = (lease: string, service: string, replica = 0): Target => ({
  lease,
  service,
  replica,
})

/** All of it as text, both streams in the order they came. */
export async function textOf(output: AsyncIterable<Output>): Promise<string> {
  const pieces: Buffer[] = []
  for await (const { data } of output) pieces.push(data)
  return Buffer.concat(pieces).toString()
}

export const logsOf = (bench: Bench, target: Target): Promise<string> =>
  textOf(bench.runtime.logs(target, {}, AbortSignal.timeout(10_000)))

/** Runs a script in a container to its end. */
export async function inside(
  bench: Bench,
  target: Target,
  script: string,
): Promise<{ text: string; exitCode: number }> {
  const exec = await bench.runtime.exec(target, { command: ['sh', '-c', script], terminal: null })
  exec.stdin.end()
  return { text: await textOf(exec.output), exitCode: await exec.exitCode }
}

const UNTIL_MS = 10_000
const LOOK_MS = 50

/** Asks until the answer fits. */
export async function until(ask: () => Promise<string>, wanted: RegExp): Promise<string> {
  const deadline = Date.now() + UNTIL_MS
  for (;;) {
    const answer = await ask()
    if (wanted.test(answer)) return answer
    assert.ok(Date.now() < deadline, `${wanted} did not come; the last answer was:\n${answer}`)
    await sleep(LOOK_MS)
  }
}
