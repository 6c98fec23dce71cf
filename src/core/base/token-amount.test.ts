import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { formatUnits, parseUnits } from './token-amount.ts'

describe('token amounts', () => {
  it('are read to the unit', () => {
    assert.equal(parseUnits('12.34', 6), 12_340_000n)
    assert.equal(parseUnits('0.000001', 6), 1n)
    assert.equal(parseUnits('5', 0), 5n)
    assert.equal(parseUnits('999999999999999.999999', 6), 999_999_999_999_999_999_999n)
  })

  it('are refused where they would be rounded or guessed at', () => {
    const bad = ['', ' 1', '1 ', '+1', '-1', '1e3', '1,5', '.5', '5.', '0x10', '1.0000001', '１']
    for (const text of [...bad, '1_000', 'NaN', '1'.repeat(16)])
      assert.equal(parseUnits(text, 6), null, text)
    assert.equal(parseUnits('5.0', 0), null)
  })

  it('are shown with every unit', () => {
    assert.equal(formatUnits(0n, 6), '0.00')
    assert.equal(formatUnits(1n, 6), '0.000001')
    assert.equal(formatUnits(12_340_000n, 6), '12.34')
    assert.equal(formatUnits(-1_500_000n, 6), '-1.50')
    assert.equal(formatUnits(7n, 0), '7')
    assert.equal(formatUnits(10n ** 18n, 18), '1.00')
  })

  it('come back as they were', () => {
    const [units, decimals] = [fc.bigInt({ min: 0n, max: 10n ** 15n }), fc.nat({ max: 18 })]
    fc.assert(
      fc.property(units, decimals, (amount, places) => {
        assert.equal(parseUnits(formatUnits(amount, places), places), amount)
      }),
    )
  })
})
