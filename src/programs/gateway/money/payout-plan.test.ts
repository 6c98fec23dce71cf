import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Hex } from '../../../core/base/hex.ts'
import { nextPayoutStep, type PayoutFacts } from './payout-plan.ts'

const HOUR = 3_600_000
const NOW = 1_700_000_000_000
const root = (n: number): Hex => `0x${String(n).repeat(64)}`

describe('the next step of payouts', () => {
  it('is to close an epoch whose time has come, funded by what is lacking', () => {
    assert.deepEqual(nextPayoutStep(facts()), {
      do: 'close',
      fundUnits: 30n,
      evenIfNothing: false,
    })
  })

  it('comes at the epoch’s end and not a millisecond before', () => {
    const open = { ...facts().open, openedAt: NOW - HOUR + 1 }
    assert.match(whyWait(facts({ open })), /epoch 2 closes at/)
    assert.equal(nextPayoutStep(facts({ open: { ...open, openedAt: NOW - HOUR } })).do, 'close')
  })

  it('waits for what is on its way, and when nothing is owed', () => {
    assert.match(whyWait(facts({ underWay: ['fund:1'] })), /until fund:1 is mined/)
    assert.match(whyWait(facts({ due: { units: 0n, totalUnits: 100n } })), /nothing is owed/)
  })

  it('waits while the last root can be challenged, or is', () => {
    const countsFrom = NOW / 1000 + 100
    const pending = { root: root(1), totalUnits: 70n, countsFrom }
    const state = { ...facts().state, root: null, pending }
    assert.match(whyWait(facts({ state })), /epoch 1 can be challenged until/)
    const late = { number: 9n, timestamp: countsFrom }
    assert.equal(nextPayoutStep(facts({ state: { ...state, block: late } })).do, 'close')
    const challenged = { ...state, block: late, openChallenges: 1 }
    assert.match(whyWait(facts({ state: challenged })), /is challenged \(1 open\)/)
  })

  it('says how much money is missing, and asks for it', () => {
    const wallet = { balanceUnits: 29n, allowanceUnits: 10_000n }
    const step = nextPayoutStep(facts({ wallet }))
    assert.ok(step.do === 'wait' && step.wantsTokens)
    assert.match(step.why, /has \$0\.000029 of \$0\.00003 /)
  })

  it('is first to allow the contract to take it, and to put up the bond', () => {
    assert.equal(
      nextPayoutStep(facts({ wallet: { balanceUnits: 999n, allowanceUnits: 29n } })).do,
      'approve',
    )
    const state = { ...facts().state, bondUnits: 490n }
    assert.deepEqual(nextPayoutStep(facts({ state })), { do: 'bond', units: 10n })
  })

  it('is another root for the same leaves when the last one came to nothing', () => {
    const state = { ...facts().state, root: root(3) }
    const step = nextPayoutStep(facts({ state, due: { units: 0n, totalUnits: 70n } }))
    assert.deepEqual(step, { do: 'close', fundUnits: 0n, evenIfNothing: true })
  })
})

function whyWait(of: PayoutFacts): string {
  const step = nextPayoutStep(of)
  assert.equal(step.do, 'wait')
  return step.do === 'wait' ? step.why : ''
}

function facts(more: Partial<PayoutFacts> = {}): PayoutFacts {
  const closed = { at: NOW - HOUR, root: root(1), totalUnits: 70n, paidUnits: 70n, feeNanoUsd: 0n }
  return {
    now: NOW,
    epochMs: HOUR,
    open: { number: 2, feeBps: 0, openedAt: NOW - HOUR, closed: null },
    last: { number: 1, feeBps: 0, openedAt: NOW - 2 * HOUR, closed },
    state: {
      block: { number: 9n, timestamp: NOW / 1000 - 5 },
      depositedUnits: 70n,
      paidUnits: 0n,
      bondUnits: 500n,
      root: root(1),
      pending: null,
      epoch: 1,
      openChallenges: 0,
    },
    terms: {
      challengeWindowS: 3_600,
      answerWindowS: 3_600,
      minBondUnits: 500n,
      penaltyUnits: 500n,
      challengeDepositUnits: 1n,
    },
    due: { units: 30n, totalUnits: 100n },
    wallet: { balanceUnits: 1_000n, allowanceUnits: 1_000n },
    underWay: [],
    ...more,
  }
}
