import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { seededRandom } from '../base/random.ts'
import { priceGroup, readPrices } from '../protocol/price-sheet.ts'
import { MAX_BIDS_PER_ORDER, type AuctionRule } from './auction.ts'
import { weigh } from './bids.ts'
import { Market, MAX_ASKED_PER_ORDER, type NodeFacts } from './market.ts'
import { survival } from './survival.ts'
import { aGroup, anAsk, anyGpu, aSheet, GIB, someFacts, someGpus } from './test-market.ts'

const HOUR = 3_600_000
const priced = (usd: string) => ({ sheet: aSheet({ cpuThread: usd }) })
const asks = (rate: bigint) => [{ unit: 1, gpu: null, rate: String(rate) }]
const nodesOf = (market: Market, ...ask: Parameters<typeof anAsk>) =>
  market.bids(anAsk(...ask)).map(({ node }) => node)

describe('an auction', () => {
  it('takes the cheapest, the most reliable for its price, or who has the image', () => {
    const market = aMarket(
      someFacts('cheap', { ...priced('0.01'), survival: 0.4 }),
      someFacts('steady', { ...priced('0.012'), survival: 0.9 }),
      someFacts('cached', { ...priced('0.05'), capacity: { cachedImages: ['web:1', 'db:1'] } }),
      someFacts('half', {
        ...priced('0.005'),
        capacity: { cachedImages: ['web:1'] },
        survival: 0.1,
      }),
    )
    const images = ['web:1', 'db:1']
    assert.equal(nodesOf(market, aGroup(), { rule: 'cheapest' })[0], 'half')
    assert.equal(nodesOf(market, aGroup(), { rule: 'reliable' })[0], 'steady')
    assert.deepEqual(nodesOf(market, aGroup(), { rule: 'fastest', images }), [
      'cached',
      'half',
      'cheap',
      'steady',
    ])
    market.setSurvival('cheap', 0.99)
    assert.equal(nodesOf(market, aGroup(), { rule: 'reliable' })[0], 'cheap')
  })

  it('passes over those who refused, and has no bid when all did', () => {
    const market = aMarket(someFacts('a', priced('0.01')), someFacts('b', priced('0.02')))
    assert.deepEqual(nodesOf(market, aGroup(), { exclude: new Set(['a']) }), ['b'])
    assert.deepEqual(nodesOf(market, aGroup(), { exclude: new Set(['a', 'b']) }), [])
  })

  it('has one bid for a provider’s equal nodes, and no more than there may be', () => {
    const equal = Array.from({ length: 9 }, (_, i) => someFacts(`n${i}`, { provider: 'hall' }))
    const single = Array.from({ length: 100 }, (_, i) =>
      someFacts(`s${i}`, priced((0.02 + i / 1000).toFixed(3))),
    )
    const market = aMarket(...equal, ...single)
    const bids = market.bids(anAsk(aGroup()))
    assert.equal(bids.length, MAX_BIDS_PER_ORDER)
    assert.deepEqual(
      bids.slice(0, 3).map(({ provider }) => provider),
      ['hall', 's0', 's1'],
    )
    assert.equal(market.bids(anAsk(aGroup()), 2).length, 2)
  })

  it('bills a wildcard GPU at the model that runs', () => {
    const sheet = aSheet({ gpu: { l4: '0.3', h100: '2' } })
    const market = aMarket(
      someFacts('a', { sheet, capacity: { gpus: [someGpus('h100', 80, 1)] } }),
      someFacts('b', { sheet, capacity: { gpus: [someGpus('l4', 24, 1)] } }),
    )
    const group = aGroup({ gpu: { units: 1, anyOf: [anyGpu()] } })
    const bids = market.bids(anAsk(group))
    const models = bids.map(({ way }) => way.gpus[0]?.model)
    assert.deepEqual(models, ['l4', 'h100'])
    for (const bid of bids) {
      const price = priceGroup(readPrices(sheet), group, bid.way.gpus)
      assert.ok('total' in price && price.total === bid.total)
    }
  })

  it('finds just what looking at every node finds', () => {
    fc.assert(
      fc.property(fc.nat(), fc.constantFrom('cheapest', 'reliable', 'fastest'), (seed, rule) => {
        const facts = someMarket(seed)
        const market = aMarket(...facts)
        const group = aGroup({
          cpuMilli: 1000 * (1 + (seed % 12)),
          gpu: [null, { units: 1 + (seed % 3), anyOf: [anyGpu()] }][seed % 2] ?? null,
          volumes: seed % 3 === 0 ? [DATA] : [],
          ceiling: seed % 5 === 0 ? '0.4' : '9',
        })
        const found = market.bids(anAsk(group, { rule, images: ['i'] }))
        const all = facts.flatMap(
          ({ node }) => market.bidAt(anAsk(group, { images: ['i'] }), node) ?? [],
        )
        assert.equal(found.length, Math.min(all.length, MAX_BIDS_PER_ORDER))
        const cost = ({ total, survival: alive, cached }: (typeof all)[number]) =>
          rule === 'reliable'
            ? Number(total) / alive
            : Number(total) - (rule === 'fastest' && cached ? 1e21 : 0)
        const least = Math.min(...all.map(cost))
        const [best] = found
        if (best) assert.ok(Math.abs(cost(best) / least - 1) < 1e-9)
      }),
      { numRuns: 200 },
    )
  })
})

