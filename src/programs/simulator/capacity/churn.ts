/**
 * Nodes come and go: lifetimes as fitted to Salad's week, several at once as in Bamboo's fleets, and now and then a
 * whole zone. What else has to happen then is told to `listener`.
 */
import { DAY } from '../../../core/base/time.ts'
import { drawRemaining, drawWeibull, meanOf } from './weibull.ts'
import { EVENT, type World } from './world.ts'

export type ChurnListener = {
  nodeUp(index: number): void
  nodeDown(index: number): void
}

const MONTH = 30 * DAY

export class Churn {
  readonly #world: World
  readonly #listener: ChurnListener
  readonly #zones: readonly string[]
  readonly #dark: Uint8Array
  readonly #byZone = new Map<string, number[]>()
  readonly #meanLifeMs: number
  /** Each death takes others along, so that each begins a death so much more rarely. */
  readonly #meanBatch: number

  constructor(world: World, listener: ChurnListener) {
    this.#world = world
    this.#listener = listener
    const { machines, settings } = world
    for (const { zone, index } of machines) {
      const alike = this.#byZone.get(zone)
      if (alike) alike.push(index)
      else this.#byZone.set(zone, [index])
    }
    this.#zones = [...this.#byZone.keys()]
    this.#dark = new Uint8Array(this.#zones.length)
    const { life, batches } = settings.traces
    this.#meanLifeMs = meanOf(life)
    this.#meanBatch = batches.length === 0 ? 1 : batches.reduce((a, b) => a + b, 0) / batches.length
  }

  start(): void {
    const { machines, settings } = this.#world
    for (const { index, reliability } of machines) {
      if (settings.churn && this.#world.random() > reliability) this.#scheduleUp(index)
      else this.up(index)
    }
    if (settings.churn && settings.outages.perMonth > 0)
      for (const zone of this.#zones.keys()) this.#scheduleOutage(zone)
  }

  up(index: number): void {
    const { up, life, upSince, settings, now, random } = this.#world
    const zone = this.#zones.indexOf(this.#world.machine(index).zone)
    if (up[index] === 1) return
    if (this.#dark[zone] === 1) {
      this.#scheduleUp(index)
      return
    }
    up[index] = 1
    life[index] = (life[index] ?? 0) + 1
    upSince[index] = now
    if (settings.churn) {
      const { life: lifetimes } = settings.traces
      // At the start nodes have been there for some time already.
      const ms =
        now === 0
          ? drawRemaining(lifetimes, random() * this.#meanLifeMs, random)
          : drawWeibull(lifetimes, random)
      this.#world.in(ms * this.#meanBatch, EVENT.nodeDown, index, life[index])
    }
    this.#listener.nodeUp(index)
  }

  /** Its time has come, and others of its zone go with it. */
  died(index: number): void {
    const { settings, random, up, tally, now } = this.#world
    const { batches } = settings.traces
    const size = batches[Math.floor(random() * batches.length)] ?? 1
    const alike = this.#byZone.get(this.#world.machine(index).zone) ?? []
    this.down(index)
    for (let taken = 1, tries = 0; taken < size && tries < 4 * size; tries++) {
      const other = alike[Math.floor(random() * alike.length)] ?? index
      if (up[other] !== 1) continue
      taken += 1
      this.down(other)
    }
    if (tally.counts(now)) tally.nodeLosses += size
  }

  down(index: number): void {
    const { up, life, upSince, now, tally } = this.#world
    if (up[index] !== 1) return
    up[index] = 0
    life[index] = (life[index] ?? 0) + 1
    tally.add(tally.offeredMs, index, tally.counted(upSince[index] ?? 0, now))
    this.#listener.nodeDown(index)
    this.#scheduleUp(index)
  }

  outageBegins(zone: number): void {
    const { tally, now, settings } = this.#world
    this.#dark[zone] = 1
    if (tally.counts(now)) tally.outages += 1
    this.#world.in(this.#world.soon(settings.outages.meanMs), EVENT.outageEnds, zone)
    for (const index of this.#byZone.get(this.#zones[zone] ?? '') ?? []) this.down(index)
  }

  /** Its nodes are back within minutes; those that were off anyway when their own time comes. */
  outageEnds(zone: number): void {
    this.#dark[zone] = 0
    const { machines, random } = this.#world
    for (const index of this.#byZone.get(this.#zones[zone] ?? '') ?? [])
      if (this.#world.up[index] === 0 && random() < (machines[index]?.reliability ?? 0))
        this.#world.in(this.#world.soon(2 * 60_000), EVENT.nodeUp, index, this.#world.life[index])
    this.#scheduleOutage(zone)
  }

  /** Away for so long that it is there for its part of the time. */
  #scheduleUp(index: number): void {
    const { reliability } = this.#world.machine(index)
    const meanMs = (this.#meanLifeMs * (1 - reliability)) / reliability
    this.#world.in(this.#world.soon(meanMs), EVENT.nodeUp, index, this.#world.life[index])
  }

  #scheduleOutage(zone: number): void {
    const { outages } = this.#world.settings
    this.#world.in(this.#world.soon(MONTH / outages.perMonth), EVENT.outageBegins, zone)
  }
}
