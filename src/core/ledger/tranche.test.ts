import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import {
  freeOf,
  nextTrancheSize,
  openTranche,
  release,
  reserve,
  runsLow,
  spend,
  type Tranche,
} from './tranche.ts'

describe('tranche', () => {
  it('reserves the most a request can cost, and gives back what it did not use', () => {
    const reserved = reserve(openTranche(100n), 60n)
    assert.ok(reserved)
    assert.equal(reserve(reserved, 41n), null)
    const { tranche, leftNanoUsd } = spend(reserved, 60n, 25n)
    assert.equal(leftNanoUsd, 35n)
    assert.deepEqual(release(tranche, leftNanoUsd), {
      heldNanoUsd: 100n,
      reservedNanoUsd: 0n,
      spentNanoUsd: 25n,
    })
  })

  it('covers more than was reserved from what is free, and says what it could not cover', () => {
    const reserved = reserve(openTranche(100n), 60n)
    assert.ok(reserved)
    assert.equal(spend(reserved, 60n, 90n).uncoveredNanoUsd, 0n)
    const over = spend(reserved, 60n, 130n)
    assert.equal(over.uncoveredNanoUsd, 30n)
    assert.deepEqual(over.tranche, { heldNanoUsd: 100n, reservedNanoUsd: 0n, spentNanoUsd: 100n })
  })

  it('asks for the next one early, and for as much as the tenant keeps busy', () => {
    assert.equal(runsLow(openTranche(100n)), false)
    assert.equal(runsLow({ ...openTranche(100n), reservedNanoUsd: 76n }), true)
    const usual = { usualNanoUsd: 100n, waitingNanoUsd: 0n, busyNanoUsd: 0n }
    assert.equal(nextTrancheSize(usual), 100n)
    assert.equal(nextTrancheSize({ ...usual, waitingNanoUsd: 130n }), 130n)
    assert.equal(nextTrancheSize({ ...usual, waitingNanoUsd: 130n, busyNanoUsd: 900n }), 900n)
  })

  it('neither makes nor loses money, whatever happens in whatever order', () => {
    const step = fc.record({
      act: fc.constantFrom('reserve', 'spend', 'release'),
      at: fc.nat(20),
      nanoUsd: fc.bigInt(0n, 500n),
    })
    fc.assert(
      fc.property(fc.bigInt(0n, 1000n), fc.array(step, { maxLength: 60 }), (held, steps) => {
        const run = { tranche: openTranche(held), left: [] as bigint[], cost: 0n, uncovered: 0n }
        for (const { act, at, nanoUsd } of steps) {
          const index = run.left.length === 0 ? -1 : at % run.left.length
          if (act === 'reserve') tryReserve(run, nanoUsd)
          else if (act === 'spend' && index >= 0) spendFrom(run, index, nanoUsd)
          else if (index >= 0) {
            run.tranche = release(run.tranche, run.left[index]!)
            run.left.splice(index, 1)
          }
          const { heldNanoUsd, reservedNanoUsd, spentNanoUsd } = run.tranche
          assert.equal(heldNanoUsd, held)
          assert.ok(freeOf(run.tranche) >= 0n && reservedNanoUsd >= 0n && spentNanoUsd >= 0n)
          assert.equal(
            reservedNanoUsd,
            run.left.reduce((sum, left) => sum + left, 0n),
          )
          assert.equal(spentNanoUsd + run.uncovered, run.cost)
        }
      }),
    )
  })
})

type Run = { tranche: Tranche; left: bigint[]; cost: bigint; uncovered: bigint }

function tryReserve(run: Run, ceiling: bigint): void {
  const reserved = reserve(run.tranche, ceiling)
  assert.equal(reserved === null, freeOf(run.tranche) < ceiling)
  if (!reserved) return
  run.tranche = reserved
  run.left.push(ceiling)
}

function spendFrom(run: Run, index: number, cost: bigint): void {
  const { tranche, leftNanoUsd, uncoveredNanoUsd } = spend(run.tranche, run.left[index]!, cost)
  run.tranche = tranche
  run.left[index] = leftNanoUsd
  run.cost += cost
  run.uncovered += uncoveredNanoUsd
}