describe('a market', () => {
  it('places a lease where least is wasted among the provider’s nodes at the price', () => {
    const hall = ['a', 'b', 'c'].map((name) =>
      someFacts(name, { provider: 'hall', capacity: { gpus: [someGpus('a100', 80, 4)] } }),
    )
    const market = aMarket(...hall)
    const one = aGroup({ gpu: { units: 1, anyOf: [anyGpu()] } })
    const four = aGroup({ gpu: { units: 4, anyOf: [anyGpu()] } })
    for (let i = 0; i < 16; i++) market.observe(i % 2 === 0 ? one : four)
    const nodes = new Set([
      lease(market, 'l1', one),
      lease(market, 'l2', one),
      lease(market, 'l3', one),
    ])
    assert.equal(nodes.size, 1, 'single GPUs are taken from one machine')
    lease(market, 'l4', four)
    lease(market, 'l5', four)
    assert.deepEqual(nodesOf(market, four), [])
    assert.equal(lease(market, 'l6', one), [...nodes][0])
    market.release('l4')
    assert.equal(nodesOf(market, four).length, 1)
  })

  it('keeps what is leased when a node changes its offer, goes, or comes back', () => {
    const facts = someFacts('a', { capacity: { gpus: [someGpus('l4', 24, 2)] } })
    const market = aMarket(facts)
    const group = aGroup({ gpu: { units: 1, anyOf: [anyGpu()] } })
    const two = aGroup({ gpu: { units: 2, anyOf: [anyGpu()] } })
    lease(market, 'l', group)
    market.setNode({ ...facts, ...priced('0.2') })
    assert.deepEqual([nodesOf(market, two), nodesOf(market, group)], [[], ['a']])
    market.removeNode('a')
    assert.deepEqual([market.size, nodesOf(market, group)], [0, []])
    market.setNode(facts)
    assert.deepEqual([nodesOf(market, two), nodesOf(market, group)], [[], ['a']])
    assert.ok(market.release('l'))
    assert.ok(!market.release('l'))
    assert.deepEqual(nodesOf(market, two), ['a'])
  })

  it('never sells more than there is, whatever comes and goes', () => {
    const random = seededRandom(5)
    const market = aMarket(...someMarket(3))
    const held: string[] = []
    for (let i = 0; i < 2000; i++) {
      const gpu = { units: 1 + Math.floor(random() * 2), anyOf: [anyGpu()] }
      const ask = anAsk(aGroup({ cpuMilli: 500, gpu: random() < 0.7 ? gpu : null }))
      const [bid] = market.bids(ask, 1)
      const placing = bid && market.place(ask, bid)
      if (placing && market.reserve(`l${i}`, placing)) held.push(`l${i}`)
      if (random() < 0.3)
        market.release(held.splice(Math.floor(random() * held.length), 1)[0] ?? '')
    }
    assert.ok(held.length > 20)
    for (const lost of held) assert.ok(market.release(lost))
    const all = aMarket(...someMarket(3))
    for (const { node } of someMarket(3))
      assert.deepEqual(market.roomOf(node), all.roomOf(node), 'all is free again')
  })

  it('knows by the node’s word what others hold there, beside what it reserved itself', () => {
    const gpus = [someGpus('h100', 80, 4)]
    const market = aMarket(
      someFacts('a', { capacity: { gpus, persistent: [{ class: 'beta3', bytes: 20 * GIB }] } }),
    )
    const whole = {
      cpuMilli: 32_000,
      memoryBytes: 128 * GIB,
      ephemeralBytes: 500 * GIB,
      persistentBytes: [20 * GIB],
      gpus: [4],
    }
    const gpusFree = () =>
      market.roomOf('a')?.gpus[0]?.freeMilli.filter((milli) => milli === 1000).length
    const group = aGroup({ gpu: { units: 1, anyOf: [anyGpu()] }, cpuMilli: 4000 })
    const bid = market.bids(anAsk(group))[0]
    const placing = bid && market.place(anAsk(group), bid)
    assert.ok(placing && market.reserve('ours', placing))
    const before = market.roomOf('a')
    // The node may not have heard of it yet.
    market.setFree('a', whole)
    assert.deepEqual(market.roomOf('a'), before)
    // It has, and others hold 8 CPU and two GPUs.
    market.setFree('a', { ...whole, cpuMilli: 20_000, gpus: [1], persistentBytes: [GIB] })
    assert.deepEqual([market.roomOf('a')?.cpuMilli, gpusFree()], [20_000, 1])
    assert.equal(nodesOf(market, aGroup({ volumes: [DATA] })).length, 0)
    assert.match(market.screen(aGroup({ cpuMilli: 24_000 })).reasons[0]?.text ?? '', /free CPU/)
    market.release('ours')
    assert.deepEqual([market.roomOf('a')?.cpuMilli, gpusFree()], [24_000, 2])
    // They are gone.
    market.setFree('a', whole)
    assert.deepEqual([market.roomOf('a')?.cpuMilli, gpusFree()], [32_000, 4])
    // What does not fit the offer says nothing.
    market.setFree('a', { ...whole, cpuMilli: 0, gpus: [4, 4] })
    market.setFree('nobody', whole)
    assert.equal(market.roomOf('a')?.cpuMilli, 32_000)
  })

  it('never has more of a node than it has, whatever is said, reserved and released', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('hear' as const), cpu: fc.nat(40_000), gpus: fc.nat(6) }),
      fc.record({ kind: fc.constant('lease' as const), cpu: fc.integer({ min: 1, max: 9000 }) }),
      fc.record({ kind: fc.constant('end' as const), at: fc.nat(10) }),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const market = aMarket(someFacts('a', { capacity: { gpus: [someGpus('l4', 24, 4)] } }))
        const held: string[] = []
        const rest = { memoryBytes: 128 * GIB, ephemeralBytes: 500 * GIB, persistentBytes: [] }
        for (const [i, one] of steps.entries()) {
          if (one.kind === 'hear')
            market.setFree('a', { ...rest, cpuMilli: one.cpu, gpus: [one.gpus] })
          if (one.kind === 'end')
            market.release(held.splice(one.at % (held.length + 1), 1)[0] ?? '')
          if (one.kind === 'lease') {
            const ask = anAsk(aGroup({ cpuMilli: one.cpu, gpu: { units: 1, anyOf: [anyGpu()] } }))
            const bid = market.bidAt(ask, 'a')
            const placing = bid && market.place(ask, bid)
            if (placing && market.reserve(`l${i}`, placing)) held.push(`l${i}`)
          }
          const room = market.roomOf('a')
          assert.ok(room && room.cpuMilli >= 0 && room.cpuMilli <= 32_000)
          assert.ok(room.gpus[0]?.freeMilli.every((milli) => milli === 0 || milli === 1000))
        }
        for (const one of held) market.release(one)
        market.setFree('a', { ...rest, cpuMilli: 32_000, gpus: [4] })
        assert.equal(market.roomOf('a')?.cpuMilli, 32_000)
        assert.deepEqual(market.roomOf('a')?.gpus[0]?.freeMilli, [1000, 1000, 1000, 1000])
      }),
    )
  })

  it('asks pricing programs, but only of nodes that could run it', () => {
    const market = aMarket(
      someFacts('a', { sheet: null }),
      someFacts('b', { sheet: null, capacity: { cpuMilli: 1000 } }),
      someFacts('c', { sheet: null, capacity: { region: 'us-east' } }),
      someFacts('d'),
    )
    const ask = anAsk(aGroup({ attributes: { region: 'eu-*' } }))
    assert.deepEqual(market.toAsk(ask), ['a'])
    assert.deepEqual(nodesOf(market, aGroup()), ['d'])
  })

  it('asks each of many pricing programs in its turn', () => {
    const nodes = Array.from({ length: MAX_ASKED_PER_ORDER + 5 }, (_, i) => `n${i}`)
    const market = aMarket(...nodes.map((node) => someFacts(node, { sheet: null })))
    const ask = anAsk(aGroup())
    const first = market.toAsk(ask)
    assert.equal(first.length, MAX_ASKED_PER_ORDER)
    assert.deepEqual(new Set([...first, ...market.toAsk(ask)]), new Set(nodes))
  })

  it('weighs what programs said beside standing prices, and places it where it was said', () => {
    const alike = { provider: 'p', sheet: null }
    const market = aMarket(
      someFacts('a', { ...alike, survival: 0.5 }),
      someFacts('b', { ...alike, capacity: { cachedImages: ['app'] } }),
      someFacts('c'),
    )
    const group = aGroup()
    const ordered = (rule: AuctionRule): string[] => {
      const ask = anAsk(group, { rule, images: ['app'] })
      const standing = market.bids(ask)
      const [sheet] = standing
      assert.ok(sheet)
      const said = [
        market.answered(ask, 'a', asks((sheet.total * 8n) / 10n)),
        market.answered(ask, 'b', asks(sheet.total * 2n)),
      ].flatMap((one) => one ?? [])
      for (const bid of said) assert.equal(market.place(ask, bid)?.node, bid.node)
      return weigh(rule, standing, said).map(({ node }) => node)
    }
    assert.deepEqual(ordered('cheapest'), ['a', 'c', 'b'])
    assert.deepEqual(ordered('reliable'), ['c', 'a', 'b'])
    assert.deepEqual(ordered('fastest'), ['b', 'a', 'c'])
    const shunning = anAsk(group, { exclude: new Set(['a']) })
    assert.equal(market.answered(shunning, 'a', asks(1n)), null)
    assert.equal(market.answered(anAsk(aGroup({ cpuMilli: 33_000 })), 'a', asks(1n)), null)
  })
})

