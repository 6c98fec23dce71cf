/** What the parts of a simulation share: the clock, chance, the machines, the market and the routing table. */
import { seededRandom, type Random } from '../../../core/base/random.ts'
import { DAY, type Millis } from '../../../core/base/time.ts'
import { Market } from '../../../core/market/market.ts'
import { ReplicaTable } from '../../../core/routing/replica-table.ts'
import { EventQueue } from './event-queue.ts'
import { makeMachines, type Machine } from './machines.ts'
import type { Settings } from './settings.ts'
import { Tally } from './tally.ts'

/** Kinds of events. */
export const EVENT = {
  nodeDown: 0,
  nodeUp: 1,
  outageBegins: 2,
  outageEnds: 3,
  order: 4,
  orderAgain: 5,
  leaseBack: 6,
  leaseEnds: 7,
  lookForLost: 8,
  request: 9,
  firstToken: 10,
  answered: 11,
  noticed: 12,
  waitedOut: 13,
  sample: 14,
  linkGone: 15,
} as const

export class World {
  now: Millis = 0
  readonly settings: Settings
  readonly random: Random
  readonly events = new EventQueue()
  readonly machines: readonly Machine[]
  readonly market = new Market()
  readonly table = new ReplicaTable()
  readonly tally: Tally
  readonly endsAt: Millis
  /** 1: there. */
  readonly up: Uint8Array
  /** Counts a node's lives: what belongs to an earlier one is over. */
  readonly life: Int32Array
  readonly upSince: Float64Array

  constructor(settings: Settings) {
    this.settings = settings
    this.random = seededRandom(settings.seed)
    const { nodes, traces, reliability, newcomers } = settings
    const fleet = { nodes, offers: traces.offers, reliability, newcomers, random: this.random }
    this.machines = makeMachines(fleet)
    const count = this.machines.length
    this.up = new Uint8Array(count)
    this.life = new Int32Array(count)
    this.upSince = new Float64Array(count)
    this.endsAt = settings.warmUpMs + settings.days * DAY
    this.tally = new Tally(count, settings.warmUpMs, this.endsAt)
  }

  machine(index: number): Machine {
    const machine = this.machines[index]
    if (!machine) throw new RangeError(`no machine ${index}`)
    return machine
  }

  in(ms: Millis, kind: number, subject: number, mark: number = 0): void {
    this.events.push(this.now + ms, kind, subject, mark)
  }

  /** An exponential time. */
  soon(meanMs: Millis): Millis {
    return -meanMs * Math.log(1 - this.random())
  }
}
