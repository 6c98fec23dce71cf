import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { readPrices } from '../../../core/protocol/price-sheet.ts'
import { checkAsk, type Seller } from './ask-check.ts'
import { askOf, GATEWAY, groupOf, H100, NOW, SHEET } from './test-kit.ts'

const OWNER = { tenant: 'acct_1', deployment: 'dep_1' }
const SELLER: Seller = { node: 'node_test', nodeKey: '', prices: readPrices(SHEET), noticeS: 60 }
const check = (ask: ReturnType<typeof askOf>, seller = SELLER, now = NOW) =>
  checkAsk({ ask, gateway: GATEWAY, seller, now })

describe('what a node looks at before it signs a lease', () => {
  it('finds the GPUs that the terms name, and whose lease it is', () => {
    assert.deepEqual(check(askOf()), { gpus: [null], owner: OWNER })
    assert.deepEqual(check(askOf({ gpus: 2 })), { gpus: [H100], owner: OWNER })
  })

  it('signs nothing that is not for it, or says something else than what was asked', () => {
    const cases: [ReturnType<typeof askOf>, RegExp][] = [
      [{ ...askOf(), terms: '{' }, /not a lease document/],
      [{ ...askOf(), terms: `${askOf().terms} ` }, /not a lease document/],
      [askOf({}, { node: 'node_other' }), /name node node_other, not node_test/],
      [askOf({}, { gateway: 'gw_other' }), /name gateway gw_other/],
      [{ ...askOf(), epoch: 2 }, /name epoch 1, not 2/],
      [{ ...askOf(), group: groupOf({ count: 2 }) }, /not for this group/],
      [askOf({}, { rate: '1' }), /says 1, its units come to/],
      [askOf({}, { acceptByMs: NOW - 60_005 }), /60005 ms ago/],
      [askOf({}, { noticeS: 61 }), /61 s is over the 60 s/],
    ]
    for (const [ask, message] of cases) {
      const answer = check(ask)
      assert.ok('code' in answer)
      assert.equal(answer.code, 'lease_terms')
      assert.match(answer.message, message)
    }
  })

  it('sells nothing below its price, nor what has none', () => {
    const cheap = check(askOf({ maxRate: '10' }))
    assert.ok('code' in cheap)
    assert.match(cheap.message, /unit 1: 10 atto-dollars a second < \d+ that this node asks/)
    const unpriced = check(askOf({ volumes: [['beta3', 1]] }))
    assert.ok('code' in unpriced)
    assert.equal(unpriced.message, 'storage class beta3 is not for sale here')
  })

  it('takes no name that could be a path', () => {
    for (const id of ['../x', '', '.hidden', 'a/b']) {
      const answer = check(askOf({}, { id }))
      assert.equal('code' in answer && answer.code, 'lease_invalid')
    }
  })
})
