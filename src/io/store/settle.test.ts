import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { silentLogger } from '../telemetry/logger.ts'
import { createPostgresStore } from './postgres-store.ts'
import { nodeLedger, tenantLedger, UNCOLLECTED, type Settlement, type Store } from './store.ts'
import { sampleUsage, withReceipts } from './samples.ts'
import { testDatabaseUrl, testId, testKey, testStore, testTenant } from './testing.ts'

const timeout = 120_000
const later = Date.now() + 60_000

describe('settle', { timeout }, () => {
  it('pays the node from the hold, books the key, and keeps the receipt', async (t) => {
    const { store, tenant, key, hold } = await setup(t, { balance: 10_000n, held: 5_000n })
    const usage = sampleUsage({ account: tenant, apiKey: key, hold, nanoUsd: 3_000n })
    assert.deepEqual(await store.settle(withReceipts([usage])), ['settled'])

    assert.deepEqual(await store.balance(tenantLedger(tenant)), {
      balanceNanoUsd: 7_000n,
      heldNanoUsd: 2_000n,
    })
    assert.equal((await store.balance(nodeLedger('node_a'))).balanceNanoUsd, 3_000n)
    assert.equal((await store.keySpending([key])).get(key), 3_000n)
    assert.deepEqual(await store.recentUsage(tenant, 10), [usage])
    assert.equal((await store.receipts(tenant, usage.request)).length, 1)
    await clean(store)
  })

  it('pays an attempt once, however often it comes', async (t) => {
    const { store, tenant } = await setup(t, { balance: 10_000n })
    const batch = withReceipts([sampleUsage({ account: tenant }), sampleUsage({ account: tenant })])
    assert.deepEqual(await store.settle(batch), ['settled', 'settled'])
    assert.deepEqual(await store.settle(batch), ['duplicate', 'duplicate'])
    assert.deepEqual(await store.settle([...batch, batch[0]!]), [
      'duplicate',
      'duplicate',
      'duplicate',
    ])
    assert.equal(await left(store, tenant), 8_000n)
    await clean(store)
  })

  it('pays the first of two in one batch', async (t) => {
    const { store, tenant } = await setup(t, { balance: 10_000n })
    const first = sampleUsage({ account: tenant, nanoUsd: 10n })
    const second = { ...first, nanoUsd: 11n }
    assert.deepEqual(await store.settle([bare(first), bare(second), bare(first)]), [
      'settled',
      'conflict',
      'duplicate',
    ])
    assert.equal(await left(store, tenant), 9_990n)
  })

  it('tells the same attempt with other contents from the same again', async (t) => {
    const { store, tenant } = await setup(t, { balance: 10_000n })
    const usage = sampleUsage({ account: tenant })
    await store.settle([bare(usage)])
    for (const change of [
      { nanoUsd: 999n },
      { node: 'node_b' },
      { account: 'acct_other' },
      { outputTokens: 21 },
      { model: 'other' },
    ]) {
      assert.deepEqual(await store.settle([bare({ ...usage, ...change })]), ['conflict'])
    }
    const again = { ...usage, hold: 'hold_gone', finishedAt: usage.finishedAt + 1 }
    assert.deepEqual(await store.settle([bare(again)]), ['duplicate'])
    assert.equal(await left(store, tenant), 9_000n)
    await clean(store)
  })

  it('keeps a receipt that comes after the gateway was its own witness, and pays it nothing', async (t) => {
    const { store, tenant } = await setup(t, { balance: 10_000n })
    const counted = sampleUsage({ account: tenant, witness: 'gateway', nanoUsd: 700n })
    assert.deepEqual(await store.settle([bare(counted)]), ['settled'])
    const late = withReceipts([{ ...counted, witness: 'node', nanoUsd: 1_000n }])
    assert.deepEqual(await store.settle(late), ['duplicate'])
    assert.deepEqual(await store.settle(late), ['duplicate'])

    assert.equal(await left(store, tenant), 9_300n)
    assert.equal((await store.receipts(null, late[0]!.receipt!.id)).length, 1)
    await clean(store)
  })

  it('keeps no receipt of another node', async (t) => {
    const { store, tenant } = await setup(t, { balance: 10_000n })
    const usage = sampleUsage({ account: tenant, witness: 'gateway' })
    await store.settle([bare(usage)])
    const foreign = withReceipts([{ ...usage, witness: 'node', node: 'node_b' }])
    assert.deepEqual(await store.settle(foreign), ['conflict'])
    assert.deepEqual(await store.receipts(null, usage.request), [])
  })

  it('pays the node in full when the tenant cannot, and the operator bears the rest', async (t) => {
    const { store, tenant } = await setup(t, { balance: 2_500n })
    const batch = [1, 2, 3, 4].map(() => bare(sampleUsage({ account: tenant })))
    const outcomes = await store.settle(batch)
    assert.deepEqual(outcomes.toSorted(), ['settled', 'settled', 'uncollected', 'uncollected'])

    assert.equal(await left(store, tenant), 0n)
    assert.equal((await store.balance(nodeLedger('node_a'))).balanceNanoUsd, 4_000n)
    assert.equal((await store.balance(UNCOLLECTED)).balanceNanoUsd, -1_500n)
    await clean(store)
  })

  it('does not touch what is held for others', async (t) => {
    const { store, tenant, hold } = await setup(t, { balance: 2_000n, held: 1_500n })
    assert.deepEqual(await store.settle([bare(sampleUsage({ account: tenant, nanoUsd: 800n }))]), [
      'uncollected',
    ])
    assert.equal(await left(store, tenant), 1_500n)
    assert.deepEqual(
      await store.settle([bare(sampleUsage({ account: tenant, hold, nanoUsd: 1_500n }))]),
      ['settled'],
    )
    await clean(store)
  })

  it('draws nothing from a hold of another tenant', async (t) => {
    const { store, tenant, hold } = await setup(t, { balance: 2_000n, held: 2_000n })
    const other = await testTenant(store, 100n)
    assert.deepEqual(
      await store.settle([bare(sampleUsage({ account: other, hold, nanoUsd: 500n }))]),
      ['uncollected'],
    )
    assert.deepEqual(await store.balance(tenantLedger(tenant)), {
      balanceNanoUsd: 2_000n,
      heldNanoUsd: 2_000n,
    })
    await clean(store)
  })

  it('pays for an account that is not there, and for what is free', async (t) => {
    const { store, tenant } = await setup(t, { balance: 1n })
    const batch = [
      bare(sampleUsage({ account: 'acct_nobody' })),
      bare(sampleUsage({ account: tenant, nanoUsd: 0n })),
    ]
    assert.deepEqual(await store.settle(batch), ['uncollected', 'settled'])
    await clean(store)
  })

  it('moves nothing at all when one row cannot be stored', async (t) => {
    const { store, tenant } = await setup(t, { balance: 10_000n })
    const good = sampleUsage({ account: tenant })
    for (const bad of [
      sampleUsage({ account: tenant, nanoUsd: -1n }),
      sampleUsage({ account: tenant, outputTokens: 2 ** 31 }),
      sampleUsage({ account: tenant, model: 'two\nlines' }),
      sampleUsage({ account: '' }),
    ]) {
      await assert.rejects(store.settle([bare(good), bare(bad)]))
    }
    assert.equal(await left(store, tenant), 10_000n)
    assert.deepEqual(await store.recentUsage(tenant, 10), [])
    await clean(store)
  })

  it('pays once when two gateways settle the same attempts at the same time', async (t) => {
    const url = await testDatabaseUrl()
    const open = (): Promise<Store> => createPostgresStore({ url, logger: silentLogger })
    const [store, other] = await Promise.all([open(), open()])
    t.after(() => Promise.all([store.close(), other.close()]))
    const tenant = await testTenant(store, 10_000_000n)
    for (let round = 0; round < 10; round++) {
      const batch = Array.from({ length: 50 }, (_, i) =>
        bare(sampleUsage({ account: tenant, node: `node_${i % 3}`, nanoUsd: 7n })),
      )
      const answers = await Promise.all([
        store.settle(batch),
        other.settle(batch.toReversed()),
        other.settle(batch.slice(25)),
      ])
      const settled = answers.flat().filter((outcome) => outcome === 'settled').length
      assert.equal(settled, 50)
    }
    assert.equal(await left(store, tenant), 10_000_000n - 10n * 50n * 7n)
    await clean(store)
  })
})

const bare = (usage: Settlement['usage']): Settlement => ({ usage, receipt: null })

const left = async (store: Store, tenant: string): Promise<bigint> =>
  (await store.balance(tenantLedger(tenant))).balanceNanoUsd

async function clean(store: Store): Promise<void> {
  const audit = await store.audit()
  assert.deepEqual({ sum: audit.sumNanoUsd, wrong: audit.wrong }, { sum: 0n, wrong: [] })
  assert.ok(audit.transfers > 0, 'there was something to audit')
}

async function setup(t: TestContext, { balance, held = 0n }: { balance: bigint; held?: bigint }) {
  const store = await testStore(t)
  const tenant = await testTenant(store, balance)
  const key = await testKey(store, tenant)
  const hold = testId('hold')
  if (held > 0n) {
    const refusal = await store.openHold({
      id: hold,
      account: tenant,
      nanoUsd: held,
      gateway: 'gw_a',
      expiresAt: later,
    })
    assert.equal(refusal, null)
  }
  return { store, tenant, key, hold }
}
