import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import {
  observe,
  timeWeightedPrice,
  tokensToBurn,
  tokensToMint,
  trippedBy,
  type Observation,
} from './burn-and-mint.ts'
import { UNITS_PER_TOKEN, emissionOf } from './rewards.ts'

const USD = 1_000_000_000n
const HOUR = 3_600n

describe('burn and mint', () => {
  it('burns the worth of the work, rounded up, and mints it less the fee, rounded down', () => {
    assert.equal(tokensToBurn(3n * USD, 2n * USD), (3n * UNITS_PER_TOKEN) / 2n)
    assert.equal(tokensToBurn(1n, 3n * 10n ** 18n), 1n)
    const mint = { burnedNanoUsd: 100n * USD, feeBps: 500n, nanoUsdPerToken: 2n * USD }
    const emission = 10n ** 30n
    assert.equal(tokensToMint({ ...mint, emission }), (95n * UNITS_PER_TOKEN) / 2n)
    assert.equal(tokensToMint({ ...mint, emission: 7n }), 7n, 'never above the schedule')
  })

  it('never mints more than was burned at one price', () => {
    const burns = fc.array(fc.bigInt(1n, 10n ** 15n), { maxLength: 20 })
    const price = fc.bigInt(1n, 10n ** 15n)
    fc.assert(
      fc.property(burns, price, fc.bigInt(0n, 9_999n), (each, nanoUsdPerToken, feeBps) => {
        const burned = each.reduce(
          (all, nanoUsd) => all + tokensToBurn(nanoUsd, nanoUsdPerToken),
          0n,
        )
        const burnedNanoUsd = each.reduce((all, nanoUsd) => all + nanoUsd, 0n)
        const emission = 10n ** 40n
        const minted = tokensToMint({ burnedNanoUsd, feeBps, nanoUsdPerToken, emission })
        assert.ok(minted <= burned)
      }),
    )
  })
})

describe('the time-weighted price', () => {
  it('weighs each price by how long it held', () => {
    const seen = observed([
      [0n, 10n],
      [900n, 20n],
      [1_800n, 40n],
    ])
    assert.equal(
      timeWeightedPrice(seen, HOUR, HOUR),
      27n,
      '(10×900 + 20×900 + 40×1800) / 3600, rounded down',
    )
    assert.equal(timeWeightedPrice(seen, HOUR + 900n, HOUR), 35n)
    assert.equal(timeWeightedPrice(seen, HOUR - 1n, HOUR), null, 'a second too early')
    assert.equal(timeWeightedPrice([], HOUR, HOUR), null)
  })

  it('takes no two observations within a 32nd of the window', () => {
    const seen = observed([[0n, 10n]])
    assert.equal(observe(seen, { at: 111n, nanoUsd: 1n, window: HOUR }), null)
    assert.equal(observe(seen, { at: 112n, nanoUsd: 1n, window: HOUR })?.length, 2)
  })

  it('always reaches back over its window, once it has, and stays between the lowest and the highest price', () => {
    const manySteps = fc.array(
      fc.record({ after: fc.bigInt(112n, 200n), nanoUsd: fc.bigInt(1n, 10n ** 20n) }),
      { minLength: 100, maxLength: 160 },
    )
    fc.assert(
      fc.property(manySteps, (steps) => {
        let at = 0n
        let seen: readonly Observation[] = []
        for (const { after, nanoUsd } of steps) {
          at += after
          seen = observe(seen, { at, nanoUsd, window: HOUR }) ?? assert.fail('apart enough')
          assert.ok(seen.length <= 64)
          const average = timeWeightedPrice(seen, at, HOUR)
          if (at < steps[0]!.after + HOUR) continue
          assert.ok(average !== null)
          const prices = seen.map((one) => one.nanoUsd).toSorted((a, b) => (a < b ? -1 : 1))
          assert.ok(average >= prices[0]! && average <= prices.at(-1)!)
        }
      }),
      { numRuns: 30 },
    )
  })
})

