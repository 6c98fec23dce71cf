/** Leases: the market's own auction, placement and capacity book decide; nodes that vanish are given up by its own rule. */
import { accrue, type AttoUsdPerSecond } from '../../../core/base/rate.ts'
import { MINUTE, SECOND, type Millis } from '../../../core/base/time.ts'
import { BIDS_TO_FALL_BACK_ON, type Ask } from '../../../core/market/auction.ts'
import { brokenLink, givenUp, type Missing } from '../../../core/market/silence.ts'
import type { Group } from '../../../core/protocol/group.ts'
import { quantileOf } from './histogram.ts'
import { cumulated, drawn, Groups } from './orders.ts'
import type { Job } from './traces.ts'
import { EVENT, type World } from './world.ts'

export type LeaseListener = {
  /** No GPU of the node is leased any more, or the first one is. */
  idle(index: number): void
  taken(index: number): void
}

type Lease = {
  readonly id: number
  readonly job: Job
  readonly group: Group
  readonly rule: 'reliable' | 'cheapest'
  readonly orderedAt: Millis
  /** Nodes that lost it. */
  exclude: Set<string> | null
  /** −1: on no node. */
  machine: number
  rate: AttoUsdPerSecond
  paidUntil: Millis
  endsAt: Millis
  /** When its node was lost; null: it runs. */
  awaySince: Millis | null
  retryMs: Millis
  mark: number
}

const RELIABLE_PART = 0.1
const FIRST_RETRY_MS = 30 * SECOND
const MISSES_OF_A_FULL_NODE = 4
const PATIENCE_MS = 30 * MINUTE
/** A lease was measured back 2.7 to 4.6 s after its node was lost: 2 to 3.5 s until it is given up, the rest to start. */
const START_MS = { from: 0.7 * SECOND, to: 1.1 * SECOND }
/** Salad's start-up with a 5.53 GB image: half within 10 minutes, 80 % within 20, 90 % within 40. */
const PULLS = [
  { part: 0.5, from: 2 * MINUTE, to: 10 * MINUTE },
  { part: 0.8, from: 10 * MINUTE, to: 20 * MINUTE },
  { part: 0.9, from: 20 * MINUTE, to: 40 * MINUTE },
  { part: 1, from: 40 * MINUTE, to: 80 * MINUTE },
]

export class Leasing {
  readonly #world: World
  readonly #listener: LeaseListener
  readonly #leases = new Map<number, Lease>()
  /** By machine. */
  readonly #on: (Set<Lease> | undefined)[]
  readonly #missing = new Map<string, Missing>()
  readonly #groups: Groups
  #made = 0
  #linked = 0
  #looking = false
  leasedGpus = 0

  constructor(world: World, listener: LeaseListener) {
    this.#world = world
    this.#listener = listener
    this.#on = Array.from({ length: world.machines.length })
    const prices = world.machines.map(({ usd }) => usd)
    this.#groups = new Groups((quantileOf(prices, 0.75) ?? 1) * 1.1)
  }

  start(): void {
    const { settings, machines } = this.#world
    if (settings.load === 0) return
    const gpus = machines.reduce((sum, { offered }) => sum + offered.gpus, 0)
    const { jobs } = settings.traces
    const jobMs =
      jobs.reduce((sum, { gpus: units, lengthMs }) => sum + units * lengthMs, 0) / jobs.length
    this.#meanGapMs = jobMs / (settings.load * gpus)
    this.#fill(settings.load * gpus)
    this.#scheduleOrder()
  }

  #meanGapMs = Infinity

