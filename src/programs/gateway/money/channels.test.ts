import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { isRefusal, type Refusal } from '../../../core/base/refusal.ts'
import { VOUCHERS } from '../../../io/store/channel-records.ts'
import { sampleUsage } from '../../../io/store/samples.ts'
import { tenantLedger, UNCOLLECTED, type Store } from '../../../io/store/store.ts'
import { testStore, testTenant } from '../../../io/store/testing.ts'
import { accountOfPayer } from './channel-book.ts'
import { FakeChannelChain, TestPayer, testChannels } from './channel-kit.ts'
import type { Accepted, ChannelView } from './channel-service.ts'

describe('channels on a chain', () => {
  it('go from deposit to cooperative close, equal to the unit', async (t) => {
    const { chain, store, channels, payer, account } = await setup(t)
    await payer.deposit(1_000_000n)
    assert.equal(codeOf(await bind(channels, payer, account)), 'deposit_not_final')
    await chain.finalise()
    const view = granted(await bind(channels, payer, account))
    assert.equal(view.balanceUnits, 1_000_000n)
    const first = taken(await channels.book.accept(payer.voucher(400_000n)))
    assert.equal(first.creditedUnits, 400_000n)
    assert.equal(await first.durable, null)
    assert.equal(await tenant(store, account), 400_000_000n)
    await use(store, account, 123_456_789n)

    await channels.claims.claimNow()
    assert.deepEqual(await chain.settle(store), ['claim:1', 'settle:claim:1'])
    assert.equal(await chain.balanceOf(chain.operator), 123_456n, 'what was spent, in whole units')
    await channels.look()

    const closing = granted(await channels.book.close(payer.channelId, account))
    assert.equal(closing.state, 'closing')
    assert.equal(codeOf(await channels.book.accept(payer.voucher(500_000n))), 'channel_closing')
    await channels.look()
    assert.deepEqual(await chain.settle(store), [
      'claim:2',
      'settle:claim:2',
      `refund:${payer.channelId}:1`,
    ])
    await channels.look()
    assert.equal(channels.book.channel(payer.channelId)?.state, 'closed')
    assert.equal(await chain.balanceOf(chain.operator), 123_457n)
    assert.equal(await chain.balanceOf(payer.config.payer), FUNDS - 123_457n)
    assert.equal(await tenant(store, account), 211n, 'the rest of the unit that was begun')
    assert.equal(await ledger(store, VOUCHERS), -123_457_000n)
    assert.equal(await chain.balanceOf(chain.addresses.channels), 0n)
    await holds(store)
  })

  it('open for the account of a payer who has no other', async (t) => {
    const { chain, store, channels, payer } = await setup(t)
    await payer.deposit(5_000n)
    await chain.finalise()
    const accepted = taken(await channels.book.accept(payer.voucher(1_000n), payer.config))
    assert.equal(accepted.channel.account, accountOfPayer(payer.config.payer))
    assert.equal(await accepted.durable, null)
    assert.equal(await tenant(store, accepted.channel.account), 1_000_000n)
  })

  it('refuse by name what they cannot take', async (t) => {
    const { chain, channels, payer, account } = await setup(t)
    const { book } = channels
    assert.equal(codeOf(await book.accept(payer.voucher(1n))), 'channel_unknown')
    assert.equal(codeOf(await bind(channels, payer, account)), 'channel_unknown')
    await payer.deposit(5_000n)
    await chain.finalise()
    const other = (more: Partial<TestPayer['config']>) => new TestPayer(chain, payer.wallet, more)
    const stranger = `0x${'99'.repeat(20)}` as const
    for (const [more, code] of [
      [{ receiver: stranger }, 'channel_wrong_payee'],
      [{ receiverAuthorizer: stranger }, 'channel_wrong_payee'],
      [{ token: stranger }, 'channel_wrong_token'],
      [{ withdrawDelay: 899 }, 'channel_delay_too_short'],
      [{ withdrawDelay: 900 }, 'channel_unknown'],
      [{ payerAuthorizer: stranger }, 'voucher_signature_invalid'],
    ] as const)
      assert.equal(codeOf(await bind(channels, other(more), account)), code, JSON.stringify(more))
    const forged = payer.voucher(1n, `0x${'11'.repeat(32)}`)
    assert.equal(
      codeOf(await book.open(payer.config, account, forged)),
      'voucher_signature_invalid',
    )
    granted(await bind(channels, payer, account))
    assert.equal(codeOf(await book.accept(forged)), 'voucher_signature_invalid')
    assert.equal(codeOf(await book.accept(payer.voucher(5_001n))), 'voucher_above_deposit')
    taken(await book.accept(payer.voucher(5_000n)))
    assert.equal(codeOf(await book.accept(payer.voucher(5_000n))), 'voucher_stale')
    assert.equal(codeOf(await book.accept(forged)), 'voucher_stale')
    assert.equal(codeOf(book.verify(forged)), 'voucher_signature_invalid')
    assert.equal(book.verify(payer.voucher(1n)), null)
  })

  it('belong to whom they were bound first', async (t) => {
    const { chain, store, channels, payer, account } = await setup(t)
    await payer.deposit(5_000n)
    await chain.finalise()
    granted(await bind(channels, payer, account))
    const stranger = await testTenant(store, 0n)
    assert.equal(codeOf(await bind(channels, payer, stranger)), 'conflict')
    assert.equal(codeOf(await channels.book.close(payer.channelId, stranger)), 'channel_unknown')
  })

  it('tell a tenant who runs dry what to sign', async (t) => {
    const { chain, channels, payer, account } = await setup(t)
    await payer.deposit(5_000n)
    await chain.finalise()
    granted(await bind(channels, payer, account))
    await taken(await channels.book.accept(payer.voucher(100n))).durable
    const refusal = channels.book.voucherFor(account, 40_000n, 100_001n)
    assert.equal(refusal?.code, 'voucher_needed')
    assert.equal(refusal?.details['needCeiling'], 100n + 61n)
    assert.equal(refusal?.details['step'], 1_000n)
    assert.equal(channels.book.voucherFor(account, 0n, 4_900_000n)?.code, 'voucher_needed')
    assert.equal(channels.book.voucherFor(account, 0n, 4_900_001n), null, 'not deposited')
    assert.equal(channels.book.voucherFor('acct_other', 0n, 1n), null)
  })

  it('give back and claim at once when their payer leaves, seen before it is final', async (t) => {
    const { chain, store, channels, payer, account } = await setup(t)
    await funded(chain, channels, payer, account, 1_000n)
    await use(store, account, 300_000n)
    await payer.exit(1_000n)
    await channels.look()
    const view = channels.book.channel(payer.channelId)
    assert.equal(view?.state, 'closing')
    assert.ok((view?.exitAt ?? 0) > Date.now())
    assert.equal(await tenant(store, account), 0n)
    assert.deepEqual(await chain.settle(store), ['claim:1', 'settle:claim:1'])
    await chain.chain.pass(3_601)
    await payer.leave()
    await chain.finalise()
    await channels.look()
    assert.equal(channels.book.channel(payer.channelId)?.state, 'closed')
    assert.equal(await chain.balanceOf(chain.operator), 300n)
    assert.equal(await chain.balanceOf(payer.config.payer), FUNDS - 300n)
    assert.equal(await ledger(store, VOUCHERS), -300_000n)
    await holds(store)
  })

  it('notice an exit that was begun while no gateway ran', async (t) => {
    const { chain, store, channels, payer, account } = await setup(t)
    await funded(chain, channels, payer, account, 1_000n)
    await use(store, account, 300_000n)
    await channels.stop()
    await payer.exit(1_000n)
    await chain.chain.mine(20)
    const later = await restart(t, chain, store)
    await later.look()
    assert.equal(later.book.channel(payer.channelId)?.state, 'closing')
    await chain.settle(store)
    assert.equal(await chain.balanceOf(chain.operator), 300n)
    await holds(store)
  })

  it('stand by the operator when a payer left with what was spent after it had asked', async (t) => {
    const { chain, store, channels, payer, account } = await setup(t)
    await funded(chain, channels, payer, account, 1_000n)
    await use(store, account, 300_000n)
    await channels.stop()
    await payer.exit(1_000n)
    await chain.chain.pass(3_601)
    await payer.leave()
    const later = await restart(t, chain, store)
    await chain.finalise()
    await later.look()
    assert.equal(await tenant(store, account), 0n)
    assert.equal(await ledger(store, UNCOLLECTED), -300_000n, 'nobody ran for the whole delay')
    await holds(store)
  })

  for (const depth of [1, 2, 3]) {
    it(`keep their credit right over a reorganisation ${depth} deep under a deposit`, async (t) => {
      const { chain, store, channels, payer, account } = await setup(t)
      await funded(chain, channels, payer, account, 1_000n)
      await use(store, account, 900_000n)
      await payer.deposit(500n)
      // Final two blocks later: only the deepest reorganisation undoes what was taken for final.
      await chain.chain.mine(depth - 1)
      await chain.see()
      await channels.look()
      const accepted = await channels.book.accept(payer.voucher(1_500n))
      if (depth === 3) assert.equal(await taken(accepted).durable, null)
      else assert.equal(codeOf(accepted), 'voucher_above_deposit')
      if (depth === 3) await use(store, account, 200_000n)

      await chain.chain.reorganise(depth)
      await chain.finalise()
      await channels.look()
      const view = channels.book.channel(payer.channelId)
      assert.equal(view?.balanceUnits, 1_000n)
      assert.equal(view?.creditedUnits, 1_000n)
      assert.equal(await tenant(store, account), depth === 3 ? 0n : 100_000n)
      assert.equal(await ledger(store, UNCOLLECTED), depth === 3 ? -100_000n : 0n)
      await holds(store)

      await payer.deposit(500n)
      await chain.finalise()
      await channels.look()
      if (depth < 3) await taken(await channels.book.accept(payer.voucher(1_500n))).durable
      assert.equal(await ledger(store, VOUCHERS), -1_500_000n, 'credited once')
      assert.equal(await tenant(store, account), depth === 3 ? 400_000n : 600_000n)
      assert.equal(await ledger(store, UNCOLLECTED), 0n)
      await holds(store)
    })
  }

  it('claim for many in one transaction, and go on without the one that fails', async (t) => {
    const { chain, store, channels, payer, account } = await setup(t)
    await funded(chain, channels, payer, account, 1_000n)
    const cheat = await TestPayer.start(chain, 1_000n)
    const other = await testTenant(store, 0n)
    await funded(chain, channels, cheat, other, 1_000n)
    await use(store, account, 100_000n)
    await use(store, other, 1_000_000n)
    await channels.sync.stop()
    // Nobody looks while the cheat leaves with everything.
    await cheat.exit(1_000n)
    await chain.chain.pass(3_601)
    await cheat.leave()
    await channels.claims.claimNow()
    await chain.settle(store)
    assert.equal((await store.chainAction('claim:1'))?.state, 'failed')
    const later = await restart(t, chain, store)
    for (let round = 0; round < 3; round++) {
      await later.claims.claimNow()
      await chain.settle(store)
      await later.look()
    }
    assert.equal(await chain.balanceOf(chain.operator), 100n)
    assert.equal(later.book.channel(payer.channelId)?.claimedUnits, 100n)
    await holds(store)
  })

  it('are shared by gateways over one store', async (t) => {
    const { chain, store, channels, payer, account } = await setup(t)
    await funded(chain, channels, payer, account, 100n, 1_000n)
    const second = await restart(t, chain, store)
    const both = [channels, second]
    for (let units = 200n; units <= 1_000n; units += 100n) {
      const answers = await Promise.all(
        both.map(async ({ book }) => book.accept(payer.voucher(units))),
      )
      for (const answer of answers)
        assert.ok(
          isRefusal(answer) ? answer.code === 'voucher_stale' : (await answer.durable) === null,
        )
    }
    assert.equal(await tenant(store, account), 1_000_000n)
    await use(store, account, 500_000n)
    await Promise.all(both.map(({ claims }) => claims.claimNow()))
    assert.equal((await store.chainActions({ kind: 'claim', limit: 10 })).length, 1)
    await second.book.close(payer.channelId, account)
    const learnt = granted(await channels.book.refresh(payer.channelId))
    assert.equal(learnt.state, 'closing')
    await holds(store)
  })
})

