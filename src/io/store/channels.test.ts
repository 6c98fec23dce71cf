import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import type { Hex } from '../../core/base/hex.ts'
import { channelPlace, randomHex, testChannel } from './channel-kit.ts'
import { VOUCHERS, type ChannelActions, type ChannelRecord } from './channel-records.ts'
import { sampleUsage } from './samples.ts'
import { tenantLedger, UNCOLLECTED, type Store } from './store.ts'
import { testStore, testTenant } from './testing.ts'

describe('channels in the store', () => {
  it('belong to the account that was first', async (t) => {
    const { store, account } = await setup(t)
    const stranger = await testTenant(store, 0n)
    const { id, config } = await testChannel(store, account, 100n)
    const final = { balanceUnits: 100n, claimedUnits: 0n, block: 1n }
    const again = await store.bindChannel(channelPlace, { id, account: stranger, config, final })
    assert.equal(again.account, account)
    assert.deepEqual(again.config, config)
    const elsewhere = await store.channelsAt({ ...channelPlace, chainId: 1 })
    assert.deepEqual(elsewhere, [])
  })

  it('credit a voucher once, however often and by how many gateways it is brought', async (t) => {
    const { store, account } = await setup(t)
    const { id } = await testChannel(store, account, 1_000n)
    const ceilings = [100n, 300n, 200n, 300n, 1_000n, 700n]
    const outcomes = await Promise.all(ceilings.map((units) => voucher(store, id, units)))
    assert.ok(outcomes.every((outcome) => outcome === 'credited' || outcome === 'known'))
    assert.equal(await balanceOf(store, account), 1_000_000n)
    const [kept] = await store.channelRecords([id])
    assert.equal(kept?.ceilingUnits, 1_000n)
    assert.equal(kept?.signature, signatureOf(1_000n))
    await holds(store)
  })

  it('keep the signature of the highest ceiling', async (t) => {
    const { store, account } = await setup(t)
    const { id } = await testChannel(store, account, 1_000n)
    await voucher(store, id, 500n)
    assert.equal(await voucher(store, id, 400n), 'known')
    const [kept] = await store.channelRecords([id])
    assert.equal(kept?.signature, signatureOf(500n))
  })

  it('take nothing above the deposit, nothing unknown, nothing while they close', async (t) => {
    const { store, account } = await setup(t)
    const { id } = await testChannel(store, account, 100n)
    assert.equal(await voucher(store, id, 101n), 'above_deposit')
    assert.equal(await voucher(store, randomHex(32), 1n), 'unknown')
    assert.equal(await voucher(store, id, 100n), 'credited')
    await store.leaveChannel(channelPlace, account, id)
    assert.equal(await voucher(store, id, 100n), 'closing')
    assert.equal(await balanceOf(store, account), 0n)
    await holds(store)
  })

  it('credit a batch of many tenants at once', async (t) => {
    const { store } = await setup(t)
    const many = await Promise.all(
      Array.from({ length: 20 }, async (_, index) => {
        const account = await testTenant(store, 0n)
        const { id } = await testChannel(store, account, 1_000n)
        return { account, id, units: BigInt(index + 1) }
      }),
    )
    const outcomes = await store.creditVouchers(
      many.map(({ id, units }) => ({
        channel: id,
        ceilingUnits: units,
        signature: signatureOf(units),
      })),
    )
    assert.deepEqual(new Set(outcomes), new Set(['credited']))
    for (const { account, units } of many)
      assert.equal(await balanceOf(store, account), units * 1_000n)
    await holds(store)
  })

  it('give back what is unspent when their payer leaves, and no more than is not held', async (t) => {
    const { store, account } = await setup(t)
    const { id } = await testChannel(store, account, 100n)
    await voucher(store, id, 100n)
    await spend(store, account, 30_500n)
    const hold = { id: 'hold_a', account, nanoUsd: 20_000n, gateway: 'gw', expiresAt: Date.now() }
    assert.equal(await store.openHold(hold), null)
    const [first] = await look(store, account, id, { exitAt: 5 })
    assert.equal(first?.state, 'closing')
    assert.equal(first?.creditedUnits, 51n, '49 whole units are free')
    assert.equal(first?.chargedUnits, 31n)
    await store.closeHold('hold_a')
    const [second] = await look(store, account, id, { exitAt: 5 })
    assert.equal(second?.creditedUnits, 31n)
    assert.equal(await balanceOf(store, account), 500n)
    await holds(store)
  })

  it('follow a deposit that vanishes and comes back: never credited twice, never lost', async (t) => {
    const { store, account } = await setup(t)
    const { id } = await testChannel(store, account, 100n)
    await voucher(store, id, 100n)
    await spend(store, account, 80_000n)
    for (let round = 0; round < 3; round++) {
      await look(store, account, id, { balanceUnits: 50n })
      assert.equal(await balanceOf(store, account), 0n)
      assert.equal(await balanceOf(store, null), -30_000n, 'the operator stands for it')
      await look(store, account, id, { balanceUnits: 100n })
      assert.equal(await balanceOf(store, account), 20_000n)
      assert.equal(await balanceOf(store, null), 0n)
      await look(store, account, id, { balanceUnits: 100n })
      await holds(store)
    }
    const world = await store.balance(VOUCHERS)
    assert.equal(world.balanceNanoUsd, -100_000n)
  })

  it('leave out what an older block says, but after a reorganisation', async (t) => {
    const { store, account } = await setup(t)
    const { id } = await testChannel(store, account, 100n)
    await voucher(store, id, 100n)
    await look(store, account, id, { balanceUnits: 100n, block: 9n })
    const [kept] = await look(store, account, id, { balanceUnits: 10n, block: 8n })
    assert.equal(kept?.balanceUnits, 100n)
    const sighting = { id, exitAt: null, final: { balanceUnits: 10n, claimedUnits: 0n, block: 8n } }
    const [after] = await store.reconcileChannels(channelPlace, account, [sighting], true)
    assert.equal(after?.creditedUnits, 10n)
    await holds(store)
  })

  it('claim what is spent, once, whoever asks', async (t) => {
    const { store, account } = await setup(t)
    const { id } = await testChannel(store, account, 100n)
    await voucher(store, id, 100n)
    assert.deepEqual(await claim(store, [id]), [], 'nothing is spent')
    await spend(store, account, 30_999n)
    await look(store, account, id, {})
    const both = (await Promise.all([claim(store, [id]), claim(store, [id])])).flat()
    assert.deepEqual(
      both.map(({ claimUnits }) => claimUnits),
      [30n],
    )
    await spend(store, account, 1n)
    await look(store, account, id, {})
    const [more] = await claim(store, [id])
    assert.equal(more?.claimUnits, 31n)
  })

  it('claim again what a failed claim asked for', async (t) => {
    const { store, account } = await setup(t)
    const { id } = await testChannel(store, account, 100n)
    await voucher(store, id, 100n)
    await spend(store, account, 30_000n)
    await look(store, account, id, {})
    const [first] = await claim(store, [id])
    await store.claimMissed(id, 'claim:another')
    assert.deepEqual(await claim(store, [id]), [])
    await store.claimMissed(id, first?.claimPurpose ?? '')
    const [second] = await claim(store, [id])
    assert.equal(second?.claimUnits, 30n)
    assert.notEqual(second?.claimPurpose, first?.claimPurpose)
  })

  it('refund what both agreed on, when nothing is unspent any more', async (t) => {
    const { store, account } = await setup(t)
    const { id } = await testChannel(store, account, 100n)
    await voucher(store, id, 60n)
    await spend(store, account, 30_000n)
    const asked: string[] = []
    const actions: ChannelActions = {
      claim: async (_, purpose, channels) => {
        asked.push(`${purpose} ${channels.map(({ claimUnits }) => claimUnits).join()}`)
      },
      refund: async (_, purpose, __, units) => {
        asked.push(`${purpose} ${units}`)
      },
    }
    assert.equal(await store.writeRefund(id, actions), false)
    await store.leaveChannel(channelPlace, account, id)
    assert.equal(await store.writeRefund(id, actions), true)
    assert.equal(await store.writeRefund(id, actions), false)
    assert.deepEqual(asked, ['claim:1 30', `refund:${id}:1 70`])
    await look(store, account, id, { balanceUnits: 30n, claimedUnits: 30n })
    await store.closeChannel(id, `refund:${id}:1`)
    const [closed] = await store.channelRecords([id])
    assert.equal(closed?.state, 'closed')
    await holds(store)
  })

  it('are found out by the audit when credit and vouchers differ', async (t) => {
    const { store, account } = await setup(t)
    const { id } = await testChannel(store, account, 100n)
    await store.transfer({
      key: 'forged',
      debit: VOUCHERS,
      credit: tenantLedger(account),
      nanoUsd: 5_000n,
      kind: 'voucher',
      reference: id,
    })
    assert.deepEqual((await store.audit()).wrong, [`channel:${id}`])
  })
})

