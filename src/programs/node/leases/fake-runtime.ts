/** A container runtime for tests: it starts nothing, and does and says what the test tells it. */
import type { Socket as DatagramSocket } from 'node:dgram'
import { Duplex, PassThrough, Readable } from 'node:stream'
import { Fault } from '../../../core/base/refusal.ts'
import type { EngineFacts } from '../../../io/runtime/detect.ts'
import { quirksOf } from '../../../io/runtime/quirks.ts'
import type {
  Exec,
  ExecTask,
  Found,
  LeaseSpec,
  LogQuery,
  Output,
  ReplicaStatus,
  Runtime,
  Stats,
  Target,
  VolumeTarget,
} from '../../../io/runtime/runtime.ts'

export const FAKE_FACTS: EngineFacts = {
  socket: '/nowhere/fake.sock',
  engine: 'docker',
  version: '20.10.24',
  cgroupVersion: 2,
  storageDriver: 'overlay2',
  isolation: 'runc',
  userNamespaces: false,
  architecture: 'amd64',
  quirks: quirksOf('docker', '20.10.24'),
}

export class FakeRuntime implements Runtime {
  readonly facts = FAKE_FACTS
  readonly specs: LeaseSpec[] = []
  readonly stops: { lease: string; graceS: number; keepVolumes: boolean }[] = []
  readonly removedVolumes: string[] = []
  readonly copiedIn: { folder: string; tar: string }[] = []
  readonly statuses = new Map<string, ReplicaStatus[]>()
  recovered: ReadonlyMap<string, number> | null = null
  /** Leases of which `recover` finds nothing that runs. */
  readonly fallen = new Set<string>()
  /** What `recover` finds that nobody knows. */
  unknown: Found[] = []
  closed = false
  /** Names of images that are there. */
  held: string[] = []
  samples = 0
  /** Awaited by each `run`: hold it, throw in it, or tell events. */
  running: (spec: LeaseSpec, signal: AbortSignal) => Promise<void> | void = () => {}
  stopping: () => Promise<void> | void = () => {}
  /** What a dialled port, a command and a log are; each is the other end of what the host sees. */
  dialling: () => Duplex = () => new PassThrough()
  opening: () => Promise<DatagramSocket> = () => Promise.reject(new Fault('not_found', 'no socket'))
  executing: (task: ExecTask) => Exec = () => {
    throw new Fault('engine_failed', 'no such command')
  }
  logging: (query: LogQuery, signal: AbortSignal) => AsyncGenerator<Output, void, void> =
    async function* () {}
  exporting: () => Readable = () => Readable.from([Buffer.from('tar')])

  async run(spec: LeaseSpec, signal: AbortSignal): Promise<void> {
    this.specs.push(spec)
    await this.running(spec, signal)
    signal.throwIfAborted()
    this.statuses.set(
      spec.lease,
      spec.manifest.services.flatMap(({ name, image, count }) =>
        Array.from({ length: count }, (_, replica) => ({
          lease: spec.lease,
          service: name,
          replica,
          epoch: spec.epoch,
          image,
          state: 'running' as const,
          stopped: null,
          healthy: null,
          startedAt: 1,
          exitCode: null,
          restarts: 0,
        })),
      ),
    )
  }

  async recover(current: ReadonlyMap<string, number>) {
    this.recovered = current
    const found = [...current].map(([lease, epoch]) => ({ lease, epoch }))
    const resting = found.filter(({ lease }) => this.fallen.has(lease))
    const adopted = found.filter((one) => !resting.includes(one))
    return { adopted, resting, stopped: this.unknown }
  }

  async status(lease: string): Promise<ReplicaStatus[]> {
    return this.statuses.get(lease) ?? []
  }

  async stop(lease: string, how: { graceS: number; keepVolumes: boolean }): Promise<void> {
    this.stops.push({ lease, ...how })
    await this.stopping()
    this.statuses.delete(lease)
  }

  async removeVolumes(lease: string): Promise<void> {
    this.removedVolumes.push(lease)
  }

  async dial(to: { lease: string; service: string; port: number }): Promise<Duplex> {
    this.#find({ ...to, replica: 0 })
    return this.dialling()
  }

  async datagrams(to: { lease: string; service: string; port: number }): Promise<DatagramSocket> {
    this.#find({ ...to, replica: 0 })
    return await this.opening()
  }

  async exec(target: Target, task: ExecTask): Promise<Exec> {
    this.#find(target)
    return this.executing(task)
  }

  logs(target: Target, query: LogQuery, signal: AbortSignal) {
    this.#find(target)
    return this.logging(query, signal)
  }

  async copyIn(target: Target, folder: string, tar: Readable): Promise<void> {
    this.#find(target)
    if (folder === '/nowhere') throw new Fault('not_found', 'no folder /nowhere')
    this.copiedIn.push({ folder, tar: await textOf(tar) })
  }

  async copyOut(target: Target, path: string): Promise<Readable> {
    this.#find(target)
    if (path === '/nowhere') throw new Fault('not_found', 'no file /nowhere')
    return this.exporting()
  }

  async exportVolume(volume: VolumeTarget): Promise<Readable> {
    if (volume.volume === 'nothing') throw new Fault('not_found', 'no volume nothing')
    return this.exporting()
  }

  async stats(target: Target): Promise<Stats> {
    this.#find(target)
    this.samples += 1
    const [memoryBytes, memoryLimitBytes] = [this.samples, 10]
    const traffic = { receivedBytes: 1, sentBytes: 2 }
    return { cpuNanos: 7n, memoryBytes, memoryLimitBytes, pids: 1, ...traffic }
  }

  async close(): Promise<void> {
    this.closed = true
  }

  async images(): Promise<string[]> {
    return this.held
  }

  hasImage(): Promise<boolean> {
    throw unused()
  }
  pull(): never {
    throw unused()
  }
  loadImage(): Promise<string[]> {
    throw unused()
  }
  egressBytes(): Promise<bigint> {
    throw unused()
  }

  #find({ lease, service, replica }: Target): void {
    const found = this.statuses
      .get(lease)
      ?.some((one) => one.service === service && one.replica === replica)
    if (found !== true) throw new Fault('not_found', `no container ${service}/${replica}`)
  }
}

const unused = (): Error => new Error('a node asks no such thing of its runtime')

/** All that comes. The stream is not destroyed by it: its other direction may go on. */
export function textOf(stream: Readable): Promise<string> {
  const chunks: Buffer[] = []
  return new Promise((resolve, reject) => {
    stream.on('data', (chunk: Buffer) => chunks.push(chunk))
    stream.on('end', () => resolve(Buffer.concat(chunks).toString()))
    stream.on('error', reject)
  })
}
