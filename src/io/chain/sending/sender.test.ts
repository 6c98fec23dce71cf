import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { encodeAbiParameters, encodeFunctionData, keccak256, type Address, type Hex } from 'viem'
import type { NewAction } from '../../store/chain-records.ts'
import { testDatabaseUrl } from '../../store/testing.ts'
import { channelsAbi } from '../abi/channels.ts'
import { mockUsdcAbi } from '../abi/mock-usdc.ts'
import { openSending, type SendingSetup, type TestSending } from './sender-kit.ts'
import { testChain } from '../local/test-chain.ts'

const DEPTH = 3

describe('the chain sender', { timeout: 120_000 }, () => {
  it('does each action once, and says so when it is final', async (t) => {
    const { chain, open, mint, units } = await setup(t)
    const { store, turn, settled } = await open()
    for (let i = 1; i <= 5; i++) await store.writeChainAction(mint(i))
    const allMined = async (): Promise<boolean> => {
      const count = await store.openChainActions()
      assert.equal(
        count.written + count.signed + count.mined + settled.length,
        5,
        'each is one thing',
      )
      return count.written + count.signed === 0
    }
    // Mining "at once" is a moment after sending.
    for (const deadline = Date.now() + 10_000; !(await allMined()); await turn())
      assert.ok(Date.now() < deadline, 'not mined')
    const blocks = (await store.chainActions({ limit: 5 })).map(({ mined }) => mined?.blockNumber)
    const newest = blocks.reduce((last, block) => ((block ?? 0n) > (last ?? 0n) ? block : last), 0n)
    await chain.mine(DEPTH - 1)
    await turn(2)
    assert.equal(
      settled.length,
      blocks.filter((block) => block !== newest).length,
      'the newest is not deep enough',
    )
    await chain.mine()
    await turn(2)
    assert.deepEqual(
      settled.map(({ purpose, state }) => `${purpose} ${state}`).toSorted(),
      [1, 2, 3, 4, 5].map((i) => `mint:${i} final`),
      'those of one block in any order',
    )
    for (let i = 1; i <= 5; i++) assert.equal(await units(i), BigInt(i))
  })

  it('waits with what the contract refuses, tells its error, and sends the rest', async (t) => {
    const { chain, open, mint, units } = await setup(t)
    const { store, turn } = await open()
    const data = encodeFunctionData({ abi: channelsAbi, functionName: 'claim', args: [[]] })
    await store.writeChainAction({
      ...mint(1),
      purpose: 'claim',
      target: chain.addresses.channels,
      data,
    })
    await store.writeChainAction(mint(2))
    await turn(2)
    const refused = await store.chainAction('claim')
    assert.deepEqual([refused?.state, refused?.problem], ['written', 'NoClaims()'])
    assert.equal(await units(2), 2n)
  })

  it('fails an action only when its revert is final, with the contract’s error', async (t) => {
    const { chain, open, mint, wallet } = await setup(t)
    const { store, turn, settled } = await open()
    await chain.mining(false)
    await chain.fund(wallet.address, '10', 100n)
    const transfer = encodeFunctionData({
      abi: mockUsdcAbi,
      functionName: 'transfer',
      args: [who(1), 100n],
    })
    await store.writeChainAction({ ...mint(1), purpose: 'transfer', data: transfer })
    await turn(2)
    assert.equal((await store.chainAction('transfer'))?.state, 'signed')
    // Its money is gone before it is mined.
    await chain.rpc('anvil_setStorageAt', [
      chain.addresses.token,
      balanceSlot(wallet.address),
      `0x${'00'.repeat(32)}`,
    ])
    await chain.mine()
    await turn(2)
    assert.equal((await store.chainAction('transfer'))?.state, 'mined', 'it may go again')
    await chain.mine(DEPTH)
    await turn(2)
    assert.equal(settled[0]?.state, 'failed')
    assert.match(
      settled[0]?.problem ?? '',
      /^ERC20InsufficientBalance\(|would pass on the block before/,
    )
  })

  it('pays an eighth more when a transaction waits too long, and no more than its cap', async (t) => {
    const { chain, open, mint, units } = await setup(t)
    const cap = 4n * 10n ** 9n
    const { store, turn, sender } = await open({ raiseAfterMs: 1, maxFeeWei: cap })
    await chain.mining(false)
    await store.writeChainAction(mint(1))
    await turn(60)
    const [flight] = await store.actionsInFlight(sender.address)
    const fees = flight?.transactions.map(({ maxFeePerGas }) => maxFeePerGas) ?? []
    assert.ok(fees.length > 1, 'it was raised')
    for (const [i, fee] of fees.entries()) {
      assert.ok(fee <= cap, `${fee} is above the cap`)
      if (i > 0) assert.ok(fee * 8n >= (fees[i - 1] ?? 0n) * 9n, `${fee} is no eighth more`)
    }
    assert.ok(((fees.at(-1) ?? 0n) * 9n) / 8n > cap, 'it stopped only because of the cap')
    await chain.mine(1 + DEPTH)
    await turn(2)
    assert.deepEqual(await store.openChainActions(), { written: 0, signed: 0, mined: 0 })
    assert.equal(await units(1), 1n)
  })

  it('signs nothing while gas costs more than its cap', async (t) => {
    const { open, mint } = await setup(t)
    const { store, turn, sender } = await open({ maxFeeWei: 1n })
    await store.writeChainAction(mint(1))
    await turn(2)
    assert.deepEqual(await store.openChainActions(), { written: 1, signed: 0, mined: 0 })
    assert.match(sender.trouble() ?? '', /chainMaxFeeGwei/)
  })

  it('sends again what a reorganisation took away', async (t) => {
    const { chain, open, mint, units } = await setup(t)
    const { store, turn } = await open()
    for (let depth = 1; depth <= 3; depth++) {
      await store.writeChainAction(mint(depth))
      await turn(2)
      await chain.mine(depth - 1)
      await turn()
      assert.equal((await store.chainAction(`mint:${depth}`))?.state, 'mined')
      await chain.reorganise(depth)
      assert.equal(await units(depth), 0n, 'the reorganisation took it away')
      await turn(3)
      assert.equal(await units(depth), BigInt(depth))
      await chain.mine(DEPTH)
      await turn(2)
      assert.equal((await store.chainAction(`mint:${depth}`))?.state, 'final')
    }
  })

  it('does again what was final, when the chain is reorganised below that', async (t) => {
    const { chain, open, mint, units } = await setup(t)
    const { store, turn, settled } = await open()
    await chain.mine(5)
    await turn()
    await store.writeChainAction(mint(1))
    await turn(2)
    await chain.mine(DEPTH)
    await turn(2)
    assert.equal(settled.length, 1)
    await chain.reorganise(DEPTH + 1)
    await chain.mine()
    assert.equal(await units(1), 0n)
    await turn(4)
    await chain.mine(DEPTH)
    await turn(3)
    assert.deepEqual(
      settled.map(({ state }) => state),
      ['final', 'final'],
    )
    assert.equal(await units(1), 1n)
  })

  it('takes another nonce when somebody else has used its own for good', async (t) => {
    const { chain, open, mint, units, wallet } = await setup(t)
    const { store, turn, sender } = await open()
    await chain.mining(false)
    await store.writeChainAction(mint(1))
    await turn(2)
    const [flight] = await store.actionsInFlight(sender.address)
    assert.equal(flight?.nonce, 0)
    await chain.rpc('anvil_dropAllTransactions')
    await wallet.client.sendTransaction({ to: who(9), value: 1n, nonce: 0, gas: 21_000n })
    await chain.mine()
    await turn(2)
    assert.equal((await store.chainAction('mint:1'))?.nonce, 0, 'not before that is final')
    await chain.mine(DEPTH)
    await turn(3)
    assert.equal((await store.chainAction('mint:1'))?.nonce, 1)
    await chain.mine(1 + DEPTH)
    await turn(2)
    assert.equal((await store.chainAction('mint:1'))?.state, 'final')
    assert.equal(await units(1), 1n)
  })

  it('fills a nonce that was left out', async (t) => {
    const { chain, open, mint, units, wallet } = await setup(t)
    const { store, turn } = await open({ resendAfterMs: 1 })
    // Somebody else's transaction counts when ours is signed, and is gone then.
    await wallet.client.sendTransaction({ to: who(9), value: 1n })
    await chain.mine()
    await turn()
    await chain.mining(false)
    await store.writeChainAction(mint(1))
    await turn()
    assert.equal((await store.chainAction('mint:1'))?.nonce, 1)
    await chain.reorganise(2)
    await chain.mine(DEPTH + 1)
    await turn(3)
    await chain.mining(true)
    await chain.mine(1)
    await turn(3)
    await chain.mine(DEPTH)
    await turn(3)
    assert.equal(await units(1), 1n)
    assert.equal((await store.chainActions({ kind: 'fill', limit: 9 })).length, 1)
  })

  it('shares a key with another gateway: one of them sends, and the other when that one is gone', async (t) => {
    const { chain, open, mint, units } = await setup(t)
    const [a, b] = [await open({ gateway: 'gw_a' }), await open({ gateway: 'gw_b' })]
    for (let i = 1; i <= 12; i++) await (i % 2 ? a : b).store.writeChainAction(mint(i))
    await Promise.all([a.turn(5), b.turn(5)])
    await a.sender.close()
    for (let i = 13; i <= 20; i++) await b.store.writeChainAction(mint(i))
    await b.turn(3)
    await chain.mine(DEPTH)
    await b.turn(3)
    for (let i = 1; i <= 20; i++) assert.equal(await units(i), BigInt(i))
    const nonces = (await b.store.chainActions({ limit: 99 })).map(({ nonce }) => nonce)
    assert.deepEqual(
      nonces,
      Array.from({ length: 20 }, (_, i) => i),
    )
  })
})

const who = (i: number): Address => `0x${(0x1000 + i).toString(16).padStart(40, '0')}`

/** Where OpenZeppelin's ERC-20 keeps the balance: the mapping is its first slot. */
function balanceSlot(owner: Address): Hex {
  const types = [{ type: 'address' }, { type: 'uint256' }] as const
  return keccak256(encodeAbiParameters(types, [owner, 0n]))
}

async function setup(t: TestContext) {
  const chain = await testChain(t)
  const wallet = await chain.wallet()
  const databaseUrl = await testDatabaseUrl()
  const open = async (options: Partial<SendingSetup> = {}): Promise<TestSending> => {
    const sending = await openSending({
      databaseUrl,
      rpcUrls: [chain.url],
      key: wallet.key,
      gateway: 'gw_a',
      depth: DEPTH,
      ...options,
    })
    t.after(() => sending.close())
    return sending
  }
  /** Not idempotent on the chain: done twice, it shows. */
  const mint = (i: number): NewAction => ({
    purpose: `mint:${i}`,
    kind: 'mint',
    target: chain.addresses.token,
    data: encodeFunctionData({ abi: mockUsdcAbi, functionName: 'mint', args: [who(i), BigInt(i)] }),
  })
  const units = (i: number): Promise<bigint> =>
    chain.client.readContract({
      abi: mockUsdcAbi,
      address: chain.addresses.token,
      functionName: 'balanceOf',
      args: [who(i)],
    })
  return { chain, wallet, open, mint, units }
}
