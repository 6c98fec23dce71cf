import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { isRefusal } from '../../core/base/refusal.ts'
import { leafHash, rootFromPath } from '../../core/protocol/merkle.ts'
import {
  batchText,
  NO_PREVIOUS,
  RECEIPT_DOMAIN,
  receiptText,
  type ProvenReceipt,
} from '../../core/protocol/receipt.ts'
import { ephemeralIdentity, sha256, verifySignature } from '../keys/identity.ts'
import {
  NO_LIMITS,
  nodeLedger,
  TEST_CREDIT,
  tenantLedger,
  type NewApiKey,
  type Transfer,
} from './store.ts'
import { sampleUsage, withReceipts } from './samples.ts'
import { testId, testStore, testTenant } from './testing.ts'

describe('store', { timeout: 120_000 }, () => {
  it('answers a ping', async (t) => {
    await (await testStore(t)).ping()
  })

  it('keeps accounts, and gives what is there when the id comes again', async (t) => {
    const store = await testStore(t)
    const limits = { requestsPerMinute: 60, tokensPerMinute: 100_000, concurrency: null }
    const made = await store.createAccount({ id: 'acct_a', kind: 'tenant', name: 'A', limits })
    assert.deepEqual(made.limits, limits)
    const again = { id: 'acct_a', kind: 'operator' as const, name: 'B', limits: NO_LIMITS }
    assert.deepEqual(await store.createAccount(again), made)
    assert.deepEqual(await store.account('acct_a'), made)
    assert.deepEqual(await store.accounts(), [made])
    assert.equal(await store.account('acct_b'), null)
  })

  it('knows test credit from other money', async (t) => {
    const store = await testStore(t)
    const [given, paid] = [await testTenant(store, 7n), await testTenant(store, 0n)]
    const credit = tenantLedger(paid)
    const transfer = { key: 'paid', debit: 'world:topups', credit, nanoUsd: 5n, reference: '' }
    assert.equal(await store.transfer({ ...transfer, kind: 'deposit' }), 'posted')
    assert.deepEqual([await store.testCredit(given), await store.testCredit(paid)], [7n, 0n])
  })
})

describe('keys', { timeout: 120_000 }, () => {
  it('are found by hash, changed, revoked, and told to caches in order', async (t) => {
    const store = await testStore(t)
    const account = await testTenant(store, 0n)
    const made = await store.createKey(newKey(account))
    assert.deepEqual(await store.keyByHash(made.hash), made)
    assert.deepEqual(await store.keysSince(0n), [made])

    const changed = await store.updateKey(account, made.id, { name: 'new', budgetNanoUsd: 5n })
    assert.ok(changed && changed.revision > made.revision)
    assert.deepEqual(
      { ...changed, revision: made.revision },
      { ...made, name: 'new', budgetNanoUsd: 5n },
    )
    assert.deepEqual(await store.keysSince(made.revision), [changed])

    const revoked = await store.revokeKey(account, made.id)
    assert.ok(revoked?.revokedAt && revoked.revision > changed.revision)
    assert.deepEqual(await store.revokeKey(account, made.id), revoked)
    assert.deepEqual(await store.keys(account), [revoked])
  })

  it('are nobody else’s to change', async (t) => {
    const store = await testStore(t)
    const mine = await store.createKey(newKey(await testTenant(store, 0n)))
    const other = await testTenant(store, 0n)
    assert.equal(await store.updateKey(other, mine.id, { name: 'theirs' }), null)
    assert.equal(await store.revokeKey(other, mine.id), null)
    assert.deepEqual(await store.keys(other), [])
  })

  it('become visible in the order of their revisions, however many are made at once', async (t) => {
    const store = await testStore(t)
    const account = await testTenant(store, 0n)
    const seen: bigint[] = []
    const making = Promise.all(Array.from({ length: 40 }, () => store.createKey(newKey(account))))
    let done = false
    void making.then(() => (done = true))
    for (let last = false; !last;) {
      last = done
      for (const key of await store.keysSince(seen.at(-1) ?? 0n)) seen.push(key.revision)
    }
    await making
    assert.equal(seen.length, 40, 'a cache that asks for newer ones misses none')
  })
})

