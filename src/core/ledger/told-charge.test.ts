import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { chargeToTell, nanoUsdWithin, unitsToAsk, wholeUnits } from './told-charge.ts'

describe('what a payer is told', () => {
  it('asks for enough that what was signed always covers what it may cost', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 1n, max: 10n ** 12n }), (ceiling) => {
        assert.ok(nanoUsdWithin(unitsToAsk(ceiling)) >= ceiling)
        assert.ok(nanoUsdWithin(unitsToAsk(ceiling) - 1n) < ceiling, 'and not for a unit more')
      }),
    )
  })

  it('tells whole answers to the unit, and carries the fraction', () => {
    let told = 0n
    let spent = 0n
    for (const costNanoUsd of [1_400n, 300n, 300n, 1_400n, 3_600n]) {
      told += chargeToTell({ toldUnits: told, spentNanoUsd: spent, costNanoUsd, signedUnits: 50n })
      spent += costNanoUsd
      assert.equal(told, wholeUnits(spent))
    }
    assert.deepEqual([told, spent], [7n, 7_000n])
  })

  it('tells a stream its most at its head, and lets the rest pay what comes after', () => {
    const head = chargeToTell({
      toldUnits: 0n,
      spentNanoUsd: 0n,
      costNanoUsd: 90_000n,
      signedUnits: 100n,
    })
    assert.equal(head, 90n)
    // It cost 30 units, and the next stream may cost 90 again: 30 more bring told up to what that may come to.
    const next = { toldUnits: 90n, spentNanoUsd: 30_000n, costNanoUsd: 90_000n, signedUnits: 100n }
    assert.equal(chargeToTell(next), 30n)
    // A whole answer for 50 units is paid by what is ahead.
    assert.equal(chargeToTell({ ...next, costNanoUsd: 50_000n }), 0n)
  })

  it('never tells more than was signed, and what is claimed was told', () => {
    const answer = fc.record({
      most: fc.bigInt({ min: 1n, max: 500_000n }),
      share: fc.integer({ min: 0, max: 100 }),
      stream: fc.boolean(),
    })
    fc.assert(
      fc.property(fc.array(answer, { maxLength: 60 }), (answers) => {
        let told = 0n
        let spent = 0n
        for (const { most, share, stream } of answers) {
          const signedUnits = unitsToAsk(most)
          const cost = (most * BigInt(share)) / 100n
          const costNanoUsd = stream ? most : cost
          const charge = chargeToTell({
            toldUnits: told,
            spentNanoUsd: spent,
            costNanoUsd,
            signedUnits,
          })
          assert.ok(charge >= 0n && charge <= signedUnits)
          told += charge
          spent += cost
          assert.ok(told >= wholeUnits(spent), 'what is claimed was told')
          assert.ok(told - charge + signedUnits >= wholeUnits(spent), 'what is claimed was signed')
        }
      }),
      { numRuns: 500 },
    )
  })
})
