import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Fault, isRefusal, type Refusal } from '../../core/base/refusal.ts'
import {
  nodeLedger,
  tenantLedger,
  type Settlement,
  type SettleOutcome,
  type Store,
} from '../../io/store/store.ts'
import { sampleUsage } from '../../io/store/samples.ts'
import { testId, testKey, testStore, testTenant } from '../../io/store/testing.ts'
import { silentLogger } from '../../io/telemetry/logger.ts'
import { createMeter, type Meter, type MeterOptions, type Reservation } from './meter.ts'

const timeout = 120_000
const unlimited = { id: 'key_none', budgetNanoUsd: null, spentNanoUsd: 0n }

describe('meter', { timeout }, () => {
  it('asks the store once and then admits from memory', async (t) => {
    const { meter, tenant, calls } = await setup(t, { balance: 10_000n })
    const first = meter.reserve(tenant, unlimited, 100n)
    assert.ok(first instanceof Promise, 'the first tranche has to be opened')
    granted(await first).close()
    for (let i = 0; i < 20; i++) granted(now(meter.reserve(tenant, unlimited, 100n))).close()
    assert.equal(calls.openHold, 1)
  })

  it('settles in a batch, and says so only when it is durable', async (t) => {
    const { meter, store, tenant, settled } = await setup(t, { balance: 10_000n })
    const reservation = granted(await meter.reserve(tenant, unlimited, 500n))
    const usages = [1, 2, 3].map(() => sampleUsage({ account: tenant, nanoUsd: 100n }))
    for (const usage of usages) reservation.settle({ usage, receipt: null })
    reservation.close()
    assert.equal(meter.backlog, 3)
    assert.equal(settled.length, 0)
    await meter.flush()
    assert.equal(meter.backlog, 0)
    assert.deepEqual(
      settled.map(({ usage }) => usage.attempt),
      usages.map(({ attempt }) => attempt),
    )
    assert.ok(settled[0]!.usage.hold?.startsWith('hold_'), 'the hold is filled in')
    assert.equal(await balance(store, nodeLedger('node_a')), 300n)
  })

  it('lets concurrent requests share one opening', async (t) => {
    const { meter, tenant, calls } = await setup(t, { balance: 100_000n })
    const answers = await Promise.all(
      Array.from({ length: 30 }, async () => await meter.reserve(tenant, unlimited, 100n)),
    )
    for (const answer of answers) granted(answer)
    assert.ok(calls.openHold <= 3, `${calls.openHold} openings`)
  })

  it('fetches the next tranche before the last is used up', async (t) => {
    const { meter, tenant, calls } = await setup(t, { balance: 100_000n })
    granted(await meter.reserve(tenant, unlimited, 800n))
    await until(() => calls.openHold === 2)
    granted(now(meter.reserve(tenant, unlimited, 900n)))
  })

  it('opens a larger hold for a request that no tranche covers', async (t) => {
    const { meter, store, tenant } = await setup(t, { balance: 100_000n })
    granted(await meter.reserve(tenant, unlimited, 70_000n))
    assert.ok((await store.balance(tenantLedger(tenant))).heldNanoUsd >= 70_000n)
  })

  it('admits what the balance covers exactly, though no whole tranche fits', async (t) => {
    const { meter, tenant } = await setup(t, { balance: 250n })
    granted(await meter.reserve(tenant, unlimited, 250n))
  })

  it('makes one sum of the rests of tranches before it refuses', async (t) => {
    const { meter, tenant } = await setup(t, { balance: 1_400n })
    const spender = granted(await meter.reserve(tenant, unlimited, 700n))
    spender.settle({ usage: sampleUsage({ account: tenant, nanoUsd: 100n }), receipt: null })
    spender.close()
    granted(await meter.reserve(tenant, unlimited, 1_300n))
  })

  it('refuses with both numbers what the balance cannot cover', async (t) => {
    const { meter, tenant } = await setup(t, { balance: 250n })
    const refusal = refused(await meter.reserve(tenant, unlimited, 251n))
    assert.equal(refusal.code, 'insufficient_balance')
    assert.deepEqual(refusal.details, { have: 250n, need: 251n })
    assert.match(refusal.message, /\$0\.000000251.*\$0\.00000025/)
    granted(await meter.reserve(tenant, unlimited, 250n))
  })

  it('serves those who fit and refuses those who do not, in order', async (t) => {
    const { meter, tenant } = await setup(t, { balance: 500n })
    const answers = await Promise.all(
      [200n, 400n, 300n, 1n].map(
        async (ceiling) => await meter.reserve(tenant, unlimited, ceiling),
      ),
    )
    assert.deepEqual(answers.map(isRefusal), [false, true, false, true])
  })

  it('keeps a key within its budget, counting what is reserved', async (t) => {
    const { meter, tenant, key } = await setup(t, { balance: 100_000n, budget: 1_000n })
    const limited = { id: key, budgetNanoUsd: 1_000n, spentNanoUsd: 0n }
    const first = granted(await meter.reserve(tenant, limited, 600n))
    const refusal = refused(await meter.reserve(tenant, limited, 500n))
    assert.equal(refusal.code, 'key_budget_exceeded')
    assert.equal(refusal.details['have'], 400n)
    const usage = sampleUsage({ account: tenant, apiKey: key, nanoUsd: 100n })
    first.settle({ usage, receipt: null })
    first.close()
    granted(await meter.reserve(tenant, limited, 900n)).close()
    assert.ok(isRefusal(await meter.reserve(tenant, limited, 901n)))
  })

  it('hears of what a key spends at other gateways', async (t) => {
    const { meter, store, tenant, key } = await setup(t, { balance: 100_000n, budget: 1_000n })
    const limited = { id: key, budgetNanoUsd: 1_000n, spentNanoUsd: 0n }
    granted(await meter.reserve(tenant, limited, 100n)).close()
    const usage = sampleUsage({ account: tenant, apiKey: key, nanoUsd: 950n })
    await store.settle([{ usage, receipt: null }])
    await until(async () => {
      const answer = await meter.reserve(tenant, limited, 100n)
      if (isRefusal(answer)) return true
      answer.close()
      return false
    })
  })

  it('charges nothing for what is free', async (t) => {
    const { meter, tenant, settled } = await setup(t, { balance: 0n })
    const reservation = granted(now(meter.reserve(tenant, unlimited, 0n)))
    reservation.settle({ usage: sampleUsage({ account: tenant, nanoUsd: 0n }), receipt: null })
    reservation.close()
    await meter.flush()
    assert.equal(settled[0]?.usage.hold, null)
  })

  it('goes on from memory while the store is away, refuses when the tranche is dry, and loses nothing', async (t) => {
    const { meter, store, tenant, outage, settled } = await setup(t, { balance: 100_000n })
    const first = granted(await meter.reserve(tenant, unlimited, 400n))
    outage.on = true
    first.settle({ usage: sampleUsage({ account: tenant, nanoUsd: 400n }), receipt: null })
    const second = granted(now(meter.reserve(tenant, unlimited, 500n)))
    second.settle({ usage: sampleUsage({ account: tenant, nanoUsd: 300n }), receipt: null })
    second.close()
    const refusal = refused(await meter.reserve(tenant, unlimited, 700n))
    assert.equal(refusal.code, 'store_unavailable')
    assert.equal(refusal.retryAfterS, 2)
    await sleep(50)
    assert.equal(settled.length, 0)
    outage.on = false
    await meter.flush()
    assert.equal(settled.length, 2)
    assert.equal(await balance(store, nodeLedger('node_a')), 700n)
    assert.deepEqual((await store.audit()).wrong, [])
  })

  it('lets no row that the store cannot take stop the others', async (t) => {
    const { meter, tenant, settled } = await setup(t, { balance: 100_000n })
    const good = Array.from({ length: 9 }, () => sampleUsage({ account: tenant }))
    const bad = sampleUsage({ account: tenant, nanoUsd: -5n })
    for (const usage of good.toSpliced(4, 0, bad)) meter.settleLate({ usage, receipt: null })
    await meter.flush()
    assert.deepEqual(
      settled.map(({ usage }) => usage.attempt).toSorted(),
      good.map(({ attempt }) => attempt).toSorted(),
    )
  })

  it('renews what is in use and gives back what is not', async (t) => {
    const { meter, store, tenant, calls } = await setup(t, { balance: 5_000n, trancheMs: 200 })
    const reservation = granted(await meter.reserve(tenant, unlimited, 300n))
    await until(() => calls.renewHolds >= 2)
    await store.expireHolds(Date.now())
    assert.equal((await store.balance(tenantLedger(tenant))).heldNanoUsd, 1_000n)
    reservation.close()
    await until(async () => (await store.balance(tenantLedger(tenant))).heldNanoUsd === 0n)
  })

  it('gives back what is not used at once when somebody waits for it', async (t) => {
    const { meter, store, tenant } = await setup(t, { balance: 5_000n })
    const held = async () => (await store.balance(tenantLedger(tenant))).heldNanoUsd
    const reservation = granted(await meter.reserve(tenant, unlimited, 300n))
    meter.rest(tenant)
    meter.rest('acct_nobody')
    await sleep(100)
    assert.equal(await held(), 1_000n, 'a request uses it')
    reservation.close()
    meter.rest(tenant)
    await until(async () => (await held()) === 0n)
    granted(await meter.reserve(tenant, unlimited, 300n))
  })

  it('gives back at the end what it held, after all is settled', async (t) => {
    const { meter, store, tenant } = await setup(t, { balance: 5_000n })
    const reservation = granted(await meter.reserve(tenant, unlimited, 300n))
    reservation.settle({ usage: sampleUsage({ account: tenant, nanoUsd: 200n }), receipt: null })
    reservation.close()
    await meter.close()
    assert.deepEqual(await store.balance(tenantLedger(tenant)), {
      balanceNanoUsd: 4_800n,
      heldNanoUsd: 0n,
    })
  })

  it('gives back what an earlier life held, after a grace for late receipts', async (t) => {
    const { store, tenant, options } = await setup(t, { balance: 5_000n })
    const hold = {
      id: testId('hold'),
      account: tenant,
      nanoUsd: 3_000n,
      gateway: options.gateway,
      expiresAt: Date.now() + 60_000,
    }
    await store.openHold(hold)
    await sleep(5)
    const next = createMeter({ ...options, graceMs: 100 })
    t.after(() => next.close())
    next.recover()
    const held = async (): Promise<bigint> =>
      (await store.balance(tenantLedger(tenant))).heldNanoUsd
    assert.equal(await held(), 3_000n)
    await until(async () => (await held()) === 0n)
  })
})

