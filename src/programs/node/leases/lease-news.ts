/**
 * What one gateway has to be told, until it was: the latest state of each lease, and events in their order. Without
 * a link it all waits here.
 */
import type { LeaseReport } from '../../../core/protocol/lease-control.ts'
import { MAX_LEASES_PER_NODE } from '../../../core/protocol/lease-control.ts'
import type { Millis } from '../../../core/base/time.ts'

/** False: there is no link, or it is congested. */
export type SendReport = (report: LeaseReport) => boolean
type Event = Extract<LeaseReport, { kind: 'event' }>
type State = Extract<LeaseReport, { kind: 'status' | 'stopped' }>

/** Hours of crash loops; older ones make way. */
export const MAX_WAITING_EVENTS = 1000

export class LeaseNews {
  #send: SendReport | null = null
  /** By lease: what was said last, and whether this link has heard it. */
  readonly #states = new Map<string, { report: State; told: boolean }>()
  #events: Event[] = []
  #lost = 0

  /** The states are said again: the gateway may be another process than before. */
  linked(send: SendReport): void {
    this.#send = send
    for (const state of this.#states.values()) state.told = false
    this.flush()
  }

  unlinked(): void {
    this.#send = null
  }

  get isLinked(): boolean {
    return this.#send !== null
  }

  state(report: State): void {
    this.#states.delete(report.lease)
    this.#states.set(report.lease, { report, told: false })
    // Ended leases whose gateway never came back: it has their end from `keep`, too.
    for (const [lease, { report: oldest }] of this.#states) {
      if (this.#states.size <= 2 * MAX_LEASES_PER_NODE) break
      if (oldest.kind === 'stopped') this.#states.delete(lease)
    }
    this.flush()
  }

  event(report: Event): void {
    this.#events.push(report)
    if (this.#events.length > MAX_WAITING_EVENTS) {
      this.#events.shift()
      this.#lost += 1
    }
    this.flush()
  }

  /** An answer: who asked and did not hear it asks again, so it never waits. */
  answer(report: LeaseReport): void {
    this.#send?.(report)
  }

  /** Says what waits, as far as the link takes it. Called again from time to time. */
  flush(): void {
    const send = this.#send
    if (send === null) return
    while (this.#events.length > 0) {
      const [next] = this.#events
      if (next === undefined || !send(this.#lost === 0 ? next : lossOf(next, this.#lost))) return
      if (this.#lost > 0) this.#lost = 0
      else this.#events.shift()
    }
    for (const [lease, state] of this.#states) {
      if (state.told) continue
      if (!send(state.report)) return
      state.told = true
      if (state.report.kind === 'stopped') this.#states.delete(lease)
    }
  }
}

const lossOf = ({ lease, epoch, atMs }: Event, count: number): Event => ({
  kind: 'event',
  lease,
  epoch,
  atMs,
  type: 'events.lost',
  service: null,
  message: `${count} earlier events of this node's leases did not fit while there was no link`,
})

/** Keeps to what reports allow. */
export const clip = (text: string, most: number): string =>
  text.length <= most ? text : `${text.slice(0, most - 1)}…`

export const eventOf = (
  at: { readonly lease: string; readonly epoch: number },
  atMs: Millis,
  type: string,
  service: string | null,
  message: string,
): Event => ({
  kind: 'event',
  lease: at.lease,
  epoch: at.epoch,
  atMs,
  type,
  service,
  message: clip(message, 2000),
})
