import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { describe, it, type TestContext } from 'node:test'
import { Fault } from '../../core/base/refusal.ts'
import { silentLogger } from '../telemetry/logger.ts'
import { MAX_DATA_BYTES, writeAction } from './chain-actions.ts'
import type { NewAction, SignedTransaction } from './chain-records.ts'
import { openDatabase } from './database.ts'
import { createPostgresStore } from './postgres-store.ts'
import { testDatabaseUrl } from './testing.ts'

const TARGET = `0x${'Ab'.repeat(20)}` as const
const SENDER = `0x${'Cd'.repeat(20)}` as const
const MINUTE = 60_000

describe('a chain action', { timeout: 60_000 }, () => {
  it('is written with what caused it, or not at all', async (t) => {
    const { store, database } = await setup(t)
    await assert.rejects(
      database.transaction(async (sql) => {
        await writeAction(sql, action('claim:1'))
        throw new Error('the cause did not hold')
      }),
    )
    assert.equal(await store.chainAction('claim:1'), null)
    assert.equal(
      await database.transaction((sql) => writeAction(sql, action('claim:1'))),
      'written',
    )
    const there = await store.chainAction('claim:1')
    assert.deepEqual(
      [there?.state, there?.target, there?.data, there?.details],
      ['written', TARGET.toLowerCase(), '0xaabb', { rows: '7' }],
    )
  })

  it('is one for its purpose', async (t) => {
    const { store } = await setup(t)
    assert.equal(await store.writeChainAction(action('root:1')), 'written')
    assert.equal(await store.writeChainAction(action('root:1')), 'duplicate')
    await assert.rejects(
      store.writeChainAction({ ...action('root:1'), data: '0xcc' }),
      (error) => error instanceof Fault && error.code === 'idempotency_conflict',
    )
    assert.equal((await store.chainActions({ limit: 10 })).length, 1)
  })

  it('is refused when no node would pass it on', async (t) => {
    const { store } = await setup(t)
    const most = action('most', `0x${'11'.repeat(MAX_DATA_BYTES)}`)
    assert.equal(await store.writeChainAction(most), 'written')
    const bad = [
      action('more', `0x${'11'.repeat(MAX_DATA_BYTES + 1)}`),
      action(''),
      action('p'.repeat(201)),
      action('odd', '0xabc'),
      { ...action('nobody'), target: '0x12' as const },
    ]
    for (const wrong of bad)
      await assert.rejects(
        store.writeChainAction(wrong),
        (error) => error instanceof Fault && error.code === 'action_invalid',
      )
  })

  it('gets a nonce that no other has, by whomever it is asked', async (t) => {
    const { store, sign } = await setup(t)
    for (let i = 0; i < 20; i++) await store.writeChainAction(action(`a:${i}`))
    await store.holdSender(SENDER, 'gw_a', MINUTE)
    const signs = Array.from({ length: 40 }, (_, i) => sign(`a:${i % 20}`, 5))
    const outcomes = await Promise.all(signs)
    assert.equal(outcomes.filter(Boolean).length, 20, 'each once')
    const nonces = (await store.actionsInFlight(SENDER)).map(({ nonce }) => nonce)
    assert.deepEqual(
      nonces,
      Array.from({ length: 20 }, (_, i) => i + 5),
    )
  })

  it('fills a nonce that was left free', async (t) => {
    const { store, sign } = await setup(t)
    for (const purpose of ['one', 'two', 'three', 'four'])
      await store.writeChainAction(action(purpose))
    await store.holdSender(SENDER, 'gw_a', MINUTE)
    await sign('one', 1)
    await sign('two', 1)
    await sign('three', 1)
    await store.loseNonce('two', 2, 'somebody else used it')
    assert.equal((await store.chainAction('two'))?.state, 'written')
    await sign('four', 1)
    assert.equal((await store.chainAction('four'))?.nonce, 2)
    await sign('two', 3)
    assert.equal((await store.chainAction('two'))?.nonce, 4)
  })

  it('is signed only by the gateway that holds the key just then', async (t) => {
    const { store, sign } = await setup(t)
    await store.writeChainAction(action('one'))
    assert.equal(await sign('one', 0), false, 'nobody holds it')
    assert.equal(await store.holdSender(SENDER, 'gw_a', MINUTE), true)
    assert.equal(await store.holdSender(SENDER, 'gw_b', MINUTE), false)
    assert.equal(await sign('one', 0, 'gw_b'), false)
    await store.releaseSender(SENDER, 'gw_b')
    assert.equal(await store.holdSender(SENDER, 'gw_b', MINUTE), false, 'not its to release')
    assert.equal(await store.holdSender(SENDER, 'gw_a', 0), true)
    assert.equal(await store.holdSender(SENDER, 'gw_b', MINUTE), true, 'it was over')
    assert.equal(await sign('one', 0, 'gw_b'), true)
  })

  it('goes from signed to mined, back, and to its end', async (t) => {
    const { store, sign } = await setup(t)
    await store.writeChainAction(action('one'))
    await store.holdSender(SENDER, 'gw_a', MINUTE)
    await sign('one', 0)
    const [flight] = await store.actionsInFlight(SENDER)
    const hash = flight?.transactions[0]?.hash ?? '0x'
    const [here, there] = [`0x${'01'.repeat(32)}`, `0x${'02'.repeat(32)}`] as const
    await store.noteMined('one', { hash, blockNumber: 7n, blockHash: here, reverted: false })
    await store.noteUnmined('one', there)
    assert.equal((await store.chainAction('one'))?.state, 'mined', 'another block than its own')
    await store.noteUnmined('one', here)
    assert.equal((await store.chainAction('one'))?.mined, null)
    await store.noteMined('one', { hash, blockNumber: 8n, blockHash: there, reverted: true })
    assert.equal(await store.noteSettled('one', here, null, 1), null)
    const settled = await store.noteSettled('one', there, 'RootTooEarly', 2)
    assert.deepEqual([settled?.state, settled?.problem], ['failed', 'RootTooEarly'])
    await store.noteMined('one', { hash, blockNumber: 9n, blockHash: here, reverted: false })
    assert.equal((await store.chainAction('one'))?.state, 'failed', 'the end is the end')
    assert.deepEqual(await store.openChainActions(), { written: 0, signed: 0, mined: 0 })
  })

  it('keeps all that was signed for it, the dearest last', async (t) => {
    const { store, sign } = await setup(t)
    await store.writeChainAction(action('one'))
    await store.holdSender(SENDER, 'gw_a', MINUTE)
    await sign('one', 3)
    const of = { purpose: 'one', sender: SENDER, gateway: 'gw_a', nonce: 3 }
    assert.equal(await store.addTransaction(of, transaction(10n ** 30n)), true)
    assert.equal(await store.addTransaction({ ...of, nonce: 4 }, transaction(1n)), false)
    assert.equal(await store.addTransaction({ ...of, gateway: 'gw_b' }, transaction(1n)), false)
    const [flight] = await store.actionsInFlight(SENDER)
    assert.deepEqual(
      flight?.transactions.map(({ maxFeePerGas }) => maxFeePerGas),
      [100n, 10n ** 30n],
    )
  })

  it('waits when it cannot be sent now', async (t) => {
    const { store } = await setup(t)
    for (const purpose of ['one', 'two']) await store.writeChainAction(action(purpose))
    await store.deferAction('one', 'the contract says EpochNotOver(3)', 1000)
    const due = async (now: number) =>
      (await store.actionsToSend(now, 10)).map(({ purpose }) => purpose)
    assert.deepEqual(await due(999), ['two'])
    assert.deepEqual(await due(1000), ['one', 'two'])
    assert.equal((await store.chainAction('one'))?.problem, 'the contract says EpochNotOver(3)')
  })
})

