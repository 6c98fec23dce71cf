import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Market, type NodeFacts } from './market.ts'
import { aGroup, anAsk, anyGpu, aSheet, aUnit, GIB, someFacts, someGpus } from './test-market.ts'

describe('screening', () => {
  it('says who can, why the others cannot with both numbers, and what would help', () => {
    const market = aMarket(
      ...['a', 'b', 'c', 'd'].map((name) =>
        someFacts(name, { capacity: { gpus: [someGpus('rtx4090', 24, 2)] } }),
      ),
      ...['e', 'f'].map((name) =>
        someFacts(name, { capacity: { gpus: [someGpus('h100', 80, 8)] } }),
      ),
      someFacts('g', {
        capacity: { gpus: [someGpus('h100', 80, 8)], region: 'us-west' },
        sheet: aSheet({ gpu: { '*': '0.25' } }),
      }),
      someFacts('h'),
      someFacts('i', { capacity: { memoryBytes: 4 * GIB, gpus: [someGpus('h100', 80, 8)] } }),
    )
    const wanted = gpu({ ramBytes: 80 * GIB })
    const found = market.screen(aGroup({ gpu: wanted, attributes: { region: 'eu-*' } }))
    assert.deepEqual([found.nodes, found.canRun], [9, 2])
    assert.deepEqual(
      found.reasons.map(({ text }) => text),
      [
        '4 of 9 nodes: GPU memory 24 GiB < 80 GiB',
        '1 of 9 nodes: region us-west ≠ eu-*',
        '1 of 9 nodes: GPUs 0 < 1',
        '1 of 9 nodes: memory 4 GiB < 8 GiB',
      ],
    )
    assert.deepEqual(
      found.relaxations.map(({ text }) => text),
      ['drop GPU memory: 4 more bids', 'drop region: 1 more bid, −45 %'],
    )
  })

  it('tells what is only busy from what is too small', () => {
    const market = aMarket(someFacts('a', { capacity: { gpus: [someGpus('l4', 24, 2)] } }))
    const group = aGroup({ gpu: { units: 2, anyOf: [anyGpu()] } })
    lease(market, 'l', group)
    assert.deepEqual(reasons(market, group), ['1 of 1 nodes: free GPUs 0 < 2'])
    market.release('l')
    assert.deepEqual(reasons(market, group), [])
    assert.deepEqual(reasons(market, aGroup({ cpuMilli: 64_000 })), [
      '1 of 1 nodes: CPU 32 cores < 64 cores',
    ])
    assert.deepEqual(
      reasons(market, aGroup({ cpuMilli: 32_001 })),
      ['1 of 1 nodes: CPU 32 cores < 32.001 cores'],
      'what differs reads differently',
    )
  })

  it('tells the nearest miss of several nodes, and the price that would be enough', () => {
    const market = aMarket(
      someFacts('a', { sheet: aSheet({ cpuThread: '0.1' }) }),
      someFacts('b', { sheet: aSheet({ cpuThread: '0.05' }) }),
    )
    const found = market.screen(aGroup({ ceiling: '0.1' }))
    assert.deepEqual(found.reasons[0]?.text, '2 of 2 nodes: price $0.216/h > $0.10/h')
    assert.deepEqual(found.relaxations[0]?.text, 'raise price: 2 more bids, from $0.216/h')
  })

  it('names every other dimension', () => {
    const market = aMarket(
      someFacts('a', { capacity: { gpus: [someGpus('a100', 40, 1)] }, audits: { alice: {} } }),
    )
    const says = (traits: Parameters<typeof aGroup>[0]) => reasons(market, aGroup(traits))[0]
    const texts = [
      says({ arch: 'arm64' }),
      says({ minNoticeS: 7200 }),
      says({ signedBy: { anyOf: [], allOf: ['bob'] } }),
      says({ volumes: disk(600 * GIB, false) }),
      says({ volumes: disk(GIB, true) }),
      says({ ips: 1 }),
      says({ gpu: gpu({ model: 'h100' }) }),
      says({ gpu: gpu({ interface: 'sxm' }) }),
      says({ gpu: gpu({}, 2) }),
      says({ gpu: gpu({ vendor: 'amd' }) }),
    ]
    assert.deepEqual(texts, [
      '1 of 1 nodes: CPU architecture amd64 ≠ arm64',
      '1 of 1 nodes: notice 3600 s < 7200 s',
      '1 of 1 nodes: signedBy alice ≠ bob',
      '1 of 1 nodes: storage 500 GiB < 600 GiB',
      '1 of 1 nodes: persistent storage beta3 0 GiB < 1 GiB',
      '1 of 1 nodes: IP addresses 0 < 1',
      '1 of 1 nodes: GPU model a100 ≠ h100',
      '1 of 1 nodes: GPU interface pcie ≠ sxm',
      '1 of 1 nodes: GPUs 1 < 2',
      '1 of 1 nodes: GPU model a100 ≠ any of amd',
    ])
  })

  it('agrees with the auction on who can', () => {
    const market = aMarket(
      ...Array.from({ length: 30 }, (_, i) =>
        someFacts(`n${i}`, {
          capacity: {
            cpuMilli: 2000 * (1 + (i % 7)),
            region: i % 3 === 0 ? 'eu-de' : 'us-east',
            gpus:
              i % 2 === 0
                ? [someGpus(i % 4 === 0 ? 'l4' : 'a100', i % 4 === 0 ? 24 : 40, 1 + (i % 3))]
                : [],
          },
          sheet: aSheet({ cpuThread: String(0.01 * (1 + (i % 5))) }),
        }),
      ),
    )
    const gpus = [
      null,
      { units: 1, anyOf: [anyGpu()] },
      { units: 2, anyOf: [anyGpu({ model: 'l4' })] },
    ]
    for (const wanted of gpus)
      for (const cpuMilli of [1000, 6000, 20_000])
        for (const ceiling of ['0.1', '0.7', '9'])
          for (const attributes of [{}, { region: 'eu-*' }]) {
            const group = aGroup({ gpu: wanted, cpuMilli, ceiling, attributes })
            assert.equal(market.screen(group).canRun, market.bids(anAsk(group)).length)
          }
  })

  it('lets two services share a node of mixed GPUs, and bills each its own', () => {
    const market = aMarket(
      someFacts('a', {
        capacity: { gpus: [someGpus('l4', 24, 1), someGpus('a100', 80, 1)] },
        sheet: aSheet({ gpu: { l4: '0.3', a100: '1' } }),
      }),
    )
    const any = gpu({})
    const group = { ...aGroup(), units: [aUnit({ gpu: any }, 1), aUnit({ gpu: any }, 2)] }
    const [bid] = market.bids(anAsk(group))
    assert.deepEqual(bid?.way.gpus.map((one) => one?.model).toSorted(), ['a100', 'l4'])
    assert.equal(market.screen(group).canRun, 1)
  })
})

const reasons = (market: Market, group: ReturnType<typeof aGroup>): string[] =>
  market.screen(group).reasons.map(({ text }) => text)

function lease(market: Market, id: string, group: ReturnType<typeof aGroup>): void {
  const ask = anAsk(group)
  const [bid] = market.bids(ask)
  const placing = bid && market.place(ask, bid)
  assert.ok(placing && market.reserve(id, placing))
}

function aMarket(...nodes: readonly NodeFacts[]): Market {
  const market = new Market()
  for (const facts of nodes) market.setNode(facts)
  return market
}

const disk = (bytes: number, persistent: boolean) => [
  { name: 'data', bytes, persistent, class: persistent ? 'beta3' : 'default' } as const,
]

const gpu = (more: Parameters<typeof anyGpu>[0], units = 1) => ({ units, anyOf: [anyGpu(more)] })