describe('the circuit breaker', () => {
  const terms = { now: HOUR, window: HOUR, maxAge: 1_800n, maxDeviationBps: 1_000n }
  const steady = observed([
    [0n, 1_000n],
    [1_800n, 1_000n],
  ])
  const trips = (spot: { at: bigint; nanoUsd: bigint }, change = {}): string | null =>
    trippedBy({ observations: steady, spot, ...terms, ...change })

  it('trips when the spot price is further off than agreed, either way', () => {
    assert.equal(trips({ at: HOUR, nanoUsd: 1_100n }), null)
    assert.equal(trips({ at: HOUR, nanoUsd: 1_101n }), 'price_deviates')
    assert.equal(trips({ at: HOUR, nanoUsd: 900n }), null)
    assert.equal(trips({ at: HOUR, nanoUsd: 899n }), 'price_deviates')
  })

  it('trips when prices are old, of the future, or too few', () => {
    const spot = { at: HOUR, nanoUsd: 1_000n }
    assert.equal(trips({ at: HOUR - 1_801n, nanoUsd: 1_000n }), 'oracle_old')
    assert.equal(trips({ at: HOUR + 1n, nanoUsd: 1_000n }), 'oracle_old')
    assert.equal(trips({ at: HOUR + 1n, nanoUsd: 1_000n }, { now: HOUR + 1n }), 'observation_old')
    assert.equal(trips(spot, { observations: steady.slice(1) }), 'no_history')
    assert.equal(trips(spot, { observations: [] }), 'no_history')
  })
})

/** Forge checks the same file against the contract: contracts/test/RewardVectors.t.sol. */
describe('the vectors that contracts/ checks, too', () => {
  it('are what is reckoned here', () => {
    const file = new URL('../../../contracts/test/fixtures/rewards.json', import.meta.url)
    const vectors: Vectors = JSON.parse(readFileSync(file, 'utf8'))
    const reckoned = reckon(vectors)
    assert.ok(vectors.emission.epoch.length > 10 && vectors.twap.askedAt.length > 50)
    // After a change: `BASELOAD_WRITE_VECTORS=1 npm test -- burn-and-mint`, then `npm run contracts:test`.
    if (process.env['BASELOAD_WRITE_VECTORS'])
      writeFileSync(file, `${JSON.stringify(reckoned, null, 2)}\n`)
    else assert.deepEqual(vectors, reckoned)
  })
})

/** Columns of decimal numbers. */
type Columns<Name extends string> = Record<Name, string[]>
type Vectors = {
  emission: Columns<'first' | 'halving' | 'epoch' | 'amount'>
  burn: Columns<'nanoUsd' | 'price' | 'amount'>
  mint: Columns<'burned' | 'feeBps' | 'price' | 'emission' | 'amount'>
  twap: Columns<'window' | 'at' | 'nanoUsd' | 'askedAt' | 'average'>
}

/** The last column of each, from the others. */
function reckon({ emission, burn, mint, twap }: Vectors): Vectors {
  const window = number(twap.window, 0)
  const averageAt = (now: bigint): bigint => {
    let seen: readonly Observation[] = []
    for (const [row, at] of twap.at.map(BigInt).entries())
      if (at <= now)
        seen = observe(seen, { at, nanoUsd: number(twap.nanoUsd, row), window }) ?? assert.fail()
    return timeWeightedPrice(seen, now, window) ?? 0n
  }
  return {
    emission: {
      ...emission,
      amount: text(
        emission.epoch.map((epoch, row) => {
          const schedule = {
            firstEmission: number(emission.first, row),
            halvingEpochs: Number(emission.halving[row]),
          }
          return emissionOf(schedule, Number(epoch))
        }),
      ),
    },
    burn: {
      ...burn,
      amount: text(
        burn.price.map((price, row) => tokensToBurn(number(burn.nanoUsd, row), BigInt(price))),
      ),
    },
    mint: {
      ...mint,
      amount: text(
        mint.price.map((price, row) =>
          tokensToMint({
            burnedNanoUsd: number(mint.burned, row),
            feeBps: number(mint.feeBps, row),
            nanoUsdPerToken: BigInt(price),
            emission: number(mint.emission, row),
          }),
        ),
      ),
    },
    twap: { ...twap, average: text(twap.askedAt.map((now) => averageAt(BigInt(now)))) },
  }
}

function observed(prices: readonly (readonly [bigint, bigint])[]): readonly Observation[] {
  let seen: readonly Observation[] = []
  for (const [at, nanoUsd] of prices)
    seen = observe(seen, { at, nanoUsd, window: HOUR }) ?? assert.fail('too soon')
  return seen
}

function number(column: readonly string[], row: number): bigint {
  return BigInt(column[row] ?? '')
}

function text(amounts: readonly bigint[]): string[] {
  return amounts.map(String)
}
