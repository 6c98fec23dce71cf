/**
 * One lease while it lives on this node: makes the runtime do what the gateway last said, one thing after the other,
 * and says how it goes.
 *
 *   run ─► file ─► runtime.run ─► pulling ─► starting ─► running ⇄ degraded, or failed
 *   end ─► runtime.stop, again until it works ─► over
 */
import { reasonOf } from '../../../core/base/refusal.ts'
import type { Millis } from '../../../core/base/time.ts'
import type { LeasePhase, LeaseReport } from '../../../core/protocol/lease-control.ts'
import type {
  LeaseSpec,
  ReplicaStatus,
  Runtime,
  RuntimeEvent,
} from '../../../io/runtime/runtime.ts'
import type { Logger } from '../../../io/telemetry/logger.ts'
import { clip, eventOf, type LeaseNews } from './lease-news.ts'
import { openLease, type OpenedLease, type Opener } from './lease-secrets.ts'
import type { LeaseRecord, LeaseShelf } from './lease-shelf.ts'
import type { RestoreSpool } from './restore-spool.ts'
import { eventWords, phaseOf, PullWords, replicaReport } from './replica-words.ts'

export type TenancyParts = {
  readonly runtime: Runtime
  readonly opener: Opener
  readonly shelf: LeaseShelf
  /** Of the gateway that has it: another may take over. */
  readonly news: () => LeaseNews
  readonly now: () => Millis
  readonly logger: Logger
  readonly restores: RestoreSpool
  readonly stopAgainMs?: number
}
export type Ending = {
  readonly graceS: number
  readonly keepVolumes: boolean
  /** Nobody asked for it: the lease is somebody else's by now. */
  readonly stale: boolean
  readonly reason: string
}

type Status = Extract<LeaseReport, { kind: 'status' }>

/** What nobody is known to want any more may still write down what it has. */
const UNWANTED_GRACE_S = 10
/** Its volumes are kept, as those of another owner. */
export const unwanted = (reason: string): Ending => ({
  graceS: UNWANTED_GRACE_S,
  keepVolumes: true,
  stale: true,
  reason,
})

/** Pulling says a lot; a tenant reads no faster. */
const PROGRESS_EVERY_MS = 1_000
const STOP_AGAIN_MS = 5_000

export class Tenancy {
  readonly #parts: TenancyParts
  #record: LeaseRecord
  #foreign: boolean
  #ending: Ending | null = null
  /** Since when it waits for a gateway's word; null: it does not. */
  #heldAt: Millis | null = null
  #work: Promise<unknown> = Promise.resolve()
  #current = new AbortController()
  #starting = false
  #status: Status | null = null
  #replicas: readonly ReplicaStatus[] = []
  #pull = new PullWords()
  #progressAt: Millis = 0
  #looking = false
  #lookAgain = false

  /** `foreign`: volumes that lie here are not to be seen by it. */
  constructor(parts: TenancyParts, record: LeaseRecord, foreign: boolean) {
    this.#parts = parts
    this.#record = record
    this.#foreign = foreign
  }

  get record(): LeaseRecord {
    return this.#record
  }

  get isEnding(): boolean {
    return this.#ending !== null
  }

  /** Whether it was told to run exactly so, and did not fail. */
  runsAs(record: LeaseRecord): boolean {
    const failed = this.#status?.phase === 'failed'
    return (
      !failed && this.#heldAt === null && JSON.stringify(record) === JSON.stringify(this.#record)
    )
  }

  /**
   * From now on like this; what is under way for an earlier wish is broken off. True when it was started, false when
   * it failed, or something else was wished for meanwhile.
   */
  run(record: LeaseRecord): Promise<boolean> {
    this.#heldAt = null
    this.#record = record
    const signal = this.#next()
    return this.#then(() => this.#run(record, signal))
  }

