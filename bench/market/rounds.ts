/** Fills a market to a load, then measures one decision after another while as many leases close as open. */
import { seededRandom, type Random } from '../../src/core/base/random.ts'
import { BIDS_TO_FALL_BACK_ON, type Ask } from '../../src/core/market/auction.ts'
import { Market, type NodeFacts, type Placing } from '../../src/core/market/market.ts'
import { anAsk, fleet } from './fleet.ts'

/** Part of all GPUs that is leased meanwhile, as on Akash in May 2026 (72.1 %): the cheapest are mostly full. */
const LOAD = 0.72
const WARM_UP = 2000
const MISSES_OF_A_FULL_NODE = 4

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
  const all = [...fleet(nodes, random)]
  let gpus = 0
  for (const facts of all) {
    floor.market.setNode(facts)
    for (const { count } of facts.capacity.gpus) gpus += count
  }
  const target = LOAD * gpus
  fill(floor, all, target)
  timed(floor, WARM_UP, target)
  return { nodes, gpus, ...timed(floor, orders, target) }
}

/** Leases as a market has them that has gone on for long: at the cheapest nodes, until the load is reached. */
function fill(floor: Floor, all: readonly NodeFacts[], target: number): void {
  const cheapestFirst = all.toSorted((a, b) => cpuPrice(a) - cpuPrice(b))
  for (const { node } of cheapestFirst) {
    for (let misses = 0; misses < MISSES_OF_A_FULL_NODE;) {
      if (floor.gpusHeld >= target) return
      const ask = anAsk(floor.random)
      const bid = floor.market.bidAt(ask, node)
      const placing = bid && floor.market.place({ ...ask, rule: 'manual' }, bid)
      if (!placing || !hold(floor, placing)) misses += 1
    }
  }
}

const cpuPrice = ({ sheet }: NodeFacts): number => Number(sheet?.cpuThread ?? 0)

/** Half of the orders for the rate, the other half one by one for the latency: telling the time takes time itself. */
function timed(floor: Floor, orders: number, target: number): Omit<Round, 'nodes' | 'gpus'> {
  const asks = Array.from({ length: orders }, () => anAsk(floor.random))
  const middle = orders >> 1
  let [bids, placed] = [0, 0]
  const run = (ask: Ask): void => {
    const found = decide(floor, ask)
    bids += found
    if (found > 0) placed += 1
    while (floor.gpusHeld > target) giveBack(floor)
  }
  const started = cpuMs()
  for (const ask of asks.slice(0, middle)) run(ask)
  const perSecond = placed / ((cpuMs() - started) / 1000)
  const times: number[] = []
  for (const ask of asks.slice(middle)) {
    const before = cpuMs()
    run(ask)
    times.push(cpuMs() - before)
  }
  times.sort((a, b) => a - b)
  const at = (share: number) => times[Math.min(times.length - 1, Math.floor(share * times.length))]
  return {
    perSecond,
    p50Ms: at(0.5) ?? 0,
    p99Ms: at(0.99) ?? 0,
    mostMs: at(1) ?? 0,
    meanBids: bids / orders,
    unplaced: orders - placed,
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
    if (placing && hold(floor, placing)) return bids.length
  }
  return 0
}

function hold(floor: Floor, placing: Placing): boolean {
  const lease = `lease_${floor.opened}`
  if (!floor.market.reserve(lease, placing)) return false
  const gpus = placing.need.gpus.reduce((sum, { units }) => sum + units, 0)
  floor.opened += 1
  floor.gpusHeld += gpus
  floor.held.push({ lease, gpus })
  return true
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
