/** The ledger against a small model of it: whatever happens in whatever order, both must agree to the last nano-dollar. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { isRefusal } from '../../core/base/refusal.ts'
import {
  nodeLedger,
  TEST_CREDIT,
  tenantLedger,
  UNCOLLECTED,
  type SettleOutcome,
  type Store,
  type Usage,
} from './store.ts'
import { sampleUsage } from './samples.ts'
import { testId, testStore, testTenant } from './testing.ts'

/** `TEST_LEDGER_RUNS=2000` for the long form. */
const RUNS = Number(process.env['TEST_LEDGER_RUNS'] ?? 60)
const later = Date.now() + 60_000

describe('ledger', { timeout: 300_000 }, () => {
  it(`neither makes nor loses money in ${RUNS} random histories`, async (t) => {
    const store = await testStore(t)
    const seen = new Map<SettleOutcome, number>()
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 25 }), async (steps) => {
        const world = await World.create(store, seen)
        for (const one of steps) await world.take(one)
        await world.compare()
      }),
      { numRuns: RUNS, verbose: 1 },
    )
    for (const outcome of ['settled', 'duplicate', 'conflict', 'uncollected'] as const)
      assert.ok((seen.get(outcome) ?? 0) > 10, `${outcome} hardly ever happened`)
    const audit = await store.audit()
    assert.deepEqual({ sum: audit.sumNanoUsd, wrong: audit.wrong }, { sum: 0n, wrong: [] })
    assert.ok(audit.transfers > RUNS, 'there was something to audit')
  })
})