describe('transfers', { timeout: 120_000 }, () => {
  it('move money once for each key', async (t) => {
    const store = await testStore(t)
    const account = await testTenant(store, 0n)
    const deposit = depositOf(account, 500n)
    assert.equal(await store.transfer(deposit), 'posted')
    assert.equal(await store.transfer(deposit), 'duplicate')
    const other = await store.transfer({ ...deposit, nanoUsd: 501n })
    assert.equal(isRefusal(other) && other.code, 'idempotency_conflict')
    assert.equal((await store.balance(tenantLedger(account))).balanceNanoUsd, 500n)
    assert.equal((await store.balance(TEST_CREDIT)).balanceNanoUsd, -500n)
  })

  it('once, also when the same one comes from several sides at a time', async (t) => {
    const store = await testStore(t)
    const account = await testTenant(store, 0n)
    const deposit = depositOf(account, 500n)
    const answers = await Promise.all([1, 2, 3, 4, 5].map(() => store.transfer(deposit)))
    assert.equal(answers.filter((answer) => answer === 'posted').length, 1)
    assert.equal((await store.balance(tenantLedger(account))).balanceNanoUsd, 500n)
  })

  it('take nothing that is not there, nor what is held', async (t) => {
    const store = await testStore(t)
    const account = await testTenant(store, 500n)
    await store.openHold(holdOf(account, 400n))
    const back: Transfer = {
      ...depositOf(account, 101n),
      debit: tenantLedger(account),
      credit: TEST_CREDIT,
      kind: 'correction',
    }
    const refusal = await store.transfer(back)
    assert.ok(isRefusal(refusal))
    assert.deepEqual(refusal.details, { have: 100n, need: 101n })
    assert.equal(await store.transfer({ ...back, key: 'k2', nanoUsd: 100n }), 'posted')
    const fromNode = { ...back, key: 'k3', debit: nodeLedger('node_x'), nanoUsd: 1n }
    assert.equal(isRefusal(await store.transfer(fromNode)), true)
    assert.deepEqual((await store.audit()).wrong, [])
  })

  it('refuse nonsense: nothing, itself, an attempt’s key, an account that is not there', async (t) => {
    const store = await testStore(t)
    const good = depositOf(await testTenant(store, 0n), 5n)
    for (const [change, code] of [
      [{ nanoUsd: 0n }, 'invalid_value'],
      [{ credit: good.debit }, 'invalid_value'],
      [{ key: 'att_1' }, 'invalid_value'],
      [{ kind: 'usage' as const }, 'invalid_value'],
      [{ credit: 'tenant:acct_nobody' }, 'not_found'],
    ] as const) {
      const answer = await store.transfer({ ...good, ...change })
      assert.equal(isRefusal(answer) && answer.code, code)
    }
  })
})

describe('holds', { timeout: 120_000 }, () => {
  it('end at their end, unless renewed', async (t) => {
    const store = await testStore(t)
    const account = await testTenant(store, 1_000n)
    const [kept, ended] = [holdOf(account, 300n), holdOf(account, 200n)]
    await store.openHold(kept)
    await store.openHold(ended)
    await store.renewHolds([kept.id, 'hold_unknown'], kept.expiresAt + 1000)
    assert.equal(await store.expireHolds(kept.expiresAt), 1)
    assert.equal(await store.expireHolds(kept.expiresAt), 0)
    assert.equal((await store.balance(tenantLedger(account))).heldNanoUsd, 300n)
    await store.closeHold(kept.id)
    await store.closeHold(kept.id)
    await store.renewHolds([kept.id], kept.expiresAt + 9000)
    assert.equal((await store.balance(tenantLedger(account))).heldNanoUsd, 0n)
  })

  it('of one gateway are given back without touching another’s', async (t) => {
    const store = await testStore(t)
    const account = await testTenant(store, 1_000n)
    await store.openHold(holdOf(account, 300n))
    await store.openHold({ ...holdOf(account, 200n), gateway: 'gw_b' })
    assert.equal(await store.closeHoldsOf('gw_a', Date.now() - 60_000), 0)
    assert.equal(await store.closeHoldsOf('gw_a', Date.now() + 1), 1)
    assert.equal((await store.balance(tenantLedger(account))).heldNanoUsd, 200n)
  })

  it('never exceed the balance, however many are opened at once', async (t) => {
    const store = await testStore(t)
    const account = await testTenant(store, 1_000n)
    const answers = await Promise.all(
      Array.from({ length: 30 }, () => store.openHold(holdOf(account, 100n))),
    )
    assert.equal(answers.filter((answer) => answer === null).length, 10)
    assert.deepEqual((await store.audit()).wrong, [])
  })
})

