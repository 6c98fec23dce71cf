import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { formatUsd, parseNanoUsd, parseUsd, priceCeiling, priceTokens } from './money.ts'

const price = { inputNanoUsdPerMTok: 37_500_000n, outputNanoUsdPerMTok: 150_000_000n }

describe('priceTokens', () => {
  it('prices by the million and carries the fraction', () => {
    assert.deepEqual(priceTokens({ inputTokens: 1, outputTokens: 0, price, carry: 0n }), {
      nanoUsd: 37n,
      carry: 500_000n,
    })
    assert.deepEqual(priceTokens({ inputTokens: 1, outputTokens: 0, price, carry: 500_000n }), {
      nanoUsd: 38n,
      carry: 0n,
    })
  })

  it('neither loses nor invents money over any chain of receipts', () => {
    const tokens = fc.nat(100_000)
    const rate = fc.bigInt(0n, 10n ** 12n)
    fc.assert(
      fc.property(
        fc.array(fc.tuple(tokens, tokens), { maxLength: 50 }),
        rate,
        rate,
        (chain, i, o) => {
          const sheet = { inputNanoUsdPerMTok: i, outputNanoUsdPerMTok: o }
          let carry = 0n
          let paid = 0n
          let exact = 0n
          for (const [inputTokens, outputTokens] of chain) {
            const part = priceTokens({ inputTokens, outputTokens, price: sheet, carry })
            assert.ok(part.nanoUsd <= priceCeiling(inputTokens, outputTokens, sheet))
            paid += part.nanoUsd
            carry = part.carry
            exact += BigInt(inputTokens) * i + BigInt(outputTokens) * o
          }
          assert.equal(paid * 1_000_000n + carry, exact)
        },
      ),
    )
  })
})

describe('dollars as text', () => {
  it('reads and writes plain decimals', () => {
    assert.equal(parseUsd('0.05'), 50_000_000n)
    assert.equal(parseUsd('-3'), -3_000_000_000n)
    assert.equal(formatUsd(50_000_000n), '0.05')
    assert.equal(formatUsd(1n), '0.000000001')
    assert.equal(formatUsd(-5_000_000_000n), '-5.00')
  })

  it('refuses what is not a plain decimal', () => {
    for (const text of ['', '1e3', '1,5', '0.0000000001', 'NaN', '0x1'])
      assert.equal(parseUsd(text), null)
    for (const value of ['-1', '1.5', 7, null, '9'.repeat(19)])
      assert.equal(parseNanoUsd(value), null)
  })

  it('round-trips every amount', () => {
    fc.assert(
      fc.property(fc.bigInt(-(10n ** 20n), 10n ** 20n), (n) =>
        assert.equal(parseUsd(formatUsd(n)), n),
      ),
    )
  })
})
