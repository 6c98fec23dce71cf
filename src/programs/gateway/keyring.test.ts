/** Keys in memory: who gets in, what a change elsewhere does, and what a wrong key costs. */
import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { isRefusal } from '../../core/base/refusal.ts'
import { sha256Hex } from '../../io/keys/identity.ts'
import type { Account, ApiKey, Scope, Store } from '../../io/store/store.ts'
import { silentLogger } from '../../io/telemetry/logger.ts'
import { createKeyring, type KeyEntry } from './keyring.ts'
import { aClock, aKey, turn } from './test-kit.ts'

describe('keyring', () => {
  it('knows a loaded key without asking anybody', async (t) => {
    const { keyring, store } = await setup(t)
    store.down = true
    const entry = keyring.authenticate('Bearer sk-alice', 'inference')
    assert.ok(!(entry instanceof Promise) && !isRefusal(entry))
    assert.equal(entry.account.name, 'alice')
    assert.equal(keyring.byTag(entry.tag), entry)
    assert.equal(keyring.byTag('no tag'), null)
  })

  const headers: Record<string, string | undefined> = {
    'no header': undefined,
    'an empty one': '',
    'no scheme': 'sk-alice',
    'another scheme': 'Basic sk-alice',
    'two words': 'Bearer sk alice',
    'a novel': `Bearer ${'x'.repeat(201)}`,
  }
  for (const [what, header] of Object.entries(headers)) {
    it(`refuses ${what} at once`, async (t) => {
      const { keyring, store } = await setup(t)
      assert.ok(isRefusal(keyring.authenticate(header, 'inference')))
      assert.equal(store.asked, 0)
    })
  }

  it('asks the store about a key it does not know, once, and remembers wrong ones for a moment', async (t) => {
    const { enter, store, clock } = await setup(t)
    assert.equal(await enter('sk-wrong'), 'invalid_api_key')
    assert.equal(await enter('sk-wrong'), 'invalid_api_key')
    assert.equal(store.asked, 1)
    clock.jump(6_000)
    await enter('sk-wrong')
    assert.equal(store.asked, 2)
  })

  it('takes a key made at another gateway by asking, or by the poll', async (t) => {
    const { enter, store, poll } = await setup(t)
    store.put(key('sk-new', 2n))
    assert.equal(await enter('sk-new'), 'alice')
    assert.equal(await enter('sk-later'), 'invalid_api_key')
    store.put(key('sk-later', 3n))
    await poll()
    assert.equal(await enter('sk-later'), 'alice')
  })

  it('hears that a key was revoked at another gateway within a poll', async (t) => {
    const { enter, store, poll, clock } = await setup(t)
    store.put({ ...key('sk-alice', 2n), revokedAt: clock.now() })
    assert.equal(await enter('sk-alice'), 'alice')
    await poll()
    assert.equal(await enter('sk-alice'), 'revoked_api_key')
  })

  it('takes a change here at once, and never an older row after a newer one', async (t) => {
    const { keyring, enter, clock } = await setup(t)
    keyring.changed({ ...key('sk-alice', 3n), revokedAt: clock.now() })
    keyring.changed(key('sk-alice', 2n))
    await turn()
    assert.equal(await enter('sk-alice'), 'revoked_api_key')
  })

  it('refuses a key past its end, and one without the scope', async (t) => {
    const { keyring, enter, clock } = await setup(t)
    keyring.changed({ ...key('sk-alice', 2n), expiresAt: clock.now() + 1_000 })
    await turn()
    assert.equal(await enter('sk-alice'), 'alice')
    assert.equal(await enter('sk-alice', 'operator'), 'scope_missing')
    clock.jump(1_000)
    assert.equal(await enter('sk-alice'), 'expired_api_key')
  })

  it('hears of new limits of an account within ten polls, also for entries in use', async (t) => {
    const { keyring, store, poll } = await setup(t)
    const entry = keyring.authenticate('Bearer sk-alice', 'inference')
    assert.ok(!(entry instanceof Promise) && !isRefusal(entry))
    store.account = {
      ...store.account,
      limits: { requestsPerMinute: 1, tokensPerMinute: null, concurrency: null },
    }
    for (let i = 0; i < 10; i++) await poll()
    assert.equal(entry.account.limits.requestsPerMinute, 1)
  })

  it('outlives a store that is away, and catches up', async (t) => {
    const { keyring, enter, store, poll, clock } = await setup(t)
    store.down = true
    await poll()
    assert.equal(await enter('sk-alice'), 'alice')
    await assert.rejects(Promise.resolve(keyring.authenticate('Bearer sk-x', 'inference')))
    store.put({ ...key('sk-alice', 2n), revokedAt: clock.now() })
    store.down = false
    await poll()
    assert.equal(await enter('sk-alice'), 'revoked_api_key')
  })

  it('asks no more once it is stopped', async (t) => {
    const { keyring, store, poll } = await setup(t)
    keyring.stop()
    const before = store.polled
    await poll()
    assert.equal(store.polled, before)
  })
})

const key = (secret: string, revision: bigint): ApiKey => ({
  ...aKey('alice').key,
  id: `key_${secret.slice(3).padEnd(24, '0')}`,
  hash: sha256Hex(secret),
  revision,
})

class FakeStore {
  account: Account = aKey('alice').account
  readonly rows = new Map<string, ApiKey>()
  down = false
  asked = 0
  polled = 0

  put(row: ApiKey): void {
    this.rows.set(row.hash, row)
  }
  readonly keyByHash = async (hash: string): Promise<ApiKey | null> => {
    this.#reach()
    this.asked += 1
    return this.rows.get(hash) ?? null
  }
  readonly keysSince = async (revision: bigint): Promise<ApiKey[]> => {
    this.#reach()
    this.polled += 1
    return [...this.rows.values()].filter((row) => row.revision > revision)
  }
  readonly accounts = async (): Promise<Account[]> => {
    this.#reach()
    return [this.account]
  }

  #reach(): void {
    if (this.down) throw new Error('away')
  }
}

async function setup(t: TestContext) {
  const clock = aClock(t)
  const store = new FakeStore()
  store.put(key('sk-alice', 1n))
  const { keyByHash, keysSince, accounts } = store
  const asStore: Pick<Store, 'keyByHash' | 'keysSince' | 'accounts' | 'account'> = {
    keyByHash,
    keysSince,
    accounts,
    account: async () => store.account,
  }
  const keyring = createKeyring({ store: asStore, now: clock.now, logger: silentLogger })
  await keyring.start()
  t.after(() => keyring.stop())
  return {
    keyring,
    store,
    clock,
    /** The account's name, or the refusal's code. */
    enter: async (secret: string, scope: Scope = 'inference'): Promise<string> => {
      const entry: Awaited<ReturnType<typeof keyring.authenticate>> = await keyring.authenticate(
        `Bearer ${secret}`,
        scope,
      )
      return isRefusal(entry) ? entry.code : nameOf(entry)
    },
    poll: async (): Promise<void> => {
      clock.pass(1_000)
      for (let i = 0; i < 4; i++) await turn()
    },
  }
}

const nameOf = ({ account }: KeyEntry): string => account.name