  /** As if it had gone on for long: the cheapest nodes are full, of jobs that are long ones and some way through. */
  #fill(target: number): void {
    const { machines, settings, random, market, up } = this.#world
    const { jobs } = settings.traces
    const byWork = cumulated(jobs)
    // A newcomer has only what is ordered from then on.
    const old = machines.filter(({ newcomer }) => !newcomer).toSorted((a, b) => a.usd - b.usd)
    for (const { index, node } of old) {
      for (let misses = 0; misses < MISSES_OF_A_FULL_NODE && up[index] === 1;) {
        if (this.leasedGpus >= target) return
        const job = drawn(jobs, byWork, random())
        const lease = this.#newLease(job, Math.max(SECOND, random() * job.lengthMs))
        const bid = market.bidAt(askOf(lease), node)
        const placing = bid && market.place({ ...askOf(lease), rule: 'manual' }, bid)
        if (!placing || !market.reserve(`lease_${lease.id}`, placing)) {
          misses += 1
          continue
        }
        lease.rate = bid.total
        this.#leases.set(lease.id, lease)
        this.#started(lease, index)
      }
    }
  }

  #scheduleOrder(): void {
    this.#world.in(this.#world.soon(this.#meanGapMs), EVENT.order, 0)
  }

  ordered(): void {
    this.#scheduleOrder()
    const { settings, random } = this.#world
    const { jobs } = settings.traces
    const job = jobs[Math.floor(random() * jobs.length)]
    if (job) this.#order(job, job.lengthMs)
  }

  #order(job: Job, lengthMs: Millis): void {
    const { now, tally, market } = this.#world
    const lease = this.#newLease(job, lengthMs)
    this.#leases.set(lease.id, lease)
    market.observe(lease.group)
    if (tally.counts(now)) tally.orders += 1
    this.again(lease.id, 0)
  }

  #newLease(job: Job, lengthMs: Millis): Lease {
    const { now, random } = this.#world
    const rule = random() < RELIABLE_PART ? 'reliable' : 'cheapest'
    return {
      id: this.#made++,
      job,
      group: this.#groups.of(job, this.#world),
      rule,
      orderedAt: now,
      exclude: null,
      machine: -1,
      rate: 0n,
      paidUntil: now,
      endsAt: now + lengthMs,
      awaySince: null,
      retryMs: FIRST_RETRY_MS,
      mark: 0,
    }
  }

  /** Asks the market; waits and asks again while nobody can. */
  again(id: number, mark: number): void {
    const lease = this.#leases.get(id)
    if (!lease || lease.mark !== mark || lease.machine >= 0) return
    const { now, tally } = this.#world
    const machine = this.#decide(lease)
    if (machine === null) {
      if (lease.awaySince === null && now - lease.orderedAt + lease.retryMs > PATIENCE_MS) {
        if (tally.counts(lease.orderedAt)) tally.unleased += 1
        this.#leases.delete(id)
        return
      }
      this.#world.in(lease.retryMs, EVENT.orderAgain, id, lease.mark)
      lease.retryMs = Math.min(
        lease.awaySince === null ? 2 * lease.retryMs : FIRST_RETRY_MS,
        PATIENCE_MS,
      )
      return
    }
    this.#started(lease, machine)
  }

  #started(lease: Lease, machine: number): void {
    const { now, tally, random } = this.#world
    lease.machine = machine
    lease.paidUntil = now
    lease.mark += 1
    const on = (this.#on[machine] ??= new Set())
    on.add(lease)
    this.leasedGpus += lease.job.gpus
    if (on.size === 1) {
      this.#busySince[machine] = now
      this.#listener.taken(machine)
    }
    if (lease.awaySince === null) {
      const wait = now - lease.orderedAt
      lease.endsAt += wait
      if (tally.counts(lease.orderedAt)) {
        tally.leased += 1
        tally.orderWaitMs.add(wait)
      }
      this.#world.events.push(lease.endsAt, EVENT.leaseEnds, lease.id, 0)
    } else this.#world.in(this.#startMs(random()), EVENT.leaseBack, lease.id, lease.mark)
  }

  readonly #busySince: number[] = []

  #startMs(chance: number): Millis {
    const startMs = START_MS.from + (START_MS.to - START_MS.from) * chance
    if (!this.#world.settings.pullsImages) return startMs
    let before = 0
    for (const { part, from, to } of PULLS) {
      if (chance < part) return startMs + from + ((to - from) * (chance - before)) / (part - before)
      before = part
    }
    return startMs
  }

  #decide(lease: Lease): number | null {
    const { market } = this.#world
    const ask = askOf(lease)
    for (const bid of market.bids(ask, BIDS_TO_FALL_BACK_ON)) {
      const placing = market.place(ask, bid)
      if (!placing || !market.reserve(`lease_${lease.id}`, placing)) continue
      lease.rate = bid.total
      return Number(placing.node.slice(5))
    }
    return null
  }

  back(id: number, mark: number): void {
    const lease = this.#leases.get(id)
    if (!lease || lease.mark !== mark || lease.awaySince === null) return
    const { now, tally } = this.#world
    if (tally.counts(lease.awaySince)) tally.leaseAwayMs.add(now - lease.awaySince)
    tally.leaseAwaySumMs += tally.counted(lease.awaySince, now)
    lease.awaySince = null
    lease.exclude = null
    lease.retryMs = FIRST_RETRY_MS
  }

  ended(id: number): void {
    const lease = this.#leases.get(id)
    if (!lease) return
    this.#leave(lease)
    this.#close(lease)
    this.#leases.delete(id)
  }

  #close(lease: Lease): void {
    const { tally, now } = this.#world
    tally.leaseWantedMs += tally.counted(lease.orderedAt, now)
    if (lease.awaySince !== null) tally.leaseAwaySumMs += tally.counted(lease.awaySince, now)
  }

  nodeUp(index: number): void {
    const { market } = this.#world
    const { node, facts } = this.#world.machine(index)
    this.#missing.delete(node)
    this.#linked += 1
    market.setNode(facts)
  }

  nodeDown(index: number): void {
    const { market, now, random } = this.#world
    const { node } = this.#world.machine(index)
    market.removeNode(node)
    this.#linked -= 1
    const on = [...(this.#on[index] ?? [])]
    for (const lease of on) {
      this.#leave(lease)
      lease.awaySince ??= now
      lease.machine = -1
      lease.exclude = (lease.exclude ?? new Set()).add(node)
      lease.mark += 1
      this.#waitFor(node, lease)
      const { tally } = this.#world
      if (tally.counts(now)) tally.leaseLosses += 1
    }
    this.#missing.set(node, brokenLink(now - random() * SECOND, now))
    if (!this.#looking) this.#lookSoon()
  }

  readonly #orphans = new Map<string, Lease[]>()

  #waitFor(node: string, lease: Lease): void {
    const orphans = this.#orphans.get(node)
    if (orphans) orphans.push(lease)
    else this.#orphans.set(node, [lease])
  }

  #lookSoon(): void {
    this.#looking = true
    this.#world.in(LOOK_MS, EVENT.lookForLost, 0)
  }

  /** The brake included: when many vanish at once they get longer. */
  lookForLost(): void {
    this.#looking = false
    const { now } = this.#world
    for (const node of givenUp(this.#missing, this.#linked, now)) this.#missing.delete(node)
    for (const [node, leases] of this.#orphans) {
      if (this.#missing.has(node)) continue
      this.#orphans.delete(node)
      for (const lease of leases) this.again(lease.id, lease.mark)
    }
    if (this.#missing.size > 0 || this.#orphans.size > 0) this.#lookSoon()
  }

  /** Off its node: the time there is paid. */
  #leave(lease: Lease): void {
    const { machine } = lease
    if (machine < 0) return
    const { market, now, tally } = this.#world
    market.release(`lease_${lease.id}`)
    this.#pay(lease)
    this.leasedGpus -= lease.job.gpus
    const on = this.#on[machine]
    on?.delete(lease)
    if (on?.size !== 0) return
    tally.add(tally.leasedMs, machine, tally.counted(this.#busySince[machine] ?? now, now))
    this.#listener.idle(machine)
  }

  #pay(lease: Lease): void {
    const { now, tally } = this.#world
    const ms = Math.floor(tally.counted(lease.paidUntil, now))
    lease.paidUntil = now
    if (ms <= 0) return
    const { nanoUsd } = accrue({ rate: lease.rate, ms, carry: 0n })
    tally.pay(lease.machine, nanoUsd)
    tally.add(tally.leasedGpuMs, lease.machine, ms * lease.job.gpus)
    if (lease.job.gpus === 0) return
    const hour = tally.hour(Math.min(now, tally.to - 1))
    if (hour) {
      hour.paidNanoUsd += Number(nanoUsd)
      hour.paidGpuMs += ms * lease.job.gpus
    }
  }

  isLeased(index: number): boolean {
    return (this.#on[index]?.size ?? 0) > 0
  }

  /** All accounts closed at the end. */
  settle(): void {
    for (const lease of this.#leases.values()) {
      this.#leave(lease)
      if (lease.machine >= 0 || lease.awaySince !== null) this.#close(lease)
    }
  }
}

/** As the gateway looks for lost nodes. */
const LOOK_MS = 500

const NOBODY: ReadonlySet<string> = new Set()

const askOf = ({ group, rule, exclude }: Lease): Ask => ({
  group,
  rule,
  images: [],
  exclude: exclude ?? NOBODY,
})
