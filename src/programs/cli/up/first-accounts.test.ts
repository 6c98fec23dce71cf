import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { NANO_PER_USD } from '../../../core/base/money.ts'
import { sha256Hex } from '../../../io/keys/identity.ts'
import { createPostgresStore } from '../../../io/store/postgres-store.ts'
import { testDatabaseUrl } from '../../../io/store/testing.ts'
import { silentLogger } from '../../../io/telemetry/logger.ts'
import { firstAccounts } from './first-accounts.ts'

const TIMEOUT = { timeout: 60_000 }

describe('the first accounts of a network', TIMEOUT, () => {
  it('are an operator and a tenant with $5 of test credit, each with a key', TIMEOUT, async (t) => {
    const { store } = await setup(t)
    const made = await firstAccounts(store, null)
    assert.equal(made.balanceNanoUsd, 5n * NANO_PER_USD)
    const [tenantKey, operatorKey] = await Promise.all(
      [made.apiKey, made.operatorKey].map((key) => store.keyByHash(sha256Hex(key))),
    )
    assert.deepEqual(tenantKey?.scopes, ['inference', 'account', 'keys', 'deployments'])
    assert.ok(operatorKey?.scopes.includes('operator'))
    const kinds = (await store.accounts()).map(({ kind }) => kind)
    assert.deepEqual(kinds.toSorted(), ['operator', 'tenant'])
    assert.equal((await store.audit()).sumNanoUsd, 0n)
  })

  it('stay as they are at the next start, with the same keys', TIMEOUT, async (t) => {
    const { store } = await setup(t)
    const first = await firstAccounts(store, null)
    assert.deepEqual(await firstAccounts(store, first), first)
    assert.equal((await store.accounts()).length, 2)
  })

  it('learn what an older Baseload did not know of, with the same key', TIMEOUT, async (t) => {
    const { store } = await setup(t)
    const first = await firstAccounts(store, null)
    const key = await store.keyByHash(sha256Hex(first.apiKey))
    assert.ok(key)
    await store.updateKey(key.account, key.id, { scopes: ['inference', 'account', 'keys'] })
    assert.deepEqual(await firstAccounts(store, first), first)
    const { scopes } = (await store.keyByHash(sha256Hex(first.apiKey))) ?? {}
    assert.deepEqual(scopes, ['inference', 'account', 'keys', 'deployments'])
  })

  it(
    'get new keys, and no new money, when the old ones are lost or revoked',
    TIMEOUT,
    async (t) => {
      const { store } = await setup(t)
      const first = await firstAccounts(store, null)
      const second = await firstAccounts(store, null)
      assert.notEqual(second.apiKey, first.apiKey)
      assert.equal(second.balanceNanoUsd, first.balanceNanoUsd)
      const kept = await store.keyByHash(sha256Hex(second.apiKey))
      await store.revokeKey(kept?.account ?? '', kept?.id ?? '')
      const third = await firstAccounts(store, second)
      assert.notEqual(third.apiKey, second.apiKey)
      assert.equal(third.operatorKey, second.operatorKey)
    },
  )

  it('ignore keys of another database', TIMEOUT, async (t) => {
    const { store } = await setup(t)
    const foreign = { apiKey: 'sk-bl-foreign', operatorKey: 'sk-bl-foreign' }
    assert.notEqual((await firstAccounts(store, foreign)).apiKey, foreign.apiKey)
  })
})

async function setup(t: TestContext) {
  const url = await testDatabaseUrl()
  const store = await createPostgresStore({ url, logger: silentLogger, connections: 2 })
  t.after(() => store.close())
  return { store }
}
