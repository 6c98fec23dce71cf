/**
 * The leases of this node, over all its gateways: answers what they ask, runs what it accepted, stops what is stale,
 * and knows after a restart what runs. Its owner calls `tick` about once a second.
 */
import { reasonOf } from '../../../core/base/refusal.ts'
import { MINUTE, type Millis } from '../../../core/base/time.ts'
import {
  MAX_ASK_MS,
  MAX_LEASES_PER_NODE,
  type LeaseCommand,
  type LeaseOrder,
} from '../../../core/protocol/lease-control.ts'
import { groupText } from '../../../core/protocol/lease.ts'
import type { Identity } from '../../../io/keys/identity.ts'
import type { Runtime, RuntimeEvent } from '../../../io/runtime/runtime.ts'
import type { Logger } from '../../../io/telemetry/logger.ts'
import { acceptAsk, occupyAgain } from './acceptance.ts'
import type { Ask, AskRefusal, Seller } from './ask-check.ts'
import { putAway, removeKept } from './kept-volumes.ts'
import { LeaseEntry, type Asked } from './lease-entry.ts'
import { LeaseGateways } from './lease-gateways.ts'
import { clip, type SendReport } from './lease-news.ts'
import type { Opener } from './lease-secrets.ts'
import type { LeaseRecord, LeaseShelf } from './lease-shelf.ts'
import type { RestoreSpool } from './restore-spool.ts'
import { RoomBook, type HostRoom } from './room.ts'
import { Tenancy, unwanted, type Ending, type TenancyParts } from './tenancy.ts'

export type HostParts = {
  readonly identity: Identity
  readonly opener: Opener
  readonly runtime: Runtime
  readonly shelf: LeaseShelf
  readonly room: HostRoom
  readonly seller: Seller
  /** The provider wants out: nothing new, and notice for what runs. Default: no. */
  readonly leaving?: boolean
  readonly restores: RestoreSpool
  readonly now: () => Millis
  readonly logger: Logger
  readonly stopAgainMs?: number
}

type Ref = { readonly lease: string; readonly epoch: number }
type Run = Extract<LeaseCommand, { kind: 'run' }>
type Stop = Extract<LeaseCommand, { kind: 'stop' }>
type Keep = Extract<LeaseCommand, { kind: 'keep' }>

/** A gateway that is away for so long has given the lease to another node. */
export const ORPHAN_MS = 30 * MINUTE
const SAY_AGAIN_MS = MINUTE

/** Goes on with what runs of an earlier run; the rest waits for a gateway's word. Throws when the runtime is silent. */
export async function openLeaseHost(parts: HostParts): Promise<LeaseHost> {
  await parts.restores.open()
  const records = await parts.shelf.readAll()
  const running = records.filter(({ kept }) => kept === null)
  const { adopted, stopped } = await parts.runtime.recover(
    new Map(running.map(({ lease, epoch }) => [lease, epoch])),
  )
  for (const { lease, epoch } of stopped)
    parts.logger.warn('lease stopped: nothing is known of it', { lease, epoch })
  return new LeaseHost(parts, records, new Set(adopted.map(({ lease }) => lease)))
}

export class LeaseHost {
  readonly #parts: HostParts
  readonly #book: RoomBook
  readonly #entries = new Map<string, LeaseEntry>()
  readonly #gateways = new LeaseGateways()
  #saidAt: Millis
  #draining: boolean
  #closed = false

  constructor(parts: HostParts, records: readonly LeaseRecord[], alive: ReadonlySet<string>) {
    this.#parts = parts
    this.#book = new RoomBook(parts.room)
    this.#draining = parts.leaving ?? false
    this.#saidAt = parts.now()
    for (const record of records) this.#resume(record, alive.has(record.lease))
  }

  get free(): RoomBook['free'] {
    return this.#book.free
  }

