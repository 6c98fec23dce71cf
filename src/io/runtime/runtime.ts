/**
 * What runs leases on a node: containers in a network of their own, with hard limits, and nothing left behind.
 * `container-runtime.ts` does it over the REST socket of Docker or Podman; `detect.ts` finds one that can be sold.
 *
 * All methods throw a `Fault`: `not_found` names what is missing, `lease_epoch_stale` an epoch that was overtaken,
 * `lease_invalid` a manifest that does not fit its group, `engine_failed` what the engine said.
 */
import type { Socket as DatagramSocket } from 'node:dgram'
import type { Duplex, Readable, Writable } from 'node:stream'
import type { Unit } from '../../core/protocol/group.ts'
import type { Manifest } from '../../core/protocol/manifest.ts'
import type { EngineFacts } from './detect.ts'

/** A lease as its node runs it. The same lease under a newer epoch is another owner's, and replaces it. */
export type LeaseSpec = {
  /** Letters, digits, `_`, `.` and `-`; at most 64. */
  readonly lease: string
  readonly epoch: number
  /** The group's. */
  readonly units: readonly Unit[]
  readonly manifest: Manifest
  /** CDI names of the GPUs of each replica, by service: `{ web: [['nvidia.com/gpu=0'], ['nvidia.com/gpu=1']] }`. */
  readonly gpus?: Readonly<Record<string, readonly (readonly string[])[]>>
  /** Services whose root file system cannot be written; `/tmp` and `/run` stay writable, in memory. */
  readonly readOnlyRoot?: readonly string[]
  /** What happens after an exit; `always` when left out, with a growing pause. */
  readonly restart?: Restart
  /** Asked for each volume that does not exist yet: a tar stream to fill it from, or null to start empty. */
  readonly restore?: (volume: VolumeTarget) => Promise<Readable | null>
}

export const RESTARTS = ['always', 'on-failure', 'never'] as const
export type Restart = (typeof RESTARTS)[number]

/** One container. Replicas count from 0. */
export type Target = { readonly lease: string; readonly service: string; readonly replica: number }
export type VolumeTarget = Target & { readonly volume: string }

/** What a tenant and a node agent want to know at once, in the order in which it happened. */
export type RuntimeEvent =
  | ({ readonly type: 'container.started' } & At)
  | ({
      readonly type: 'container.exited'
      readonly exitCode: number
      /**
       * `oom`: killed because it used more memory than its limit. `removed`: somebody removed the container; a restart
       * makes another. `exit`: any other.
       */
      readonly cause: 'exit' | 'oom' | 'removed'
      /** Null: it stays as it is. */
      readonly restartInMs: number | null
    } & At)
  | ({ readonly type: 'container.health'; readonly healthy: boolean } & At)
  /** It wrote more than it leased, and was stopped for good. `volume` null: outside of volumes. */
  | ({
      readonly type: 'disk.exceeded'
      readonly volume: string | null
      readonly usedBytes: number
      readonly limitBytes: number
    } & At)
  | { readonly type: 'image.progress'; readonly lease: string; readonly progress: PullProgress }
  /** Somebody removed our rules: they were set again. */
  | { readonly type: 'firewall.restored' }
  /** Watching failed, and goes on. */
  | { readonly type: 'watch.failed'; readonly reason: string }

type At = Target & { readonly epoch: number }

export type PullProgress = {
  readonly image: string
  /** As the engine says it: `Downloading`, `Extracting`, `Pull complete`, … */
  readonly phase: string
  /** Of which layer; null: of the whole. */
  readonly layer: string | null
  readonly bytes: number | null
  readonly totalBytes: number | null
}

export type Credentials = {
  readonly host: string
  readonly username: string
  readonly password: string
}

export type ReplicaStatus = Target & {
  readonly epoch: number
  readonly image: string
  readonly state: 'created' | 'running' | 'exited'
  /** Why it will not run again by itself; null while it runs or will be restarted. */
  readonly stopped: 'exit' | 'disk' | null
  /** Null: the image has no health check, or it has not been run. */
  readonly healthy: boolean | null
  readonly startedAt: number
  /** Of the last exit; null: there was none. */
  readonly exitCode: number | null
  readonly restarts: number
}

/** Bytes that a container wrote. With a terminal all of it is `stdout`. */
export type Output = { readonly stream: 'stdout' | 'stderr'; readonly data: Buffer }

