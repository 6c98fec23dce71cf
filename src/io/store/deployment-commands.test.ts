import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { refuse } from '../../core/base/refusal.ts'
import { DAY } from '../../core/base/time.ts'
import { aDeployment } from './deployment-samples.ts'
import { testStore, testTenant } from './testing.ts'

const timeout = 30_000
const UNTIL = 60_000

describe('what one gateway asks of another', () => {
  it('is taken once, by the one that looks after the deployment', { timeout }, async (t) => {
    const { store, deployment, account, send } = await setup(t)
    await send('cmd_1')
    assert.deepEqual(await store.takeCommands('gw_b', 1), [])
    const [taken] = await store.takeCommands('gw_a', 1)
    assert.deepEqual(taken, { id: 'cmd_1', deployment, account, command: { kind: 'close' } })
    assert.deepEqual(await store.takeCommands('gw_a', 2), [])
  })

  it('is taken again by who takes over, until it is answered', { timeout }, async (t) => {
    const { store, send } = await setup(t)
    await send('cmd_1')
    await store.takeCommands('gw_a', 1)
    await store.claimDeployments('gw_b', 20_000, 35_000)
    assert.equal((await store.takeCommands('gw_b', 20_000)).length, 1)
    await store.answerCommand('cmd_1', null)
    await store.claimDeployments('gw_c', 40_000, 55_000)
    assert.equal((await store.takeCommands('gw_c', 40_000)).length, 0)
  })

  it('is nobody’s after its time, and goes with the next one', { timeout }, async (t) => {
    const { store, send } = await setup(t)
    await send('cmd_1')
    await send('cmd_1')
    assert.deepEqual(await store.takeCommands('gw_a', UNTIL), [])
    await send('cmd_2', UNTIL + 1)
    await store.answerCommand('cmd_1', null)
    assert.equal(await store.commandAnswer('cmd_1'), null)
  })

  it('is answered with a refusal as it was, numbers in words', { timeout }, async (t) => {
    const { store, send } = await setup(t)
    await send('cmd_1')
    assert.equal(await store.commandAnswer('cmd_1'), null)
    const details = { have: 10n ** 20n, why: null }
    const refusal = refuse('no_matching_node', 'No.', { param: 'sdl', retryAfterS: 3, details })
    await store.answerCommand('cmd_1', refusal)
    const answer = await store.commandAnswer('cmd_1')
    assert.deepEqual(answer?.refusal, {
      ...refusal,
      details: { have: '1' + '0'.repeat(20), why: null },
    })
    await store.removeCommand('cmd_1')
    assert.equal(await store.commandAnswer('cmd_1'), null)
  })
})

describe('gateways over one store', () => {
  it('meet, and have what others signed for them', { timeout }, async (t) => {
    const store = await testStore(t)
    assert.deepEqual(await store.meetGateways('gw_a', 'key a', 1), { strangers: [], proofs: [] })
    assert.deepEqual((await store.meetGateways('gw_b', 'key b', 2)).strangers, ['gw_a'])
    await store.vouchFor('gw_b', 'gw_a', 'signed')
    await store.vouchFor('gw_b', 'gw_a', 'signed again')
    assert.deepEqual(await store.meetGateways('gw_a', 'key a', 3), {
      strangers: ['gw_b'],
      proofs: [{ gateway: 'gw_b', key: 'key b', signature: 'signed' }],
    })
    assert.deepEqual((await store.meetGateways('gw_b', 'key b', 4)).strangers, [])
  })

  it('forget who was not there for a day', { timeout }, async (t) => {
    const store = await testStore(t)
    await store.meetGateways('gw_a', 'key a', 1)
    assert.equal((await store.meetGateways('gw_b', 'key b', DAY)).strangers.length, 1)
    assert.equal((await store.meetGateways('gw_b', 'key b', DAY + 1)).strangers.length, 0)
  })
})

/** A deployment that `gw_a` looks after until 16,000. */
async function setup(t: TestContext) {
  const store = await testStore(t)
  const account = await testTenant(store, 0n)
  const stored = aDeployment(account)
  await store.createDeployment(stored, 'gw_a', 16_000, [])
  const deployment = stored.deployment.id
  const command = { kind: 'close' as const }
  const send = (id: string, now = 1) =>
    store.sendCommand({ id, deployment, command, now, expiresAt: UNTIL })
  return { store, account, deployment, send }
}
