/** What is counted while a simulation runs, from the end of the warm-up on. */
import type { NanoUsd } from '../../../core/base/money.ts'
import type { Millis } from '../../../core/base/time.ts'
import { Histogram } from './histogram.ts'
import { HOUR } from './hours.ts'

/** One for each virtual hour: what the plots show. */
export type HourRow = {
  gpus: number
  leasedGpus: number
  running: number
  slots: number
  answered: number
  refused: number
  lost: number
  ttftSumMs: number
  ttftMostMs: number
  paidNanoUsd: number
  paidGpuMs: number
}

const newHour = (): HourRow => ({
  gpus: 0,
  leasedGpus: 0,
  running: 0,
  slots: 0,
  answered: 0,
  refused: 0,
  lost: 0,
  ttftSumMs: 0,
  ttftMostMs: 0,
  paidNanoUsd: 0,
  paidGpuMs: 0,
})

export class Tally {
  readonly from: Millis
  readonly to: Millis

  requests = 0
  answered = 0
  refused = 0
  /** Broken off after some of it had been shown. */
  lost = 0
  /** Answered, though a node broke meanwhile. */
  resumed = 0
  attempts = 0
  readonly refusals = new Map<string, number>()
  readonly ttftMs = new Histogram()
  readonly waitMs = new Histogram()

  orders = 0
  leased = 0
  unleased = 0
  readonly orderWaitMs = new Histogram()
  /** Leases that lost their node, and how long each was away. */
  leaseLosses = 0
  readonly leaseAwayMs = new Histogram()
  leaseWantedMs = 0
  leaseAwaySumMs = 0

  nodeLosses = 0
  outages = 0
  mostRunning = 0
  /** Milliseconds with so many answers at once. */
  readonly runningMs = new Float64Array(65_536)

  /** Of each machine. */
  readonly offeredMs: Float64Array
  readonly leasedGpuMs: Float64Array
  /** Time with at least one GPU leased. */
  readonly leasedMs: Float64Array
  readonly leaseNano: BigInt64Array
  readonly inputTokens: Float64Array
  readonly outputTokens: Float64Array
  readonly servedRequests: Float64Array
  readonly busyMs: Float64Array
  /** What tenants paid for leases: must be what nodes earned. */
  paidNano: NanoUsd = 0n

  readonly hours: HourRow[]

  constructor(machines: number, from: Millis, to: Millis) {
    this.from = from
    this.to = to
    this.offeredMs = new Float64Array(machines)
    this.leasedGpuMs = new Float64Array(machines)
    this.leasedMs = new Float64Array(machines)
    this.leaseNano = new BigInt64Array(machines)
    this.inputTokens = new Float64Array(machines)
    this.outputTokens = new Float64Array(machines)
    this.servedRequests = new Float64Array(machines)
    this.busyMs = new Float64Array(machines)
    this.hours = Array.from({ length: Math.ceil((to - from) / HOUR) }, newHour)
  }

  /** The part of a time that counts. */
  counted(since: Millis, until: Millis): Millis {
    return Math.max(0, Math.min(until, this.to) - Math.max(since, this.from))
  }

  counts(at: Millis): boolean {
    return at >= this.from && at < this.to
  }

  hour(at: Millis): HourRow | null {
    return this.counts(at) ? (this.hours[Math.floor((at - this.from) / HOUR)] ?? null) : null
  }

  add(column: Float64Array, machine: number, value: number): void {
    column[machine] = (column[machine] ?? 0) + value
  }

  pay(machine: number, nanoUsd: NanoUsd): void {
    this.leaseNano[machine] = (this.leaseNano[machine] ?? 0n) + nanoUsd
    this.paidNano += nanoUsd
  }
}