describe('usage and receipts', { timeout: 120_000 }, () => {
  it('sums usage by model, node and day', async (t) => {
    const store = await testStore(t)
    const account = await testTenant(store, 100_000n)
    const request = testId('req')
    const day = 86_400_000
    const usages = [
      sampleUsage({ account, request, finishedAt: 10 * day }),
      sampleUsage({ account, request, finishedAt: 11 * day - 1 }),
      sampleUsage({ account, finishedAt: 11 * day }),
      sampleUsage({ account: await testTenant(store, 9_000n), finishedAt: 10 * day }),
    ]
    await store.settle(usages.map((usage) => ({ usage, receipt: null })))
    const line = { model: 'bard-3m', node: 'node_a', requests: 1 }
    assert.deepEqual(await store.usage(account, 0, 11 * day), [
      { ...line, day: '1970-01-11', inputTokens: 20, outputTokens: 40, nanoUsd: 2_000n },
    ])
    assert.equal((await store.usage(account, 0, 12 * day)).length, 2)
    assert.deepEqual(
      (await store.recentUsage(account, 2)).map(({ finishedAt }) => finishedAt),
      [11 * day, 11 * day - 1],
    )
  })

  it('gives receipts that anyone can check, and only to their own account', async (t) => {
    const store = await testStore(t)
    const account = await testTenant(store, 100_000n)
    const node = ephemeralIdentity('node')
    const request = testId('req')
    const batch = withReceipts(
      [1, 2, 3, 4, 5].map(() => sampleUsage({ account, request })),
      node,
    )
    await store.settle(batch)
    const found = await store.receipts(account, request)
    assert.equal(found.length, 5)
    for (const proven of found) assertProven(proven, node.publicKey)
    const { id, attempt } = batch[3]!.receipt!
    assert.deepEqual(
      (await store.receipts(account, id)).map(({ receipt }) => receipt.attempt),
      [attempt],
    )
    assert.equal((await store.receipts(null, id)).length, 1)
    assert.deepEqual(await store.receipts('acct_other', id), [])
    assert.deepEqual(await store.receipts(account, 'rcpt_unknown'), [])
    assert.equal(found[0]?.receipt.previous, NO_PREVIOUS)
  })
})

describe('nodes', { timeout: 120_000 }, () => {
  it('are remembered with the time they were linked', async (t) => {
    const store = await testStore(t)
    await store.nodeSeen('node_a', 'key', 1_000, 0)
    const seen = await store.nodeSeen('node_a', 'key', 61_000, 60)
    const expected = {
      node: 'node_a',
      nodeKey: 'key',
      tier: 'community' as const,
      firstSeenAt: 1_000,
      lastSeenAt: 61_000,
      linkedSeconds: 60,
    }
    assert.deepEqual(seen, expected)
    assert.deepEqual(await store.setTier('node_a', 'vetted'), { ...expected, tier: 'vetted' })
    assert.deepEqual(await store.nodes(), [{ ...expected, tier: 'vetted' }])
    assert.equal(await store.setTier('node_b', 'vetted'), null)
  })
})

function assertProven({ receipt, proof }: ProvenReceipt, key: string): void {
  const leaf = leafHash(Buffer.from(receiptText(receipt)), sha256)
  const path = proof.path.map((hex) => Buffer.from(hex, 'hex'))
  const { leafIndex: index, leafCount: size } = proof
  const root = rootFromPath({ leaf, index, size, path }, sha256)
  assert.ok(root)
  const text = batchText(Buffer.from(root).toString('hex'), size, proof.signedAtMs)
  assert.ok(verifySignature(key, RECEIPT_DOMAIN, text, proof.signature))
}

const depositOf = (account: string, nanoUsd: bigint): Transfer => ({
  key: testId('post'),
  debit: TEST_CREDIT,
  credit: tenantLedger(account),
  nanoUsd,
  kind: 'deposit',
  reference: 'a test',
})

const holdOf = (account: string, nanoUsd: bigint) => ({
  id: testId('hold'),
  account,
  nanoUsd,
  gateway: 'gw_a',
  expiresAt: Date.now() + 60_000,
})

const newKey = (account: string): NewApiKey => ({
  id: testId('key'),
  account,
  name: 'a key',
  hint: 'bl_abc',
  hash: testId('post').padEnd(64, '0'),
  scopes: ['inference', 'account'],
  limits: { requestsPerMinute: 10, tokensPerMinute: null, concurrency: 2 },
  budgetNanoUsd: null,
  expiresAt: 2_000_000_000_000,
})
