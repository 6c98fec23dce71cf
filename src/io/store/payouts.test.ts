/** Payouts in the ledger: conserved to the nano-dollar, cumulative amounts never fall, and an IOU always holds. */
import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import fc from 'fast-check'
import type { Address } from '../../core/base/hex.ts'
import { Fault } from '../../core/base/refusal.ts'
import { silentLogger } from '../telemetry/logger.ts'
import { openDatabase } from './database.ts'
import { earn, nameAddress, testAddress, testClosing, testPlan } from './payout-kit.ts'
import { FEES, PAYOUTS, type OwedNow, type PayoutEpoch, type PayoutLeaf } from './payout-records.ts'
import { createPostgresStore } from './postgres-store.ts'
import { nodeLedger, type Store } from './store.ts'
import { testDatabaseUrl, testStore, testTenant } from './testing.ts'

const [A, B] = [testAddress(0xa), testAddress(0xb)]
const RUNS = 15

describe('payouts', { timeout: 300_000 }, () => {
  it('leave the ledger in whole units, and the rest waits at the node', async (t) => {
    const { store, account } = await setup(t)
    await nameAddress(store, 'node_a', A)
    await earn(store, { account, node: 'node_a', nanoUsd: 2_999n })
    const closed = await closes(store, testClosing(1))
    assert.deepEqual(
      [closed.closed?.paidUnits, closed.closed?.totalUnits, closed.closed?.feeNanoUsd],
      [2n, 2n, 0n],
    )
    assert.equal(await has(store, nodeLedger('node_a')), 999n)
    assert.equal(await has(store, PAYOUTS), 2_000n)
    assert.deepEqual(await store.payoutLeaves(1), [{ address: A, cumulativeUnits: 2n }])
    await earn(store, { account, node: 'node_a', nanoUsd: 1n })
    assert.equal((await closes(store, testClosing(2))).closed?.totalUnits, 3n)
    assert.deepEqual(await store.payoutLeaves(1), [{ address: A, cumulativeUnits: 2n }])
    assert.deepEqual(await store.payoutLeaves(2), [{ address: A, cumulativeUnits: 3n }])
    await audited(store)
  })

  it('take the fee of what came in, and never again of what was left over', async (t) => {
    const { store, account } = await setup(t, 1_000)
    await nameAddress(store, 'node_a', A)
    // 10 % of 10,999 is 1,099; 9,900 are left: 9 units and 900.
    await earn(store, { account, node: 'node_a', nanoUsd: 10_999n })
    await closes(store, testClosing(1, { nextFeeBps: 1_000 }))
    assert.deepEqual(
      [await has(store, FEES), await has(store, nodeLedger('node_a'))],
      [1_099n, 900n],
    )
    // 10 % of 112 is 11; 900 + 112 - 11 = 1,001: a unit and 1.
    await earn(store, { account, node: 'node_a', nanoUsd: 112n })
    await closes(store, testClosing(2))
    assert.deepEqual([await has(store, FEES), await has(store, nodeLedger('node_a'))], [1_110n, 1n])
    await audited(store)
  })

  it('of a node without an address stay in the ledger', async (t) => {
    const { store, account } = await setup(t)
    await earn(store, { account, node: 'node_a', nanoUsd: 5_000n })
    assert.equal(await store.closePayoutEpoch(testClosing(1)), 'nothing')
    assert.equal(await has(store, nodeLedger('node_a')), 5_000n)
    assert.deepEqual(await store.owedToNodes(['node_a']), [])
    await nameAddress(store, 'node_a', A)
    assert.deepEqual(await store.owedToNodes(['node_a']), [
      { address: A, cumulativeUnits: 5n, epoch: 1, feeBps: 0, nodes: ['node_a'] },
    ])
  })

  it('go to the old address until the open epoch is closed', async (t) => {
    const { store, account } = await setup(t)
    await nameAddress(store, 'node_a', A, 1)
    await earn(store, { account, node: 'node_a', nanoUsd: 5_000n })
    const changed = await nameAddress(store, 'node_a', B, 2)
    assert.deepEqual([changed.address, changed.nextAddress], [A, B])
    await earn(store, { account, node: 'node_a', nanoUsd: 2_500n })
    assert.equal((await store.owedTo(A))?.cumulativeUnits, 7n)
    assert.equal(await store.owedTo(B), null)
    await closes(store, testClosing(1))
    await earn(store, { account, node: 'node_a', nanoUsd: 500n })
    assert.equal((await store.owedTo(A))?.cumulativeUnits, 7n)
    assert.equal((await store.owedTo(B))?.cumulativeUnits, 1n)
    await closes(store, testClosing(2))
    assert.deepEqual(await store.payoutLeaves(2), [
      { address: A, cumulativeUnits: 7n },
      { address: B, cumulativeUnits: 1n },
    ])
    await audited(store)
  })

  it('keep the newest address, however late an older one comes', async (t) => {
    const { store } = await setup(t)
    await nameAddress(store, 'node_a', A, 5)
    await nameAddress(store, 'node_a', B, 6)
    const late = await nameAddress(store, 'node_a', testAddress(0xc), 6)
    assert.deepEqual([late.address, late.nextAddress, late.sequence], [A, B, 6])
    const back = await nameAddress(store, 'node_a', A, 7)
    assert.deepEqual([back.address, back.nextAddress, back.sequence], [A, null, 7])
  })

  it('are closed once, by whoever comes first', async (t) => {
    const { store, account } = await setup(t)
    await nameAddress(store, 'node_a', A)
    await earn(store, { account, node: 'node_a', nanoUsd: 9_000n })
    const outcomes = await Promise.all(
      Array.from({ length: 4 }, () => store.closePayoutEpoch(testClosing(1))),
    )
    assert.equal(outcomes.filter((one) => one === 'late').length, 3)
    assert.equal((await store.chainActions({ kind: 'payout-root', limit: 10 })).length, 1)
    await audited(store)
  })

  it('that cannot be put on chain move nothing', async (t) => {
    const { store, account } = await setup(t)
    await nameAddress(store, 'node_a', A)
    await earn(store, { account, node: 'node_a', nanoUsd: 9_000n })
    await assert.rejects(store.closePayoutEpoch(testClosing(1, { plan: broke })), /no money/)
    assert.equal(await has(store, nodeLedger('node_a')), 9_000n)
    assert.equal((await store.payoutEpochs({ limit: 9 })).length, 1)
  })

  it('are closed again when the last root came to nothing', async (t) => {
    const { store, account } = await setup(t)
    await nameAddress(store, 'node_a', A)
    await earn(store, { account, node: 'node_a', nanoUsd: 9_000n })
    await closes(store, testClosing(1))
    assert.equal(await store.closePayoutEpoch(testClosing(2)), 'nothing')
    const again = await closes(store, testClosing(2, { evenIfNothing: true, plan: anew }))
    assert.deepEqual([again.closed?.paidUnits, again.closed?.totalUnits], [0n, 9n])
    await audited(store)
  })

  it('whose rows somebody changed by hand are found by the audit', async (t) => {
    const url = await testDatabaseUrl()
    const store = await createPostgresStore({ url, logger: silentLogger })
    const database = openDatabase({ url, logger: silentLogger, connections: 1 })
    t.after(async () => {
      await store.close()
      await database.close()
    })
    const account = await testTenant(store, 10n ** 15n)
    await store.openPayoutEpoch({ number: 1, feeBps: 0, now: 0 })
    await nameAddress(store, 'node_a', A)
    await earn(store, { account, node: 'node_a', nanoUsd: 9_000n })
    await closes(store, testClosing(1))
    await audited(store)
    await database.run((sql) => sql`update payout_accounts set cumulative_units = 10`)
    assert.deepEqual((await store.audit()).wrong, [`payout:${A}`])
    await database.run((sql) => sql`update payout_accounts set cumulative_units = 9`)
    await database.run((sql) => sql`update payout_leaves set cumulative_units = 10`)
    assert.deepEqual((await store.audit()).wrong, ['payout epoch 1'])
  })

  it(`lose and make nothing, and keep every IOU, in ${RUNS} random histories`, async (t) => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
        const { store, account } = await setup(t)
        const history = new History(store, account)
        for (const one of steps) await history.take(one)
        await history.check()
        await store.close()
      }),
      { numRuns: RUNS, verbose: 1 },
    )
  })
})

