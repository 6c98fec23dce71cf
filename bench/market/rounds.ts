/** Fills a market to a load, then measures one decision after another while as many leases close as open. */
import { seededRandom, type Random } from '../../src/core/base/random.ts'
import { BIDS_TO_FALL_BACK_ON, type Ask } from '../../src/core/market/auction.ts'
import { Market } from '../../src/core/market/market.ts'
import { anAsk, fleet } from './fleet.ts'

/** Part of all GPUs that is leased meanwhile, as on Akash in May 2026 (72.1 %): the cheapest are mostly full. */
const LOAD = 0.72

export type Round = {
  readonly nodes: number
  readonly gpus: number
  /** Leases decided and held, and others given back, in a second of one core. */
  readonly perSecond: number
  /** Of one decision. */
  readonly p50Ms: number
  readonly p99Ms: number
  readonly mostMs: number
  readonly meanBids: number
  /** Orders that nobody could take. */
  readonly unplaced: number
}

type Held = { readonly lease: string; readonly gpus: number }

type Floor = {
  readonly market: Market
  readonly random: Random
  readonly held: Held[]
  gpusHeld: number
  opened: number
}

export function measure(nodes: number, orders: number, seed: number): Round {
  const random = seededRandom(seed)
  const floor: Floor = { market: new Market(), random, held: [], gpusHeld: 0, opened: 0 }
  let gpus = 0
  for (const facts of fleet(nodes, random)) {
    floor.market.setNode(facts)
    for (const { count } of facts.capacity.gpus) gpus += count
  }
  const target = LOAD * gpus
  while (floor.gpusHeld < target) decide(floor, anAsk(random))
  const asks = Array.from({ length: orders }, () => anAsk(random))
  return { nodes, gpus, ...timed(floor, asks, target) }
}

function timed(floor: Floor, asks: readonly Ask[], target: number): Omit<Round, 'nodes' | 'gpus'> {
  const times: number[] = []
  let [bids, placed] = [0, 0]
  const started = cpuMs()
  for (const ask of asks) {
    const before = cpuMs()
    const found = decide(floor, ask)
    times.push(cpuMs() - before)
    bids += found
    if (found > 0) placed += 1
    while (floor.gpusHeld > target) giveBack(floor)
  }
  const seconds = (cpuMs() - started) / 1000
  times.sort((a, b) => a - b)
  const at = (share: number) =>
    times[Math.min(times.length - 1, Math.floor(share * times.length))] ?? 0
  return {
    perSecond: placed / seconds,
    p50Ms: at(0.5),
    p99Ms: at(0.99),
    mostMs: at(1),
    meanBids: bids / asks.length,
    unplaced: asks.length - placed,
  }
}

/** CPU time of this process, helper threads included: what a core does, whatever else the machine does. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

/** The whole of it: screen and rank all nodes, place the best bid, hold its room. Returns how many bids there were. */
function decide(floor: Floor, ask: Ask): number {
  const { market } = floor
  market.observe(ask.group)
  const bids = market.bids(ask, BIDS_TO_FALL_BACK_ON)
  for (const bid of bids) {
    const placing = market.place(ask, bid)
    const lease = `lease_${floor.opened}`
    if (!placing || !market.reserve(lease, placing)) continue
    const gpus = placing.need.gpus.reduce((sum, { units }) => sum + units, 0)
    floor.opened += 1
    floor.gpusHeld += gpus
    floor.held.push({ lease, gpus })
    return bids.length
  }
  return 0
}

/** Some lease, old or new, comes to its end. */
function giveBack(floor: Floor): void {
  const { held, market, random } = floor
  const at = Math.floor(random() * held.length)
  const last = held.pop()
  const one = held[at] ?? last
  if (!one || !last) return
  if (one !== last) held[at] = last
  market.release(one.lease)
  floor.gpusHeld -= one.gpus
}
