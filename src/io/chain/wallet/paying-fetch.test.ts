import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { lowerHex, type Hex } from '../../../core/base/hex.ts'
import type { Payee } from './book-schema.ts'
import { fakeChannelGateway } from './fake-channel-gateway.ts'
import { makeKey, sealKey } from './keystore.ts'
import { payingFetch, type PayingFetchOptions } from './paying-fetch.ts'
import { channelsTypedData } from '../typed-data.ts'
import { openWallet, type Wallet } from './wallet.ts'
import { storeKeystore, walletPaths } from './wallet-folder.ts'

const TIMEOUT = { timeout: 30_000 }
const CHAIN = { chainId: 31_337, channels: `0x${'c1'.repeat(20)}` as const }
const RECEIVER = `0x${'ee'.repeat(20)}` as const
const PRICE = 10n
const STEP = 25n

describe('a fetch that pays', TIMEOUT, () => {
  it('signs a voucher where one is needed, and none while it lasts', TIMEOUT, async (t) => {
    const { pay, gateway, wallet, channelId } = await setup(t)
    const answers = [await pay('a'), await pay('b'), await pay('c')]
    assert.deepEqual(answers, ['a', 'b', 'c'])
    // 25, then 50: two requests of 10 fit below 25.
    assert.deepEqual(gateway.state.vouchers, [
      { channelId, ceiling: 25n },
      { channelId, ceiling: 50n },
    ])
    const [channel] = (await wallet.book.read()).channels
    assert.equal(channel?.signedUnits, 50n)
    const sent = gateway.state.requests.filter(({ path }) => path.endsWith('/vouchers'))
    assert.ok(sent.every(({ authorization }) => authorization === 'Bearer key'))
  })

  it('makes requests that come at once share a voucher', TIMEOUT, async (t) => {
    const { pay, gateway } = await setup(t, { payee: { stepUnits: 100n } })
    const answers = await Promise.all(['a', 'b', 'c', 'd', 'e'].map(pay))
    assert.deepEqual(answers, ['a', 'b', 'c', 'd', 'e'])
    assert.equal(gateway.state.vouchers.length, 1)
  })

  it('serves all of many at once though one voucher is too small for them', TIMEOUT, async (t) => {
    const { pay, gateway, wallet } = await setup(t)
    const texts = Array.from({ length: 6 }, (_, i) => String(i))
    assert.deepEqual(await Promise.all(texts.map(pay)), texts)
    assert.equal(gateway.state.served, 6)
    const [channel] = (await wallet.book.read()).channels
    assert.ok((channel?.signedUnits ?? 0n) <= 60n + STEP)
  })

  it('stops at the budget, to the unit, and says what can be done', TIMEOUT, async (t) => {
    const { pay, gateway, wallet } = await setup(t, { payee: { budgetUnits: 30n } })
    for (const text of ['a', 'b', 'c']) await pay(text)
    await assert.rejects(pay('d'), {
      name: 'PaymentError',
      code: 'budget_used_up',
      needUnits: 40n,
      limitUnits: 30n,
      signedUnits: 30n,
      message: /needs 0\.00004 USDC signed, and no more than 0\.00003 USDC/,
      next: /wallet budget/,
    })
    assert.equal(gateway.state.served, 3)
    await wallet.book.change((book) => ({
      ...book,
      payees: book.payees.map((one) => ({ ...one, budgetUnits: 40n })),
    }))
    assert.equal(await pay('d'), 'd')
    assert.deepEqual(
      gateway.state.vouchers.map(({ ceiling }) => ceiling),
      [25n, 30n, 40n],
    )
  })

  it('keeps to the budget of the call where that is less', TIMEOUT, async (t) => {
    const { pay } = await setup(t, { payee: { budgetUnits: 100n }, options: { budgetUnits: 19n } })
    await pay('a')
    await assert.rejects(pay('b'), { code: 'budget_used_up', limitUnits: 19n })
  })

  it('stops at the deposit, and at what was agreed for one voucher', TIMEOUT, async (t) => {
    const { pay, gateway } = await setup(t, { depositUnits: 200n })
    gateway.state.greed = 101n
    await assert.rejects(pay('a'), { code: 'voucher_too_large', limitUnits: 100n })
    gateway.state.greed = 201n
    await assert.rejects(pay('a'), { code: 'deposit_used_up', limitUnits: 200n })
    assert.deepEqual(gateway.state.vouchers, [])
  })

  it('gives a greedy gateway one voucher a request, and its refusal back', TIMEOUT, async (t) => {
    const { paying, gateway } = await setup(t)
    gateway.state.greed = 30n
    const response = await paying(`${gateway.url}/x`, { method: 'POST', body: 'a' })
    assert.equal(response.status, 402)
    assert.match(await response.text(), /voucher_needed/)
    assert.deepEqual(
      gateway.state.vouchers.map(({ ceiling }) => ceiling),
      [30n],
    )
  })

  for (const moment of ['before', 'after'] as const)
    it(
      `sends the same voucher again when it was lost ${moment} the gateway had it`,
      TIMEOUT,
      async (t) => {
        const { pay, gateway, wallet, options } = await setup(t)
        gateway.state.dropVoucher = moment
        await assert.rejects(pay('a'), /fetch failed/)
        // Written before it left.
        assert.equal((await wallet.book.read()).channels[0]?.signedUnits, 25n)
        gateway.state.dropVoucher = null
        // As another process would go on.
        const other = payingFetch(options)
        assert.equal((await other(`${gateway.url}/x`, { method: 'POST', body: 'a' })).status, 200)
        assert.deepEqual(
          gateway.state.vouchers.map(({ ceiling }) => ceiling),
          [25n],
        )
        assert.equal((await wallet.book.read()).channels[0]?.signedUnits, 25n)
      },
    )

  it(
    'signs nothing for another’s channel, nor for a gateway that nobody agreed to',
    TIMEOUT,
    async (t) => {
      const { wallet, gateway, paying } = await setup(t, { payee: { origins: ['http://other'] } })
      assert.equal((await paying(`${gateway.url}/x`)).status, 402)
      const before = await wallet.book.read()
      await wallet.book.change((book) => ({
        ...book,
        payees: book.payees.map((one) => ({ ...one, origins: [gateway.url] })),
        channels: [],
      }))
      assert.equal((await paying(`${gateway.url}/x`)).status, 402)
      assert.equal(before.channels[0]?.signedUnits, 0n)
      assert.deepEqual(gateway.state.vouchers, [])
    },
  )

  it('pays for no other origin, and leaves other refusals alone', TIMEOUT, async (t) => {
    const { wallet, gateway, channelId } = await setup(t)
    const elsewhere = payingFetch({ wallet, gateway: 'http://gateway.example' })
    assert.equal((await elsewhere(`${gateway.url}/x`)).status, 402)
    const empty = await fakeChannelGateway({ ...CHAIN, priceUnits: 1n, stepUnits: 1n })
    t.after(empty.close)
    const paying = payingFetch({ wallet, gateway: empty.url })
    const refused = await paying(`${empty.url}/x`)
    assert.match(await refused.text(), /insufficient_balance/)
    assert.ok(channelId)
  })

  it(
    'asks for the password once, and for none while nothing is to be signed',
    TIMEOUT,
    async (t) => {
      let asked = 0
      const { pay, gateway } = await setup(t, {
        password: async () => {
          asked += 1
          return 'password'
        },
      })
      assert.equal(asked, 0)
      for (const text of ['a', 'b', 'c', 'd']) await pay(text)
      assert.equal(gateway.state.vouchers.length, 2)
      assert.equal(asked, 1)
    },
  )

  it('leaves the budget as it was when the password is wrong', TIMEOUT, async (t) => {
    const { pay, wallet } = await setup(t, { password: async () => 'no' })
    await assert.rejects(pay('a'), { code: 'wallet_password_wrong' })
    assert.equal((await wallet.book.read()).channels[0]?.signedUnits, 0n)
  })

  it('tops up beside the requests when little is left', TIMEOUT, async (t) => {
    const heard: bigint[] = []
    const told = new EventEmitter()
    const { pay, gateway } = await setup(t, {
      options: {
        lookEveryMs: 0,
        onVoucher: ({ maxClaimableAmount }) => {
          heard.push(maxClaimableAmount)
          told.emit(String(heard.length))
        },
      },
      payee: { stepUnits: 11n },
    })
    // 11 signed, 10 spent: less than a quarter of a step is left.
    await Promise.all([once(told, '2'), pay('a')])
    assert.deepEqual(heard, [11n, 22n])
    assert.equal(gateway.state.served, 1)
  })
})

