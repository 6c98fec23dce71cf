/** Bills of answers that went straight, that moved, that were hedged or that failed over. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { headersOf } from '../../io/http/respond.ts'
import { billHeaders, billOf } from './bill.ts'
import { aStartedChoice, greedy } from './choice-kit.ts'
import { readListPrices } from './list-prices.ts'

/** $10 and $50 per million tokens, so that a bill of a few tokens can be read. */
const dear = { inputPrice: '10000000000', outputPrice: '50000000000' }
const nodes = [dear, dear]
const NO_LIST = new Map()

describe('bill', () => {
  it('is tokens × price, with the receipt that proves it', (t) => {
    const net = aStartedChoice(t, { nodes })
    net.last().say('a', 'b').end('stop', 7)
    const bill = billOf([net.choice], 1, NO_LIST)
    assert.equal(bill.nanoUsd, 7n * 10_000n + 2n * 50_000n)
    assert.deepEqual(bill.usage, { inputTokens: 7, outputTokens: 2 })
    const json = JSON.parse(bill.json)
    assert.deepEqual(
      [json.price_nano_usd, json.price_usd, json.seeds, json.saving],
      ['170000', '0.00017', [1], null],
    )
    assert.equal(json.attempts[0].receipt, bill.receipts[0])
    assert.deepEqual(headersOf(billHeaders(bill)), {
      'x-baseload-attempts': '1',
      'x-baseload-node': bill.nodes[0],
      'x-baseload-receipt': bill.receipts[0],
      'x-baseload-price-usd': '0.00017',
    })
  })

  it('counts the prompt once, and each node’s own tokens, when the answer moved', (t) => {
    const net = aStartedChoice(t, { nodes, request: greedy })
    net.last().say('a', 'b').lost()
    net.last().say('c').end('stop', 7)
    const bill = billOf([net.choice], 1, NO_LIST)
    assert.equal(bill.nanoUsd, 7n * 10_000n + 3n * 50_000n)
    assert.deepEqual(bill.usage, { inputTokens: 7, outputTokens: 3 })
    const { attempts } = JSON.parse(bill.json)
    assert.deepEqual(
      attempts.map((one: { tokens: number; outcome: string; reason?: string }) => [
        one.tokens,
        one.outcome,
        one.reason,
      ]),
      [
        [2, 'lost', 'the link broke'],
        [1, 'ok', undefined],
      ],
    )
    assert.equal(bill.receipts.length, 2)
  })

  it('has nothing of an attempt that gave nothing, but names it', (t) => {
    const net = aStartedChoice(t, { nodes })
    net.last().busy()
    net.last().say('a').end('stop', 7)
    const bill = billOf([net.choice], 1, NO_LIST)
    assert.deepEqual([bill.attempts, bill.nodes.length, bill.receipts.length], [2, 1, 1])
    assert.equal(bill.nanoUsd, 7n * 10_000n + 50_000n)
  })

  it('is what the receipts ask, also after a replay', (t) => {
    const seeded = { ...dear, capabilities: ['chat', 'seed'] as const }
    const net = aStartedChoice(t, { nodes: [seeded, seeded], request: greedy })
    net.last().say('a', 'b').lost()
    net.last().say('ab', 'c').end('stop', 7)
    const bill = billOf([net.choice], 1, NO_LIST)
    assert.deepEqual(bill.usage, { inputTokens: 7, outputTokens: 2 })
    assert.equal(bill.nanoUsd, 7n * 10_000n + 2n * 50_000n)
    assert.deepEqual(
      [bill.usage.inputTokens, bill.usage.outputTokens],
      net.desk.paid.map(({ input, output }) => [input, output])[0],
    )
  })

  it('names the list price that it is compared with', (t) => {
    const net = aStartedChoice(t, { nodes })
    net.last().say('a', 'b').end('stop', 7)
    const list = { provider: 'Cloud', product: 'Bard', date: '2026-01-02', tier: 'on-demand' }
    const prices = { inputUsdPerMTok: '20', outputUsdPerMTok: '100' }
    const bill = billOf([net.choice], 1, readListPrices([{ model: 'bard-3m', ...list, ...prices }]))
    const { saving } = JSON.parse(bill.json)
    assert.deepEqual(saving, { ...list, percent: '50 %', list_usd: '0.00034' })
    assert.equal(headersOf(billHeaders(bill))['x-baseload-saving'], '50 %')
  })
})

describe('list prices', () => {
  it('must be plain decimals', () => {
    const setting = { model: 'm', provider: 'p', product: 'q', date: 'd', tier: 't' }
    const prices = { inputUsdPerMTok: '0.10', outputUsdPerMTok: '1e3' }
    assert.throws(() => readListPrices([{ ...setting, ...prices }]), /listPrices for 'm'/)
  })
})