describe('the last final blocks', { timeout: 60_000 }, () => {
  it('are the newest, up to where they hold', async (t) => {
    const { store } = await setup(t)
    await store.addFinalBlocks([1, 2, 3, 4, 5].map(block), 3)
    assert.deepEqual(await store.finalBlocks(10), [5, 4, 3].map(block))
    await store.dropFinalBlocks(4n)
    await store.addFinalBlocks([{ number: 4n, hash: '0xother' }], 3)
    assert.deepEqual(await store.finalBlocks(1), [{ number: 4n, hash: '0xother' }])
    assert.deepEqual((await store.finalBlocks(10)).length, 2)
  })

  it('are of one chain for ever', async (t) => {
    const { store } = await setup(t)
    const first = { chainId: 31_337, genesis: '0x01' as const }
    assert.deepEqual(await store.meetChain(first), first)
    assert.deepEqual(await store.meetChain({ chainId: 1, genesis: '0x02' }), first)
  })
})

const action = (purpose: string, data: `0x${string}` = '0xaabb'): NewAction => ({
  purpose,
  kind: 'test',
  target: TARGET,
  data,
  details: { rows: 7n },
})

const block = (n: number) => ({ number: BigInt(n), hash: `0x${n}` as const })

const transaction = (maxFeePerGas: bigint): SignedTransaction => ({
  hash: `0x${randomBytes(32).toString('hex')}`,
  raw: '0x02',
  maxFeePerGas,
  maxPriorityFeePerGas: 1n,
})

async function setup(t: TestContext) {
  const url = await testDatabaseUrl()
  const store = await createPostgresStore({ url, logger: silentLogger })
  const database = openDatabase({ url, logger: silentLogger, connections: 2 })
  t.after(async () => {
    await database.close()
    await store.close()
  })
  const sign = (purpose: string, from: number, gateway = 'gw_a'): Promise<boolean> =>
    store.signAction(
      { purpose, sender: SENDER, gateway, from, gas: 21_000n, sinceBlock: 0n },
      async () => transaction(100n),
    )
  return { store, database, sign }
}