async function setup(t: TestContext) {
  const store = await testStore(t)
  return { store, account: await testTenant(store, 0n) }
}

const signatureOf = (units: bigint): Hex => `0x${units.toString(16).padStart(130, '0')}`

async function voucher(store: Store, channel: Hex, ceilingUnits: bigint) {
  const signature = signatureOf(ceilingUnits)
  const [outcome] = await store.creditVouchers([{ channel, ceilingUnits, signature }])
  return outcome
}

async function spend(store: Store, account: string, nanoUsd: bigint): Promise<void> {
  const [outcome] = await store.settle([
    { usage: sampleUsage({ account, nanoUsd, node: 'node_a' }), receipt: null },
  ])
  assert.equal(outcome, 'settled')
}

const look = (
  store: Store,
  account: string,
  id: Hex,
  {
    exitAt = null,
    balanceUnits = 100n,
    claimedUnits = 0n,
    block = 2n,
  }: {
    exitAt?: number | null
    balanceUnits?: bigint
    claimedUnits?: bigint
    block?: bigint
  },
): Promise<ChannelRecord[]> =>
  store.reconcileChannels(channelPlace, account, [
    { id, exitAt, final: { balanceUnits, claimedUnits, block } },
  ])

const claim = (store: Store, ids: readonly Hex[]): Promise<ChannelRecord[]> =>
  store.writeClaim(ids, { claim: async () => {}, refund: async () => {} })

const balanceOf = async (store: Store, account: string | null): Promise<bigint> =>
  (await store.balance(account === null ? UNCOLLECTED : tenantLedger(account))).balanceNanoUsd

async function holds(store: Store): Promise<void> {
  const { sumNanoUsd, wrong, transfers } = await store.audit()
  assert.deepEqual({ sumNanoUsd, wrong }, { sumNanoUsd: 0n, wrong: [] })
  assert.ok(transfers > 0)
}