describe('survival', () => {
  it('is what SaladCloud’s week of consumer GPUs shows, and better for who has been up long', () => {
    const hours = [1, 6, 24, 72, 168].map((hour) => survival(0, hour * HOUR).toFixed(2))
    assert.deepEqual(hours, ['0.97', '0.88', '0.70', '0.44', '0.21'])
    assert.ok(survival(100 * HOUR) > survival(HOUR))
  })
})

const DATA = { name: 'data', bytes: 10 * GIB, persistent: true, class: 'beta3' } as const

function someMarket(seed: number): NodeFacts[] {
  const random = seededRandom(seed)
  return Array.from({ length: 40 }, (_, i) => {
    const kind = ['l4', 'a100', 'h100'][Math.floor(random() * 3)] ?? 'l4'
    return someFacts(`n${i}`, {
      survival: 0.3 + 0.7 * random(),
      sheet: aSheet({ cpuThread: random().toFixed(4), gpu: { l4: random().toFixed(3), '*': '1' } }),
      capacity: {
        cpuMilli: 1000 * Math.ceil(random() * 32),
        gpus: random() < 0.7 ? [someGpus(kind, 40, 1 + Math.floor(random() * 4))] : [],
        persistent: random() < 0.5 ? [{ class: 'beta3', bytes: 20 * GIB }] : [],
        cachedImages: random() < 0.3 ? ['i'] : [],
      },
    })
  })
}

function lease(market: Market, id: string, group: ReturnType<typeof aGroup>): string {
  const ask = anAsk(group)
  const [bid] = market.bids(ask)
  const placing = bid && market.place(ask, bid)
  assert.ok(placing && market.reserve(id, placing), `no place for ${id}`)
  return placing.node
}

function aMarket(...nodes: readonly NodeFacts[]): Market {
  const market = new Market()
  for (const facts of nodes) market.setNode(facts)
  return market
}
