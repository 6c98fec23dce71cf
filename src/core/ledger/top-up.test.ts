import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { decideTopUp, type TopUpState } from './top-up.ts'

const STATE: TopUpState = {
  signedUnits: 100n,
  depositUnits: 1000n,
  otherSignedUnits: 0n,
  budgetUnits: null,
  stepUnits: 50n,
  atOnceUnits: 200n,
}

describe('the next voucher', () => {
  it('goes a step further than what is signed, or as far as one request needs', () => {
    assert.deepEqual(decideTopUp(STATE, 101n), { ceiling: 150n })
    assert.deepEqual(decideTopUp(STATE, 220n), { ceiling: 220n })
  })

  it('is sent again where the gateway needs no more than is signed', () => {
    assert.deepEqual(decideTopUp(STATE, 100n), { ceiling: 100n })
    assert.deepEqual(decideTopUp(STATE, 0n), { ceiling: 100n })
  })

  it('stops at the deposit, to the unit', () => {
    const state = { ...STATE, signedUnits: 980n }
    assert.deepEqual(decideTopUp(state, 981n), { ceiling: 1000n })
    assert.deepEqual(decideTopUp(state, 1000n), { ceiling: 1000n })
    const refused = { refused: 'deposit_used_up', limitUnits: 1000n }
    assert.deepEqual(decideTopUp(state, 1001n), refused)
  })

  it('stops at the budget, to the unit, with what other channels signed', () => {
    const state = { ...STATE, otherSignedUnits: 300n, budgetUnits: 420n }
    assert.deepEqual(decideTopUp(state, 101n), { ceiling: 120n })
    assert.deepEqual(decideTopUp(state, 120n), { ceiling: 120n })
    const refused = { refused: 'budget_used_up', limitUnits: 120n }
    assert.deepEqual(decideTopUp(state, 121n), refused)
    const lowered = { ...state, budgetUnits: 10n }
    assert.deepEqual(decideTopUp(lowered, 101n), { refused: 'budget_used_up', limitUnits: 100n })
  })

  it('is no larger at once than was agreed, to the unit', () => {
    assert.deepEqual(decideTopUp(STATE, 300n), { ceiling: 300n })
    assert.deepEqual(decideTopUp(STATE, 301n), { refused: 'voucher_too_large', limitUnits: 300n })
    assert.deepEqual(decideTopUp({ ...STATE, stepUnits: 500n }, 101n), { ceiling: 300n })
  })

  it('never goes above any limit nor below what is signed, whatever is asked', () => {
    const amount = fc.bigInt({ min: 0n, max: 2000n })
    const state = fc.record({
      signedUnits: amount,
      depositUnits: amount,
      otherSignedUnits: amount,
      budgetUnits: fc.option(amount),
      stepUnits: amount,
      atOnceUnits: amount,
    })
    fc.assert(
      fc.property(state, amount, (given, need) => {
        const decided = decideTopUp(given, need)
        if ('refused' in decided) return
        const { ceiling } = decided
        assert.ok(ceiling >= need || ceiling === given.signedUnits)
        if (ceiling === given.signedUnits) return
        assert.ok(ceiling > given.signedUnits && ceiling <= given.depositUnits)
        assert.ok(ceiling - given.signedUnits <= given.atOnceUnits)
        if (given.budgetUnits !== null)
          assert.ok(ceiling + given.otherSignedUnits <= given.budgetUnits)
      }),
    )
  })
})