const amount = fc.bigInt(0n, 400n)
const settlement = fc.record({
  attempt: fc.nat(30),
  tenant: fc.nat(1),
  node: fc.nat(2),
  hold: fc.option(fc.nat(6)),
  nanoUsd: amount,
  witness: fc.constantFrom('node' as const, 'gateway' as const),
})
const step = fc.oneof(
  { weight: 1, arbitrary: fc.record({ act: fc.constant('again' as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      act: fc.constant('deposit' as const),
      key: fc.nat(8),
      tenant: fc.nat(1),
      nanoUsd: amount,
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      act: fc.constant('hold' as const),
      id: fc.nat(6),
      tenant: fc.nat(1),
      nanoUsd: amount,
    }),
  },
  { weight: 1, arbitrary: fc.record({ act: fc.constant('close' as const), id: fc.nat(6) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      act: fc.constant('settle' as const),
      batch: fc.array(settlement, { minLength: 1, maxLength: 8 }),
    }),
  },
)
type Batch = readonly (typeof settlement extends fc.Arbitrary<infer T> ? T : never)[]
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never
type Hold = { readonly tenant: number; readonly nanoUsd: bigint; remaining: bigint; open: boolean }

/** What the store should do, in plain maps, beside the store that does it. */
class World {
  readonly #store: Store
  readonly #tenants: readonly string[]
  /** Makes this history's ids its own: all histories share one database. */
  readonly #tag = testId('post')
  readonly #balances: bigint[] = [0n, 0n]
  readonly #nodes: bigint[] = [0n, 0n, 0n]
  readonly #holds = new Map<number, Hold>()
  readonly #deposits = new Map<number, { tenant: number; nanoUsd: bigint }>()
  readonly #paid = new Map<number, Usage>()
  #last: Batch = []
  #uncollected = 0n
  readonly #uncollectedBefore: bigint

  readonly #seen: Map<SettleOutcome, number>

  static async create(store: Store, seen: Map<SettleOutcome, number>): Promise<World> {
    const tenants = [await testTenant(store, 0n), await testTenant(store, 0n)]
    return new World(store, tenants, (await store.balance(UNCOLLECTED)).balanceNanoUsd, seen)
  }

  constructor(
    store: Store,
    tenants: readonly string[],
    uncollectedBefore: bigint,
    seen: Map<SettleOutcome, number>,
  ) {
    this.#store = store
    this.#seen = seen
    this.#tenants = tenants
    this.#uncollectedBefore = uncollectedBefore
  }

  take(one: Step): Promise<void> {
    switch (one.act) {
      case 'deposit':
        return this.#deposit(one.key, one.tenant, one.nanoUsd)
      case 'hold':
        return this.#hold(one.id, one.tenant, one.nanoUsd)
      case 'close':
        return this.#close(one.id)
      case 'settle':
        return this.#settle(one.batch)
      case 'again':
        return this.#settle(this.#last)
    }
  }

  async #deposit(key: number, tenant: number, nanoUsd: bigint): Promise<void> {
    const answer = await this.#store.transfer({
      key: `${this.#tag}/${key}`,
      debit: TEST_CREDIT,
      credit: tenantLedger(this.#tenants[tenant]!),
      nanoUsd,
      kind: 'deposit',
      reference: 'model',
    })
    const before = this.#deposits.get(key)
    if (nanoUsd === 0n) assert.equal(isRefusal(answer) && answer.code, 'invalid_value')
    else if (!before) {
      assert.equal(answer, 'posted')
      this.#deposits.set(key, { tenant, nanoUsd })
      this.#balances[tenant]! += nanoUsd
    } else if (before.tenant === tenant && before.nanoUsd === nanoUsd)
      assert.equal(answer, 'duplicate')
    else assert.equal(isRefusal(answer) && answer.code, 'idempotency_conflict')
  }

  #available(tenant: number): bigint {
    let available = this.#balances[tenant]!
    for (const hold of this.#holds.values()) if (hold.tenant === tenant) available -= hold.remaining
    return available
  }

  async #hold(id: number, tenant: number, nanoUsd: bigint): Promise<void> {
    const refusal = await this.#store.openHold({
      id: `${this.#tag}/${id}`,
      account: this.#tenants[tenant]!,
      nanoUsd,
      gateway: 'gw_model',
      expiresAt: later,
    })
    const before = this.#holds.get(id)
    if (nanoUsd === 0n) assert.equal(refusal?.code, 'invalid_value')
    else if (before) {
      const same = before.tenant === tenant && before.nanoUsd === nanoUsd
      assert.equal(refusal?.code, same ? undefined : 'idempotency_conflict')
    } else if (this.#available(tenant) < nanoUsd) {
      assert.equal(refusal?.code, 'insufficient_balance')
      assert.deepEqual(refusal.details, { have: this.#available(tenant), need: nanoUsd })
    } else {
      assert.equal(refusal, null)
      this.#holds.set(id, { tenant, nanoUsd, remaining: nanoUsd, open: true })
    }
  }

  async #close(id: number): Promise<void> {
    await this.#store.closeHold(`${this.#tag}/${id}`)
    const hold = this.#holds.get(id)
    if (!hold) return
    hold.remaining = 0n
    hold.open = false
  }

  async #settle(batch: Batch): Promise<void> {
    this.#last = batch
    const usages = batch.map((one) => ({
      number: one.attempt,
      hold: one.hold,
      tenant: one.tenant,
      node: one.node,
      usage: sampleUsage({
        attempt: `att_${this.#tag}/${String(one.attempt).padStart(2, '0')}`,
        request: `req_${one.attempt}`,
        account: this.#tenants[one.tenant]!,
        node: `node_${this.#tag}/${one.node}`,
        nanoUsd: one.nanoUsd,
        hold: one.hold === null ? null : `${this.#tag}/${one.hold}`,
        witness: one.witness,
      }),
    }))
    const outcomes = await this.#store.settle(usages.map(({ usage }) => ({ usage, receipt: null })))
    const fresh = usages.filter(
      ({ number }, index) =>
        !this.#paid.has(number) && usages.findIndex((other) => other.number === number) === index,
    )
    const short = this.#pay(fresh)
    for (const [index, one] of usages.entries()) {
      const expected = fresh.includes(one)
        ? short.has(one.number)
          ? 'uncollected'
          : 'settled'
        : this.#again(one.usage, this.#paid.get(one.number)!)
      assert.equal(outcomes[index], expected satisfies SettleOutcome)
      this.#seen.set(expected, (this.#seen.get(expected) ?? 0) + 1)
    }
  }

  #again(told: Usage, paid: Usage): 'duplicate' | 'conflict' {
    const same = told.account === paid.account && told.node === paid.node
    const equal = told.witness !== paid.witness || told.nanoUsd === paid.nanoUsd
    return same && equal ? 'duplicate' : 'conflict'
  }

  /** Pays like the store: per tenant from the holds first, then from what is available; in order of attempt. */
  #pay(
    fresh: readonly {
      number: number
      hold: number | null
      tenant: number
      node: number
      usage: Usage
    }[],
  ): Set<number> {
    const short = new Set<number>()
    for (const tenant of [0, 1]) {
      const mine = fresh
        .filter((one) => one.tenant === tenant)
        .toSorted((a, b) => a.number - b.number)
      const free = this.#available(tenant)
      let due = 0n
      let drawn = 0n
      for (const { usage, hold, number, node } of mine) {
        this.#paid.set(number, usage)
        this.#nodes[node]! += usage.nanoUsd
        due += usage.nanoUsd
        const held = hold === null ? undefined : this.#holds.get(hold)
        if (held?.tenant !== tenant) continue
        const part = held.remaining < usage.nanoUsd ? held.remaining : usage.nanoUsd
        held.remaining -= part
        drawn += part
      }
      const rest = due - drawn
      let collected = drawn + (rest < free ? rest : free)
      this.#balances[tenant]! -= collected
      this.#uncollected += due - collected
      for (const { usage, number } of mine) {
        if (collected < usage.nanoUsd) short.add(number)
        collected = collected < usage.nanoUsd ? 0n : collected - usage.nanoUsd
      }
    }
    return short
  }

  async compare(): Promise<void> {
    for (const [index, tenant] of this.#tenants.entries()) {
      const balanceNanoUsd = this.#balances[index]!
      const heldNanoUsd = balanceNanoUsd - this.#available(index)
      assert.deepEqual(await this.#store.balance(tenantLedger(tenant)), {
        balanceNanoUsd,
        heldNanoUsd,
      })
    }
    for (const [index, earned] of this.#nodes.entries()) {
      const { balanceNanoUsd } = await this.#store.balance(nodeLedger(`node_${this.#tag}/${index}`))
      assert.equal(balanceNanoUsd, earned)
    }
    const { balanceNanoUsd } = await this.#store.balance(UNCOLLECTED)
    assert.equal(this.#uncollectedBefore - balanceNanoUsd, this.#uncollected)
  }
}
