import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { tokensToMint } from './burn-and-mint.ts'
import {
  MAX_CARRY,
  UNITS_PER_TOKEN,
  emissionOf,
  honestEmission,
  splitEpoch,
  weightedWorth,
  type EpochSplit,
  type PaidWork,
} from './rewards.ts'

const USD = 1_000_000_000n
const TOKEN = UNITS_PER_TOKEN

const anyPay = fc.bigInt(0n, 1_000_000n * USD)
const anyQuality = fc.integer({ min: 0, max: 10_000 })
const pieceOfWork = fc.record({
  provider: fc.constantFrom('ada', 'bo', 'cy', 'di', 'ed'),
  paidNanoUsd: anyPay,
  qualityBps: anyQuality,
})
const someWork = fc.array(pieceOfWork, { maxLength: 12 })
const anyPot = fc.bigInt(0n, 10n ** 30n)
const anyCarry = fc.bigInt(0n, MAX_CARRY)

describe('emission', () => {
  it('halves, and ends', () => {
    const schedule = { firstEmission: 101n * TOKEN, halvingEpochs: 10 }
    assert.equal(emissionOf(schedule, 0), 101n * TOKEN)
    assert.equal(emissionOf(schedule, 9), 101n * TOKEN)
    assert.equal(emissionOf(schedule, 10), (101n * TOKEN) / 2n)
    assert.equal(emissionOf(schedule, 25), (101n * TOKEN) / 4n)
    assert.equal(emissionOf(schedule, 1_270), 0n)
  })

  it('is never more in all than twice the first epochs to the first halving', () => {
    fc.assert(
      fc.property(
        fc.bigInt(1n, 2n ** 128n - 1n),
        fc.integer({ min: 1, max: 20 }),
        (first, every) => {
          let all = 0n
          for (let epoch = 0; epoch < 140 * every; epoch++)
            all += emissionOf({ firstEmission: first, halvingEpochs: every }, epoch)
          assert.ok(all <= 2n * first * BigInt(every))
        },
      ),
      { numRuns: 20 },
    )
  })
})

describe('the split of an epoch', () => {
  it('is by paid work times quality', () => {
    const work = [
      { provider: 'bo', paidNanoUsd: 100n * USD, qualityBps: 5_000 },
      { provider: 'ada', paidNanoUsd: 25n * USD, qualityBps: 10_000 },
      { provider: 'ada', paidNanoUsd: 25n * USD, qualityBps: 10_000 },
      { provider: 'cy', paidNanoUsd: 0n, qualityBps: 10_000 },
      { provider: 'di', paidNanoUsd: 90n * USD, qualityBps: 0 },
    ]
    assert.deepEqual(splitEpoch({ pot: 101n, carried: 0n, work }), {
      shares: [
        { provider: 'ada', amount: 50n },
        { provider: 'bo', amount: 50n },
      ],
      carry: 1n,
      lapsed: 0n,
    })
  })

  it('neither makes nor loses a unit, and carries no more than rounding leaves', () => {
    fc.assert(
      fc.property(anyPot, anyCarry, someWork, (pot, carried, work) => {
        const split = splitEpoch({ pot, carried, work })
        assert.equal(allOf(split) + split.carry + split.lapsed, pot + carried)
        if (split.shares.length > 0) assert.ok(split.carry < 5n && split.lapsed === 0n)
      }),
    )
  })

  it('stays within the schedule, epoch after epoch', () => {
    const schedule = { firstEmission: 1_000_003n, halvingEpochs: 3 }
    fc.assert(
      fc.property(fc.array(someWork, { minLength: 1, maxLength: 12 }), (epochs) => {
        let [minted, scheduled, carry] = [0n, 0n, 0n]
        for (const [epoch, work] of epochs.entries()) {
          const emission = emissionOf(schedule, epoch)
          const split = splitEpoch({ pot: emission, carried: carry, work })
          // What Rewards.sol takes of this epoch's root.
          assert.ok(allOf(split) <= emission + carry)
          minted += allOf(split)
          scheduled += emission
          carry = split.carry
          assert.ok(minted + carry <= scheduled)
        }
      }),
    )
  })

  it('gives one provider as two no more than as one', () => {
    fc.assert(
      fc.property(anyPot, someWork, anyPay, anyPay, anyQuality, (pot, others, a, b, qualityBps) => {
        const named = (provider: string, paidNanoUsd: bigint): PaidWork => ({
          provider,
          paidNanoUsd,
          qualityBps,
        })
        const one = splitEpoch({ pot, carried: 0n, work: [...others, named('x', a + b)] })
        const two = splitEpoch({
          pot,
          carried: 0n,
          work: [...others, named('x', a), named('y', b)],
        })
        assert.ok(shareOf(two, 'x') + shareOf(two, 'y') <= shareOf(one, 'x'))
      }),
    )
  })

  it('gives nothing for being there, and takes nothing from anybody for it', () => {
    fc.assert(
      fc.property(anyPot, someWork, anyQuality, (pot, work, qualityBps) => {
        const idle = { provider: 'idle', paidNanoUsd: 0n, qualityBps }
        const withIdle = splitEpoch({ pot, carried: 0n, work: [...work, idle] })
        assert.equal(shareOf(withIdle, 'idle'), 0n)
        assert.deepEqual(withIdle, splitEpoch({ pot, carried: 0n, work }))
      }),
    )
    const nobody = splitEpoch({ pot: 100n, carried: 3n, work: [] })
    assert.deepEqual(nobody, { shares: [], carry: 3n, lapsed: 100n })
  })

  it('refuses work whose numbers are none', () => {
    assert.throws(() => splitOf(1n, 10_001), /quality of 10001/)
    assert.throws(() => splitOf(-1n, 1), /paid -1 nano-dollars/)
    assert.throws(() => splitOf(1n, -1), RangeError)
  })
})