const FUNDS = 2_000_000n

async function setup(t: TestContext) {
  const store = await testStore(t)
  const chain = await FakeChannelChain.start(t)
  const channels = await testChannels(chain, store)
  t.after(() => channels.stop())
  const payer = await TestPayer.start(chain, FUNDS)
  return { chain, store, channels, payer, account: await testTenant(store, 0n) }
}

async function restart(t: TestContext, chain: FakeChannelChain, store: Store) {
  await chain.see()
  const channels = await testChannels(chain, store)
  t.after(() => channels.stop())
  return channels
}

type Channels = Awaited<ReturnType<typeof testChannels>>

const bind = ({ book }: Channels, payer: TestPayer, account: string) =>
  book.open(payer.config, account, payer.voucher(1n))

/** A channel with a final deposit, all of it signed, or as much as `units`. */
async function funded(
  chain: FakeChannelChain,
  channels: Channels,
  payer: TestPayer,
  account: string,
  units: bigint,
  deposit = units,
): Promise<void> {
  await payer.deposit(deposit)
  await chain.finalise()
  granted(await bind(channels, payer, account))
  assert.equal(await taken(await channels.book.accept(payer.voucher(units))).durable, null)
}

function taken(answer: Accepted | Refusal): Accepted {
  if (isRefusal(answer)) assert.fail(answer.message)
  return answer
}

function granted(answer: ChannelView | Refusal): ChannelView {
  if (isRefusal(answer)) assert.fail(answer.message)
  return answer
}

const codeOf = (answer: object | null): string | null => (isRefusal(answer) ? answer.code : null)

async function use(store: Store, account: string, nanoUsd: bigint): Promise<void> {
  const [outcome] = await store.settle([
    { usage: sampleUsage({ account, nanoUsd }), receipt: null },
  ])
  assert.equal(outcome, 'settled')
}

const ledger = async (store: Store, account: string): Promise<bigint> =>
  (await store.balance(account)).balanceNanoUsd

const tenant = (store: Store, account: string): Promise<bigint> =>
  ledger(store, tenantLedger(account))

async function holds(store: Store): Promise<void> {
  const { sumNanoUsd, wrong } = await store.audit()
  assert.deepEqual({ sumNanoUsd, wrong }, { sumNanoUsd: 0n, wrong: [] })
}