async function setup(
  t: TestContext,
  more: {
    payee?: Partial<Payee>
    depositUnits?: bigint
    password?: () => Promise<string>
    options?: Partial<PayingFetchOptions>
  } = {},
) {
  const home = mkdtempSync(join(tmpdir(), 'baseload-pay-'))
  t.after(() => rmSync(home, { recursive: true }))
  const key = makeKey()
  await storeKeystore(walletPaths(home, 'w'), await sealKey(key.privateKey, 'password', 1024))
  const wallet = await openWallet({ home, name: 'w', password: more.password ?? 'password' })
  const gateway = await fakeChannelGateway({ ...CHAIN, priceUnits: PRICE, stepUnits: STEP })
  t.after(gateway.close)
  const depositUnits = more.depositUnits ?? 1000n
  const channelId = await withChannel(wallet, gateway.url, depositUnits, more.payee)
  gateway.know({ id: channelId, payer: lowerHex(key.address), balanceUnits: depositUnits })
  const options = { wallet, gateway: gateway.url, ...more.options }
  const paying = payingFetch(options)
  const pay = async (text: string): Promise<string> => {
    const headers = { authorization: 'Bearer key' }
    const response = await paying(`${gateway.url}/v1/x`, { method: 'POST', body: text, headers })
    const { body }: { body: string } = JSON.parse(await response.text())
    return body
  }
  return { gateway, wallet, channelId, paying, pay, options }
}

async function withChannel(
  wallet: Wallet,
  origin: string,
  depositUnits: bigint,
  payee: Partial<Payee> = {},
): Promise<Hex> {
  const token = `0x${'70'.repeat(20)}` as const
  const config = {
    payer: wallet.address,
    payerAuthorizer: wallet.address,
    receiver: RECEIVER,
    receiverAuthorizer: RECEIVER,
    token,
    withdrawDelay: 900,
    salt: `0x${'5a'.repeat(32)}` as const,
  }
  const id = channelsTypedData({
    chainId: CHAIN.chainId,
    verifyingContract: CHAIN.channels,
  }).channelId(config)
  await wallet.book.change((book) => ({
    ...book,
    payees: [
      {
        ...CHAIN,
        receiver: RECEIVER,
        token: { address: token, decimals: 6, symbol: 'USDC' },
        testMoney: true,
        origins: [origin],
        rpcUrl: null,
        finalityDepth: 1,
        budgetUnits: null,
        stepUnits: STEP,
        atOnceUnits: 100n,
        ...payee,
      },
    ],
    channels: [
      {
        ...CHAIN,
        id,
        config,
        state: 'open',
        depositUnits,
        signedUnits: 0n,
        openedAt: new Date(0).toISOString(),
      },
    ],
  }))
  return id
}