  /**
   * After a restart of the agent. What is not `alive` may be another node's by now: nothing of it starts until a gateway
   * names its epoch.
   */
  resume(alive: boolean): void {
    if (alive) void this.run(this.#record)
    else this.#heldAt = this.#parts.now()
  }

  /** A gateway has named it. */
  confirm(epoch: number): void {
    if (this.#heldAt === null || this.isEnding || epoch !== this.#record.epoch) return
    void this.run(this.#record)
  }

  /** How long no gateway has been heard that wants it, when its own is away for so long. */
  unheardMs(awayMs: Millis): Millis {
    return this.#heldAt === null ? awayMs : Math.max(awayMs, this.#parts.now() - this.#heldAt)
  }

  /** True when nothing of it is left but what is to be kept: it tries until then. False when the agent leaves first. */
  end(ending: Ending): Promise<boolean> {
    this.#ending = ending
    const signal = this.#next()
    return this.#then(() => this.#end(ending, signal))
  }

  /** Breaks off what is under way; containers run on. */
  async leave(): Promise<void> {
    this.#current.abort()
    await this.#work
  }

  /** For a gateway that asks for what runs already. */
  sayAgain(): void {
    if (this.#status !== null) this.#parts.news().state(this.#status)
  }

  hear(event: RuntimeEvent): void {
    if (event.type === 'image.progress') {
      this.#heardProgress(this.#pull.add(event.progress))
      return
    }
    // What becomes of the containers of an earlier owner is nobody's news.
    if (!('epoch' in event) || event.epoch !== this.#record.epoch || this.#ending) return
    const { type, message } = eventWords(event)
    this.#parts.news().event(eventOf(this.#record, this.#parts.now(), type, event.service, message))
    if (this.#starting && event.type === 'container.started') this.#say('starting', message)
    this.#look()
  }

  #next(): AbortSignal {
    this.#current.abort()
    this.#current = new AbortController()
    return this.#current.signal
  }

  #then(work: () => Promise<boolean>): Promise<boolean> {
    const done = this.#work.then(work)
    this.#work = done
    return done
  }

  /** Never rejects. */
  async #run(record: LeaseRecord, signal: AbortSignal): Promise<boolean> {
    if (signal.aborted) return false
    this.#starting = true
    let opened: OpenedLease | null = null
    try {
      this.#say('starting', '')
      await this.#parts.shelf.write(record)
      if (this.#foreign) await this.#parts.runtime.removeVolumes(record.lease)
      this.#foreign = false
      signal.throwIfAborted()
      opened = openLease(record, this.#parts.opener)
      await this.#parts.runtime.run(this.#specOf(record, opened), signal)
      await this.#parts.restores.clear(record.lease)
      this.#starting = false
      await this.#lookOnce()
      return true
    } catch (error) {
      if (signal.aborted) return false
      const why = opened?.hide(reasonOf(error)) ?? reasonOf(error)
      this.#parts.logger.warn('lease failed', { lease: record.lease, error: why })
      this.#say('failed', why)
      return false
    } finally {
      this.#starting = false
    }
  }

  #specOf({ lease, epoch, group, gpus }: LeaseRecord, { manifest }: OpenedLease): LeaseSpec {
    return {
      lease,
      epoch,
      units: group.units,
      manifest,
      gpus: gpusByService({ group, manifest, gpus }),
      restore: (volume) => this.#parts.restores.take(volume),
    }
  }

  async #end({ graceS, keepVolumes }: Ending, signal: AbortSignal): Promise<boolean> {
    const { lease } = this.#record
    const { stopAgainMs = STOP_AGAIN_MS } = this.#parts
    while (!signal.aborted) {
      try {
        await this.#parts.runtime.stop(lease, { graceS, keepVolumes })
        return true
      } catch (error) {
        this.#parts.logger.error('lease does not stop', { lease, error: reasonOf(error) })
        await rest(stopAgainMs, signal)
      }
    }
    return false
  }

  #heardProgress(words: string): void {
    const now = this.#parts.now()
    if (!this.#starting || now - this.#progressAt < PROGRESS_EVERY_MS) return
    this.#progressAt = now
    this.#say('pulling', words)
  }

  /** One look at a time; what happens meanwhile brings another. */
  #look(): void {
    if (this.#looking) {
      this.#lookAgain = true
      return
    }
    void this.#lookOnce()
  }

  async #lookOnce(): Promise<void> {
    this.#looking = true
    try {
      do {
        this.#lookAgain = false
        this.#replicas = await this.#parts.runtime.status(this.#record.lease)
      } while (this.#lookAgain)
    } catch (error) {
      this.#parts.logger.warn('lease not seen', { error: reasonOf(error) })
    } finally {
      this.#looking = false
    }
    if (this.#starting || this.#ending !== null) return
    const wanted = this.#record.manifest.services.reduce((sum, { count }) => sum + count, 0)
    const { phase, message } = phaseOf(this.#replicas, wanted)
    // A start that failed stays failed, whatever part of it runs.
    if (this.#status?.phase !== 'failed' || phase === 'failed') this.#say(phase, message)
  }

  #say(phase: LeasePhase, message: string): void {
    const { lease, epoch } = this.#record
    const replicas = this.#replicas.slice(0, 1000).map(replicaReport)
    const status: Status = {
      kind: 'status',
      lease,
      epoch,
      phase,
      message: clip(message, 2000),
      replicas,
    }
    if (JSON.stringify(status) === JSON.stringify(this.#status)) return
    this.#status = status
    this.#parts.news().state(status)
  }
}

/** The unit's GPUs dealt out to the copies of the services on it, in the manifest's order. */
export function gpusByService({
  group,
  manifest,
  gpus,
}: Pick<LeaseRecord, 'group' | 'manifest' | 'gpus'>): Record<string, string[][]> {
  const left = new Map(gpus.map(({ unit, cdi }) => [unit, [...cdi]]))
  const dealt: Record<string, string[][]> = {}
  for (const { name, unit, count } of manifest.services) {
    const each = group.units.find(({ id }) => id === unit)?.resources.gpu?.units ?? 0
    if (each === 0) continue
    dealt[name] = Array.from({ length: count }, () => left.get(unit)?.splice(0, each) ?? [])
  }
  return dealt
}

function rest(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal.addEventListener('abort', done)
    if (signal.aborted) done()
  })
}