export type ExecTask = {
  readonly command: readonly string[]
  /** Null: no terminal. */
  readonly terminal: TerminalSize | null
  readonly env?: readonly string[]
}
export type TerminalSize = { readonly columns: number; readonly rows: number }

export type Exec = {
  /** Ending it is the command's end of input. */
  readonly stdin: Writable
  /** Read slowly, and the command waits. */
  readonly output: AsyncIterable<Output>
  resize(size: TerminalSize): Promise<void>
  signal(name: NodeJS.Signals): Promise<void>
  /** Resolves after the output's end. */
  readonly exitCode: Promise<number>
}

export type LogQuery = {
  /** Goes on with what comes, over restarts, until the signal or the container's removal. */
  readonly follow?: boolean
  /** Only so many of the last lines. */
  readonly tail?: number
  readonly sinceMs?: number
  /** RFC 3339 and a space before each line. */
  readonly timestamps?: boolean
}

export type Stats = {
  /** Of processor time, since the start. */
  readonly cpuNanos: bigint
  readonly memoryBytes: number
  readonly memoryLimitBytes: number
  readonly pids: number
  readonly receivedBytes: number
  readonly sentBytes: number
}

export type Found = { readonly lease: string; readonly epoch: number }

export type Recovered = {
  readonly adopted: Found[]
  /** Nothing of them runs. */
  readonly resting: Found[]
  readonly stopped: Found[]
}

export type Runtime = {
  readonly facts: EngineFacts

  /** Under exactly this name; pulling nothing. */
  hasImage(image: string): Promise<boolean>
  /** The names of all that are present, the newest first; one image may have several. */
  images(): Promise<string[]>
  /** Pulls from the registry that the name tells, also what is present. Progress comes as it happens. */
  pull(
    image: string,
    credentials: Credentials | null,
    signal: AbortSignal,
  ): AsyncGenerator<PullProgress, void, void>
  /** From an archive as `docker save` and `skopeo copy … docker-archive:` make it; gives the images' names. */
  loadImage(archive: Readable): Promise<string[]>

  /**
   * Makes the lease run as its spec says, whatever ran before: starts what is missing, replaces what differs, removes
   * what is too much, and leaves the rest alone. Images that are not present are pulled. When it throws, what was
   * made stays, with its logs, until `stop`.
   */
  run(spec: LeaseSpec, signal: AbortSignal): Promise<void>
  /**
   * After a restart of the agent: of the leases whose epoch is `current`, watches again over those of which something
   * runs, and leaves those alone that rest, until `run`. Stops the others, of which volumes stay.
   */
  recover(current: ReadonlyMap<string, number>): Promise<Recovered>
  status(lease: string): Promise<ReplicaStatus[]>
  /** Ends all of the lease and removes it; `graceS` between SIGTERM and SIGKILL. Nothing there: nothing to do. */
  stop(lease: string, options: { graceS: number; keepVolumes: boolean }): Promise<void>

  /** A connection to a port inside the lease's network; of a service's replicas the healthy take turns. */
  dial(to: { lease: string; service: string; replica?: number; port: number }): Promise<Duplex>
  /** The same for UDP: a connected socket, which whoever asked closes. */
  datagrams(to: {
    lease: string
    service: string
    replica?: number
    port: number
  }): Promise<DatagramSocket>
  exec(target: Target, task: ExecTask): Promise<Exec>
  /** Also after an exit; the last `logBytes` are kept. */
  logs(target: Target, query: LogQuery, signal: AbortSignal): AsyncGenerator<Output, void, void>
  stats(target: Target): Promise<Stats>
  /** Extracts a tar stream in a folder of the container. */
  copyIn(target: Target, folder: string, tar: Readable): Promise<void>
  /** A file or folder of the container as a tar stream. */
  copyOut(target: Target, path: string): Promise<Readable>
  /** Bytes that left the lease's network for the internet, since this node set its rules. */
  egressBytes(lease: string): Promise<bigint>

  /** The volume's contents as a tar stream, also of a stopped lease whose volumes were kept. */
  exportVolume(volume: VolumeTarget): Promise<Readable>
  /** Of stopped leases: those whose volumes were kept, removed after all. */
  removeVolumes(lease: string): Promise<void>

  /** Stops watching. Leases run on, and `recover` finds them again. */
  close(): Promise<void>
}
