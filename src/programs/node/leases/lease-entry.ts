/** All that this node has to do with one lease: an acceptance that waits, what runs, what is kept, and their room. */
import type { Millis } from '../../../core/base/time.ts'
import type { LeaseReport } from '../../../core/protocol/lease-control.ts'
import type { Group } from '../../../core/protocol/group.ts'
import type { Owner } from './ask-check.ts'
import type { LeaseRecord } from './lease-shelf.ts'
import type { Hold, RoomBook } from './room.ts'
import type { Tenancy } from './tenancy.ts'

/** Accepted, and not started yet. */
export type Asked = {
  readonly epoch: number
  readonly group: Group
  readonly owner: Owner
  readonly terms: string
  readonly signature: string
  readonly untilMs: Millis
  readonly hold: Hold
}

export class LeaseEntry {
  readonly lease: string
  /** Who speaks for it. */
  gateway: string
  readonly #book: RoomBook
  #asked: Asked | null = null
  /** Of what runs and what is kept; the last one is what it was told to be. */
  #holds: Hold[] = []
  tenancy: Tenancy | null = null
  /** Its volumes, after it has ended. */
  kept: LeaseRecord | null = null
  /** Something is being taken down; what comes next waits for it. */
  leaving: Promise<unknown> | null = null

  constructor(lease: string, gateway: string, book: RoomBook) {
    this.lease = lease
    this.gateway = gateway
    this.#book = book
  }

  get asked(): Asked | null {
    return this.#asked
  }

  /** The latest that this node knows of; 0: of none. */
  get epoch(): number {
    const { tenancy, kept } = this
    const last = tenancy?.record.epoch ?? kept?.epoch ?? 0
    return Math.max(last, this.#asked?.epoch ?? 0)
  }

  /** To its gateway, while its provider wants the machine back; null when nothing runs. */
  get notice(): LeaseReport | null {
    const { lease, tenancy } = this
    if (tenancy === null || tenancy.isEnding) return null
    const reason = 'its provider wants the machine back'
    return { kind: 'leaving', lease, epoch: tenancy.record.epoch, reason }
  }

  get isEmpty(): boolean {
    return this.#asked === null && this.tenancy === null && this.kept === null
  }

  accept(asked: Asked): void {
    this.dropAsked()
    this.#asked = asked
  }

  prolong(untilMs: Millis): void {
    if (this.#asked !== null) this.#asked = { ...this.#asked, untilMs }
  }

  dropAsked(): void {
    if (this.#asked !== null) this.#book.giveBack(this.#asked.hold)
    this.#asked = null
  }

  /** What was accepted begins: its room joins what is there, until `settle`. */
  begin(): Asked | null {
    const asked = this.#asked
    if (asked !== null) this.#holds.push(asked.hold)
    this.#asked = null
    return asked
  }

  /** Room that a restarted agent finds in use. */
  occupy(hold: Hold): void {
    this.#holds.push(hold)
  }

  /** What there was before is gone: only the last room is needed. */
  settle(): void {
    for (const hold of this.#holds.splice(0, this.#holds.length - 1)) this.#book.giveBack(hold)
  }

  /** All has ended. */
  release(): void {
    for (const hold of this.#holds.splice(0)) this.#book.giveBack(hold)
  }

  get lastHold(): Hold | null {
    return this.#holds.at(-1) ?? null
  }
}