function granted(answer: Reservation | Refusal): Reservation {
  assert.ok(!isRefusal(answer), isRefusal(answer) ? answer.message : '')
  return answer
}

function refused(answer: Reservation | Refusal): Refusal {
  assert.ok(isRefusal(answer), 'it should have been refused')
  return answer
}

function now(answer: ReturnType<Meter['reserve']>): Reservation | Refusal {
  assert.ok(!(answer instanceof Promise), 'it should not have to wait')
  return answer
}

const balance = async (store: Store, account: string): Promise<bigint> =>
  (await store.balance(account)).balanceNanoUsd

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 10_000
  while (!(await condition())) {
    assert.ok(Date.now() < deadline, 'it did not happen within 10 s')
    await sleep(10)
  }
}

type Setup = { balance: bigint; budget?: bigint; trancheMs?: number }

/** A meter over a real store that can be cut off, with tranches of 1000 nano-dollars. */
async function setup(t: TestContext, { balance: funds, budget, trancheMs = 60_000 }: Setup) {
  const store = await testStore(t)
  const tenant = await testTenant(store, funds)
  const key = await testKey(store, tenant, budget ?? null)
  const calls = { openHold: 0, renewHolds: 0 }
  const outage = { on: false }
  const settled: Settlement[] = []
  const reachable = (): void => {
    if (outage.on) throw new Fault('store_unavailable', 'cut off', { retryable: true })
  }
  const observed: Store = {
    ...store,
    async openHold(hold) {
      reachable()
      const refusal = await store.openHold(hold)
      calls.openHold += 1
      return refusal
    },
    async renewHolds(ids, expiresAt) {
      reachable()
      await store.renewHolds(ids, expiresAt)
      calls.renewHolds += 1
    },
    async settle(batch) {
      reachable()
      return await store.settle(batch)
    },
  }
  const options: MeterOptions = {
    store: observed,
    gateway: testId('gw'),
    now: Date.now,
    logger: silentLogger,
    onSettled(settlements: readonly Settlement[], outcomes: readonly SettleOutcome[]) {
      assert.equal(settlements.length, outcomes.length)
      settled.push(...settlements)
    },
    trancheNanoUsd: 1_000n,
    trancheMs,
    batchDelayMs: 10,
    tickMs: 20,
    closeMs: 2_000,
  }
  const meter = createMeter(options)
  t.after(() => meter.close())
  return { meter, store, tenant, key, calls, outage, settled, options }
}