  /** Leases that run or end. */
  get running(): number {
    return [...this.#entries.values()].filter(({ tenancy }) => tenancy !== null).length
  }

  /** What runs for this gateway under this name, or whose volumes are kept. */
  find(gateway: string, lease: string): { record: LeaseRecord; runs: boolean } | null {
    const entry = this.#entries.get(lease)
    if (!entry || !this.#gateways.maySpeak(gateway, entry.gateway)) return null
    if (entry.tenancy !== null)
      return { record: entry.tenancy.record, runs: !entry.tenancy.isEnding }
    return entry.kept === null ? null : { record: entry.kept, runs: false }
  }

  /** What was promised to this gateway, and has not been started. */
  accepted(gateway: string, lease: string): Asked | null {
    const entry = this.#entries.get(lease)
    return entry && this.#gateways.maySpeak(gateway, entry.gateway) ? entry.asked : null
  }

  linked(gateway: string, send: SendReport): void {
    this.#gateways.linked(gateway, send, this.#parts.now())
    for (const entry of this.#entries.values())
      if (entry.gateway === gateway) this.#giveNotice(entry)
  }

  unlinked(gateway: string): void {
    this.#gateways.unlinked(gateway)
  }

  command(gateway: string, command: LeaseOrder): void {
    switch (command.kind) {
      case 'ask':
        return this.#ask(gateway, command)
      case 'run':
        return this.#run(gateway, command)
      case 'stop':
        return this.#stop(gateway, command)
      case 'keep':
        return this.#keep(gateway, command)
      case 'kin':
        return this.#gateways.learn(gateway, command.proofs)
    }
  }

  hear(event: RuntimeEvent): void {
    if ('lease' in event) this.#entries.get(event.lease)?.tenancy?.hear(event)
    else this.#parts.logger.warn(`runtime: ${event.type}`, { ...event })
  }

  /** Takes no more; what was accepted may begin, and what runs runs on. */
  drain(): void {
    this.#draining = true
  }

  tick(): void {
    const now = this.#parts.now()
    this.#gateways.tick(now)
    const saysAgain = now - this.#saidAt >= SAY_AGAIN_MS
    if (saysAgain) this.#saidAt = now
    for (const entry of this.#entries.values()) {
      // So that a gateway that has given a lease to somebody else can say so, whatever was lost on the way.
      if (saysAgain) {
        entry.tenancy?.sayAgain()
        this.#giveNotice(entry)
      }
      if (entry.asked !== null && now > entry.asked.untilMs) this.#expire(entry)
      const awayMs = entry.tenancy?.unheardMs(this.#gateways.awayMs(entry.gateway, now)) ?? 0
      if (awayMs > ORPHAN_MS)
        this.#end(entry, unwanted(`no word of its gateway for ${Math.round(awayMs / MINUTE)} min`))
      const keptMs = now - (entry.kept?.kept?.untilMs ?? now)
      if (keptMs > 0 && entry.leaving === null) void this.#forget(entry)
      this.#dropEmpty(entry)
    }
  }

  /** Leases run on; the next start goes on with them. */
  async close(): Promise<void> {
    this.#closed = true
    const tenancies = [...this.#entries.values()].flatMap(({ tenancy }) => tenancy ?? [])
    await Promise.all(tenancies.map((tenancy) => tenancy.leave()))
    await this.#parts.runtime.close()
  }

  #ask(gateway: string, ask: Ask): void {
    const { lease, epoch } = ask
    const entry = this.#entries.get(lease)
    const asked = entry?.asked
    if (entry?.gateway === gateway && asked?.epoch === epoch && asked.terms === ask.terms) {
      this.#answer(gateway, ask, asked.signature)
      return
    }
    const why = this.#whyNot(gateway, ask) ?? this.#accept(gateway, ask)
    if (why !== null) this.#refuse(gateway, ask, why)
  }

  #whyNot(gateway: string, { lease, epoch }: Ref): AskRefusal | null {
    const entry = this.#entries.get(lease)
    if (entry && !this.#gateways.maySpeak(gateway, entry.gateway))
      return { code: 'lease_taken', message: `another gateway has a lease ${lease} here` }
    if (entry && epoch < entry.epoch)
      return { code: 'lease_epoch_stale', message: `epoch ${epoch} < ${entry.epoch} known here` }
    return null
  }

  /** Null when it was accepted and answered. */
  #accept(gateway: string, ask: Ask): AskRefusal | null {
    const { lease } = ask
    if (this.#draining) return { code: 'node_draining', message: 'the node takes no new leases' }
    if (!this.#entries.has(lease) && this.#entries.size >= MAX_LEASES_PER_NODE)
      return { code: 'lease_limit', message: `${MAX_LEASES_PER_NODE} leases are here` }
    const asked = acceptAsk({ ask, gateway, parts: this.#parts, book: this.#book })
    if ('code' in asked) return asked
    this.#entryOf(lease, gateway).accept(asked)
    this.#answer(gateway, ask, asked.signature)
    return null
  }

  #run(gateway: string, command: Run): void {
    const { lease, epoch, group, manifest, secrets } = command
    const entry = this.#entries.get(lease)
    const why = this.#whyNot(gateway, command)
    if (why !== null) return this.#refuse(gateway, command, why)
    if (entry?.leaving) return this.#later(entry, gateway, command)
    const wanted = groupText(group)
    const accepted = entry?.asked?.epoch === epoch && groupText(entry.asked.group) === wanted
    const { record } = entry?.tenancy ?? {}
    const known = record?.epoch === epoch && groupText(record.group) === wanted
    if (entry === undefined || !(accepted || known)) {
      const message = 'this node has not accepted that, or not kept it this long: ask first'
      if (record !== undefined) this.#refuse(gateway, command, { code: 'lease_terms', message })
      else this.#gateways.newsOf(gateway).state({ kind: 'stopped', lease, epoch, reason: message })
      return
    }
    const owner = (accepted ? entry.begin() : record)?.owner ?? null
    entry.gateway = gateway
    const gpus = [...(entry.lastHold?.gpus ?? [])].map(([unit, cdi]) => ({ unit, cdi: [...cdi] }))
    const wish = { group, manifest, secrets, owner, gpus, kept: null }
    this.#start(entry, { v: 1, gateway, lease, epoch, ...wish })
  }

  #start(entry: LeaseEntry, record: LeaseRecord): void {
    if (entry.tenancy?.runsAs(record) === true) {
      entry.settle()
      entry.tenancy.sayAgain()
      return
    }
    const { kept } = entry
    // Somebody else may have had it since: its volumes are older than what the tenant has seen.
    const foreign = kept?.kept?.stale === true && record.epoch > kept.epoch + 1
    entry.tenancy ??= new Tenancy(this.#tenancyParts(entry), record, foreign)
    entry.kept = null
    void entry.tenancy.run(record).then((started) => {
      if (started) entry.settle()
    })
  }

  #tenancyParts(entry: LeaseEntry): TenancyParts {
    return { ...this.#parts, news: () => this.#gateways.newsOf(entry.gateway) }
  }

  /** Only what runs, waits or is kept under this very epoch: an amendment that came to nothing ends no lease. */
  #stop(gateway: string, command: Stop): void {
    const { lease, epoch, reason, keepVolumes, graceS } = command
    const entry = this.#entries.get(lease)
    const stopped = (why: string) =>
      this.#gateways.newsOf(gateway).state({ kind: 'stopped', lease, epoch, reason: why })
    if (!entry || !this.#gateways.maySpeak(gateway, entry.gateway)) return stopped('unknown here')
    if (entry.epoch === epoch) entry.gateway = gateway
    if (entry.asked?.epoch === epoch) entry.dropAsked()
    if (entry.leaving) return this.#later(entry, gateway, command)
    if (entry.tenancy?.record.epoch === epoch)
      return this.#end(entry, { graceS, keepVolumes, reason, stale: false })
    if (entry.kept?.epoch !== epoch || keepVolumes) stopped(reason)
    else void this.#forget(entry).then(() => stopped(reason))
    this.#dropEmpty(entry)
  }

  #keep(gateway: string, { leases }: Keep): void {
    const named = new Map(leases.map(({ lease, epoch }) => [lease, epoch]))
    for (const entry of this.#entries.values()) {
      if (entry.gateway !== gateway || entry.tenancy === null) continue
      const epoch = named.get(entry.lease)
      const runs = entry.tenancy.record.epoch
      if (epoch === undefined)
        this.#end(entry, unwanted('stale: its gateway gives it to nobody here'))
      else if (epoch > runs && entry.asked?.epoch !== epoch)
        this.#end(entry, unwanted(`stale: epoch ${epoch} has taken over from ${runs}`))
    }
    for (const [lease, epoch] of named) {
      const entry = this.#entries.get(lease)
      const speaks = entry !== undefined && this.#gateways.maySpeak(gateway, entry.gateway)
      if (speaks) entry.tenancy?.confirm(epoch)
      if (!speaks || (entry.tenancy === null && entry.asked === null))
        this.#gateways
          .newsOf(gateway)
          .state({ kind: 'stopped', lease, epoch, reason: 'unknown here' })
    }
  }

  #end(entry: LeaseEntry, ending: Ending): void {
    const { tenancy } = entry
    if (tenancy === null || tenancy.isEnding) return
    entry.leaving = tenancy
      .end(ending)
      .then((ended) => (ended ? this.#ended(entry, tenancy.record, ending) : undefined))
  }

  async #ended(entry: LeaseEntry, record: LeaseRecord, ending: Ending): Promise<void> {
    await putAway(entry, { record, ending, book: this.#book }, this.#parts)
    entry.leaving = null
    this.#dropEmpty(entry)
    const { lease, epoch } = record
    this.#gateways
      .newsOf(entry.gateway)
      .state({ kind: 'stopped', lease, epoch, reason: clip(ending.reason, 500) })
  }

  /** Removes volumes that were kept; what does not work now is tried again at the next tick. */
  #forget(entry: LeaseEntry): Promise<void> {
    const forgetting = removeKept(entry, this.#parts).finally(() => {
      entry.leaving = null
      this.#dropEmpty(entry)
    })
    entry.leaving = forgetting
    return forgetting
  }

  /** When what is being taken down is gone. */
  #later(entry: LeaseEntry, gateway: string, command: Run | Stop): void {
    void entry.leaving?.then(() => {
      if (!this.#closed) this.command(gateway, command)
    })
  }

  #resume(record: LeaseRecord, alive: boolean): void {
    const { lease, gateway, kept } = record
    const entry = this.#entryOf(lease, gateway)
    entry.occupy(occupyAgain(record, this.#parts.room, this.#book))
    this.#gateways.expect(gateway, this.#parts.now())
    if (kept !== null) {
      entry.kept = record
      return
    }
    entry.tenancy = new Tenancy(this.#tenancyParts(entry), record, false)
    entry.tenancy.resume(alive)
  }

  /** Nobody started what was accepted; unless its volumes are still on their way. */
  #expire(entry: LeaseEntry): void {
    const { restores, logger } = this.#parts
    if (restores.isFilling(entry.lease)) return entry.prolong(this.#parts.now() + MAX_ASK_MS)
    entry.dropAsked()
    restores.clear(entry.lease).catch((error: unknown) => {
      logger.warn('snapshots not removed', { lease: entry.lease, error: reasonOf(error) })
    })
  }

  #answer(gateway: string, { lease, epoch }: Ref, signature: string): void {
    this.#gateways.newsOf(gateway).answer({ kind: 'accepted', lease, epoch, signature })
  }

  #refuse(gateway: string, { lease, epoch }: Ref, { code, message }: AskRefusal): void {
    const text = clip(message, 2000)
    this.#gateways.newsOf(gateway).answer({ kind: 'refused', lease, epoch, code, message: text })
  }

  /** Said again until the lease has moved: who hears it twice knows it. */
  #giveNotice({ gateway, notice }: LeaseEntry): void {
    if (this.#parts.leaving === true && notice) this.#gateways.newsOf(gateway).answer(notice)
  }

  #entryOf(lease: string, gateway: string): LeaseEntry {
    const entry = this.#entries.get(lease) ?? new LeaseEntry(lease, gateway, this.#book)
    this.#entries.set(lease, entry)
    return entry
  }

  #dropEmpty(entry: LeaseEntry): void {
    if (entry.isEmpty && this.#entries.get(entry.lease) === entry) this.#entries.delete(entry.lease)
  }
}
