import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Market } from './market.ts'
import { aGroup, anAsk, aSheet, someFacts } from './test-market.ts'

describe('able nodes', () => {
  it('are those that could run it when idle, cheapest first, by name, and last who is asked for a price', () => {
    const market = new Market()
    const sheet = aSheet({ cpuThread: '0.005' })
    market.setNode(someFacts('b'))
    market.setNode(someFacts('a'))
    market.setNode(someFacts('cheap', { sheet }))
    market.setNode(someFacts('small', { capacity: { cpuMilli: 1_000 } }))
    market.setNode(someFacts('dear', { sheet: aSheet({ cpuThread: '50' }) }))
    market.setNode(someFacts('program', { sheet: null }))
    market.setNode(someFacts('asks', { sheet: null }))
    market.setNode(someFacts('too-small', { sheet: null, capacity: { cpuMilli: 1_000 } }))
    const group = aGroup({ ceiling: '1' })
    assert.deepEqual(market.able(group), ['cheap', 'a', 'b', 'asks', 'program'])
  })

  it('stay so while other leases fill them', () => {
    const market = new Market()
    market.setNode(someFacts('a'))
    const group = aGroup({ cpuMilli: 32_000 })
    const ask = anAsk(group)
    const [bid] = market.bids(ask)
    const placing = bid && market.place(ask, bid)
    assert.ok(placing && market.reserve('lease_1', placing))
    assert.deepEqual(market.bids(ask), [])
    assert.deepEqual(market.able(group), ['a'])
  })
})