const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      act: fc.constant('earn' as const),
      node: fc.nat(3),
      nanoUsd: fc.oneof(fc.bigInt(1n, 3_000n), fc.bigInt(1n, 10n ** 9n)),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      act: fc.constant('name' as const),
      node: fc.nat(3),
      address: fc.nat(2),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ act: fc.constant('close' as const), nextFeeBps: fc.nat(10_000) }),
  },
  { weight: 3, arbitrary: fc.record({ act: fc.constant('iou' as const) }) },
)
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never

class History {
  readonly #store: Store
  readonly #account: string
  #epoch = 1
  #sequence = 0
  #earned = 0n
  /** Signed in the open epoch, and the highest ever for each address. */
  readonly #signed = new Map<Address, OwedNow>()

  constructor(store: Store, account: string) {
    this.#store = store
    this.#account = account
  }

  async take(one: Step): Promise<void> {
    switch (one.act) {
      case 'earn':
        this.#earned += one.nanoUsd
        return await earn(this.#store, {
          account: this.#account,
          node: `node_${one.node}`,
          nanoUsd: one.nanoUsd,
        })
      case 'name':
        this.#sequence += 1
        await nameAddress(
          this.#store,
          `node_${one.node}`,
          testAddress(0xa0 + one.address),
          this.#sequence,
        )
        return
      case 'iou':
        return await this.#sign()
      case 'close':
        return await this.#close(one.nextFeeBps)
    }
  }

  async #sign(): Promise<void> {
    const nodes = [0, 1, 2, 3].map((n) => `node_${n}`)
    for (const owed of await this.#store.owedToNodes(nodes)) {
      const before = this.#signed.get(owed.address)
      assert.ok(!before || before.cumulativeUnits <= owed.cumulativeUnits, 'an IOU never falls')
      assert.equal(owed.epoch, this.#epoch)
      this.#signed.set(owed.address, owed)
    }
  }

  async #close(nextFeeBps: number): Promise<void> {
    await this.#sign()
    const before = new Map(
      (await this.#store.payoutLeaves(this.#epoch)).map((one) => [
        one.address,
        one.cumulativeUnits,
      ]),
    )
    const due = await this.#store.payoutsDue()
    const outcome = await this.#store.closePayoutEpoch(testClosing(this.#epoch, { nextFeeBps }))
    if (outcome === 'nothing') {
      assert.equal(due.units, 0n)
      return
    }
    assert.ok(typeof outcome === 'object')
    assert.equal(outcome.closed?.paidUnits, due.units)
    assert.equal(outcome.closed?.feeNanoUsd, due.feeNanoUsd)
    const leaves = new Map(
      (await this.#store.payoutLeaves(this.#epoch)).map((one) => [
        one.address,
        one.cumulativeUnits,
      ]),
    )
    for (const [address, units] of before) assert.ok((leaves.get(address) ?? 0n) >= units)
    for (const { address, cumulativeUnits } of this.#signed.values())
      assert.equal(leaves.get(address) ?? 0n, cumulativeUnits, 'the root owes what was signed')
    const sum = [...leaves.values()].reduce((a, b) => a + b, 0n)
    assert.equal(sum, outcome.closed?.totalUnits)
    this.#epoch += 1
  }

  async check(): Promise<void> {
    await audited(this.#store)
    let there = (await has(this.#store, PAYOUTS)) + (await has(this.#store, FEES))
    for (const n of [0, 1, 2, 3]) there += await has(this.#store, nodeLedger(`node_${n}`))
    assert.equal(there, this.#earned, 'what was earned is paid, a fee, or still there')
  }
}

const broke = (): never => {
  throw new Fault('payouts_short', 'no money', { retryable: true })
}

/** The same leaves once more, and nothing to send. */
const anew = (leaves: readonly PayoutLeaf[], totalUnits: bigint) => ({
  ...testPlan(leaves, totalUnits),
  actions: [],
})

const has = async (store: Store, account: string): Promise<bigint> =>
  (await store.balance(account)).balanceNanoUsd

async function closes(store: Store, closing: ReturnType<typeof testClosing>): Promise<PayoutEpoch> {
  const outcome = await store.closePayoutEpoch(closing)
  assert.ok(typeof outcome === 'object', 'it is closed')
  return outcome
}

async function audited(store: Store): Promise<void> {
  const audit = await store.audit()
  assert.deepEqual([audit.sumNanoUsd, audit.wrong], [0n, []])
}

async function setup(t: TestContext, feeBps = 0) {
  const store = await testStore(t)
  const account = await testTenant(store, 10n ** 15n)
  await store.openPayoutEpoch({ number: 1, feeBps, now: 0 })
  return { store, account }
}