describe('buying one’s own work', () => {
  const price = fc.bigInt(1n, 10_000n * USD)
  const fee = fc.bigInt(0n, 9_999n)
  const own = fc.bigInt(1n, 1_000_000n * USD)

  it('earns no more than the fee it costs, however the rest of the work is', () => {
    fc.assert(
      fc.property(
        someWork,
        own,
        anyQuality,
        fee,
        price,
        anyPot,
        (others, bought, q, feeBps, nanoUsdPerToken, emission) => {
          const work = [...others, { provider: 'x', paidNanoUsd: bought, qualityBps: q }]
          const most = honestEmission({ emission, work, feeBps, nanoUsdPerToken })
          assert.ok(most <= emission)
          const { shares } = splitEpoch({ pot: most, carried: 0n, work })
          const earned = shares.find(({ provider }) => provider === 'x')?.amount ?? 0n
          assert.ok(earned * nanoUsdPerToken * 10_000n <= feeBps * bought * TOKEN)
        },
      ),
    )
  })

  it('pays beyond that bound: it is the least', () => {
    const bought = 100n * USD
    const work = [{ provider: 'x', paidNanoUsd: bought, qualityBps: 10_000 }]
    const terms = { work, feeBps: 500n, nanoUsdPerToken: USD }
    const most = honestEmission({ ...terms, emission: 10n ** 30n })
    assert.equal(most, 5n * TOKEN, 'five percent of a hundred dollars, at a dollar each')
    const worthOf = (pot: bigint): bigint => allOf(splitEpoch({ pot, carried: 0n, work })) * USD
    assert.ok(worthOf(most) <= 5n * USD * TOKEN)
    assert.ok(worthOf(most + 1n) > 5n * USD * TOKEN)
  })

  it('costs the fee and what it earns when payments are burned, if the mint is of the work’s worth times its quality', () => {
    fc.assert(
      fc.property(
        someWork,
        own,
        anyQuality,
        fee,
        price,
        (others, bought, q, feeBps, nanoUsdPerToken) => {
          const work = [...others, { provider: 'x', paidNanoUsd: bought, qualityBps: q }]
          const minted = tokensToMint({
            burnedNanoUsd: weightedWorth(work),
            feeBps,
            nanoUsdPerToken,
            emission: 10n ** 40n,
          })
          const earned = shareOf(splitEpoch({ pot: minted, carried: 0n, work }), 'x')
          const kept = bought * (10_000n - feeBps) * TOKEN
          assert.ok(earned * nanoUsdPerToken * 10_000n <= kept, 'what was paid, less the fee')
        },
      ),
    )
  })
})

function allOf(split: EpochSplit): bigint {
  return split.shares.reduce((all, { amount }) => all + amount, 0n)
}

function shareOf(split: EpochSplit, name: string): bigint {
  return split.shares.find(({ provider }) => provider === name)?.amount ?? 0n
}

function splitOf(paidNanoUsd: bigint, qualityBps: number): EpochSplit {
  return splitEpoch({ pot: 1n, carried: 0n, work: [{ provider: 'ada', paidNanoUsd, qualityBps }] })
}
