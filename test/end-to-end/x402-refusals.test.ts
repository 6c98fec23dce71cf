/** Payments that are not taken: each is refused by its own name, x402's client hears its own word, and nothing is charged. */
import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { decodePaymentSignatureHeader, encodePaymentSignatureHeader } from '@x402/core/http'
import fc from 'fast-check'
import { privateKeyToAccount } from 'viem/accounts'
import { toHex } from 'viem'
import type { Hex } from 'viem'
import { readPayment } from '../../src/core/ledger/x402-payment.ts'
import { channelsAbi } from '../../src/io/chain/abi/channels.ts'
import {
  payerOf,
  paidNetwork,
  requiredBy,
  toldBy,
  type PaidNetwork,
} from '../support/paid-network.ts'
import { answerOf, hello } from '../support/small-network.ts'

const body = JSON.stringify({ ...hello, max_tokens: 11 })

describe('x402 refusals', { timeout: 120_000 }, () => {
  it('tells a caller without key or payment the price, in words and in the header', async (t) => {
    const net = await paidNetwork(t)
    const response = await ask(net, null)
    assert.equal(response.status, 402)
    const required = requiredBy(response)
    const [offer] = required.accepts
    assert.equal(offer?.scheme, 'batch-settlement')
    assert.equal(offer.payTo, net.operator.address.toLowerCase())
    assert.ok(BigInt(offer.amount) > 0n)
    assert.equal(required.resource.url, `${net.url}/v1/chat/completions`)
    const { error } = await answerOf(response)
    assert.equal(error.code, 'payment_required')
    assert.match(error.message, /test money/)
    const longer = requiredBy(await ask(net, null, JSON.stringify({ ...hello, max_tokens: 200 })))
    assert.ok(BigInt(longer.accepts[0]?.amount ?? 0) > BigInt(offer.amount), 'by max_tokens')
    const unknown = await ask(net, null, JSON.stringify({ ...hello, model: 'none' }))
    assert.equal(unknown.status, 404)
  })

  it('refuses each fault by its name', async (t) => {
    const { net, alice, good } = await paid(t)
    const mallory = privateKeyToAccount(toHex(7n, { size: 32 }))
    const other = (await net.payer()).wallet.address.toLowerCase() as Hex
    const cases: [code: string, word: string, change: (p: Payload) => void][] = [
      ['voucher_reused', 'cumulative_amount_mismatch', () => {}],
      ['channel_wrong_chain', 'network_mismatch', (p) => (p.accepted.network = 'eip155:1')],
      [
        'channel_wrong_payee',
        'receiver_mismatch',
        (p) => (p.payload.channelConfig.receiver = other),
      ],
      ['channel_wrong_payee', 'receiver_mismatch', (p) => (p.accepted.payTo = other)],
      [
        'channel_wrong_payee',
        'receiver_authorizer_mismatch',
        (p) => (p.payload.channelConfig.receiverAuthorizer = other),
      ],
      ['channel_wrong_token', 'token_mismatch', (p) => (p.payload.channelConfig.token = other)],
      ['channel_wrong_token', 'token_mismatch', (p) => (p.accepted.asset = other)],
      [
        'channel_delay_too_short',
        'withdraw_delay_mismatch',
        (p) => (p.payload.channelConfig.withdrawDelay = 900),
      ],
      [
        'payment_tampered',
        'channel_id_mismatch',
        (p) => (p.payload.channelConfig.salt = toHex(9n, { size: 32 })),
      ],
      [
        'voucher_signature_invalid',
        'voucher_signature',
        (p) =>
          (p.payload.voucher.maxClaimableAmount = String(
            BigInt(p.payload.voucher.maxClaimableAmount) + 1n,
          )),
      ],
      [
        'payment_over_maximum',
        'cumulative_amount_mismatch',
        (p) => (p.accepted.amount = '99999999'),
      ],
      ['payment_too_low', 'cumulative_amount_mismatch', (p) => (p.accepted.amount = '0')],
      ['payment_not_offered', 'scheme', (p) => (p.accepted.scheme = 'upto')],
      ['payment_malformed', 'payload_type', (p) => (p.payload.type = 'claim')],
    ]
    for (const [code, word, change] of cases) {
      const payload = structuredClone(good)
      change(payload)
      await refusedAs(await ask(net, encoded(payload)), code, word)
    }
    // Signed by the payer, but for other sums.
    const { channelId } = good.payload.voucher
    const replayed = requiredBy(await ask(net, encoded(good))).accepts[0]?.extra.channelState
    assert.ok(BigInt(replayed?.chargedCumulativeAmount ?? 0) - BigInt(alice.told) <= 2n)
    const told = BigInt(replayed?.chargedCumulativeAmount ?? 0)
    const amount = BigInt(good.accepted.amount)
    const signed = async (ceiling: bigint, by = alice.wallet.account) => {
      const payload = structuredClone(good)
      payload.payload.voucher = {
        channelId,
        maxClaimableAmount: String(ceiling),
        signature: await by.signTypedData(voucherOf(net, channelId, ceiling)),
      }
      return ask(net, encoded(payload))
    }
    await refusedAs(
      await signed(told + amount, mallory),
      'voucher_signature_invalid',
      'voucher_signature',
    )
    await refusedAs(
      await signed(told + amount + 1n),
      'payment_over_maximum',
      'cumulative_amount_mismatch',
    )
    const stale = await signed(told + 2n)
    await refusedAs(stale.clone(), 'voucher_stale', 'cumulative_amount_mismatch')
    // x402's client goes on from this: its own signature, and what it was charged.
    const { extra } = requiredBy(stale).accepts[0] ?? {}
    assert.equal(extra?.channelState?.chargedCumulativeAmount, String(told))
    assert.ok(BigInt(extra?.voucherState?.signedMaxClaimable ?? 0) >= told)
    const served = await signed(told + amount)
    assert.equal(served.status, 200, 'nothing of all that was charged or kept')
  })

  it('refuses a channel that does not exist, is used, is left, or is empty', async (t) => {
    const { net, alice, good } = await paid(t, 55_000n)
    const bob = payerOf(net.chain, await net.chain.wallet('0', 10_000_000n))
    const stranger = structuredClone(good)
    const config = {
      ...good.payload.channelConfig,
      payer: bob.wallet.address,
      payerAuthorizer: bob.wallet.address,
    }
    const channelId = await channelIdOf(net, config)
    stranger.payload.channelConfig = config
    const ceiling = BigInt(good.accepted.amount)
    stranger.payload.voucher = {
      channelId,
      maxClaimableAmount: String(ceiling),
      signature: await bob.wallet.account.signTypedData(voucherOf(net, channelId, ceiling)),
    }
    await refusedAs(await ask(net, encoded(stranger)), 'channel_unknown', 'channel_not_found')

    const own = good.payload.voucher.channelId
    const signed = async (units: bigint) => {
      const payload = structuredClone(good)
      payload.payload.voucher = {
        channelId: own,
        maxClaimableAmount: String(units),
        signature: await alice.wallet.account.signTypedData(voucherOf(net, own, units)),
      }
      return encoded(payload)
    }
    const next = await signed(BigInt(alice.told) + BigInt(good.accepted.amount))
    const [node] = net.nodes
    assert.ok(node)
    const held = withResolvers()
    node.engine.pace = (position) => (position === 3 ? held.promise : undefined)
    const first = ask(net, next)
    await net.until('it runs', () => node.engine.tasks.length > 1)
    const second = await ask(net, next)
    await refusedAs(second.clone(), 'channel_busy', 'channel_busy')
    assert.equal(second.headers.get('retry-after'), '1')
    held.resolve()
    const served = await first
    assert.equal(served.status, 200)
    node.engine.pace = () => {}

    const { wallet } = alice
    await net.chain.fund(wallet.address, '1')
    await wallet.client.writeContract({
      address: net.chain.addresses.channels,
      abi: channelsAbi,
      functionName: 'initiateWithdraw',
      args: [{ ...good.payload.channelConfig }, 10n],
    })
    const state = toldBy(served).extra.channelState
    const after = await signed(BigInt(state.chargedCumulativeAmount) + BigInt(good.accepted.amount))
    await net.until('the exit is seen', async () => {
      const [record] = await net.store.channelRecords([own])
      return record?.state !== 'open'
    })
    await refusedAs(await ask(net, after), 'channel_closing', 'missing_channel')
  })

  it('refuses deposits that are expired, too small, unsigned or not covered, and sends none of them', async (t) => {
    const net = await paidNetwork(t)
    const poor = payerOf(net.chain, await net.chain.wallet('0', 1_000n))
    const response = await poor.fetch(`${net.url}/v1/chat/completions`, { method: 'POST', body })
    await refusedAs(response, 'payer_short', 'insufficient_balance')
    const good: Payload = decodePaymentSignatureHeader(poor.last()) as never
    const block = await net.chain.client.getBlockNumber({ cacheTime: 0 })
    const cases: [string, string, (p: Payload) => void][] = [
      [
        'payment_expired',
        'authorization_valid_before',
        (p) => (authorizationOf(p).validBefore = '1700000000'),
      ],
      [
        'payment_expired',
        'authorization_valid_after',
        (p) => (authorizationOf(p).validAfter = '9700000000'),
      ],
      [
        'payment_tampered',
        'receive_authorization_signature',
        (p) => (depositOf(p).amount = '900000'),
      ],
      ['deposit_too_small', 'deposit_below_min_deposit', (p) => (depositOf(p).amount = '100')],
    ]
    for (const [code, word, change] of cases) {
      const payload = structuredClone(good)
      change(payload)
      await refusedAs(await ask(net, encoded(payload)), code, word)
    }
    assert.equal(await net.chain.client.getBlockNumber({ cacheTime: 0 }), block)
  })

  it('answers ten thousand headers that are none with a clear 4xx', async (t) => {
    const { net, good } = await paid(t)
    const text = JSON.stringify(good)
    const base64 = fc.oneof(
      fc.base64String({ minLength: 1, maxLength: 400 }),
      fc.json({ maxDepth: 20 }).map((json) => Buffer.from(json).toString('base64')),
      // The right thing with a piece cut out, doubled or replaced.
      fc
        .tuple(fc.nat(text.length), fc.nat(60), fc.string({ maxLength: 20 }))
        .map(([at, length, piece]) => text.slice(0, at) + piece + text.slice(at + length))
        .filter((broken) => broken !== text)
        .map((broken) => Buffer.from(broken).toString('base64')),
      fc.constantFrom(
        'A'.repeat(12_289),
        Buffer.from('['.repeat(9_000)).toString('base64'),
        '%%%',
        'null',
      ),
    )
    let taken = 0
    const seen = new Set<number>()
    for (const [header] of fc.sample(fc.tuple(base64), { numRuns: 10_000, seed: 402 })) {
      const problem = readPayment(header)
      if (!('problem' in problem) && ++taken > 300) continue
      if ('problem' in problem && seen.has(problem.problem.length)) continue
      if ('problem' in problem) seen.add(problem.problem.length)
      const response = await ask(net, header)
      assert.ok(response.status >= 400 && response.status < 500, `${response.status}: ${header}`)
      assert.match(
        (await answerOf(response)).error.code,
        /^(payment|voucher|channel|deposit|payer)_/,
      )
    }
    assert.equal((await ask(net, null)).status, 402, 'and it still serves')
  })
})

type Payload = {
  x402Version: number
  accepted: { scheme: string; network: string; amount: string; asset: string; payTo: string }
  payload: {
    type: string
    channelConfig: Config
    voucher: { channelId: Hex; maxClaimableAmount: string; signature: Hex }
    deposit?: {
      amount: string
      authorization: { erc3009Authorization: { validBefore: string; validAfter: string } }
    }
  }
}
type Config = {
  payer: Hex
  payerAuthorizer: Hex
  receiver: Hex
  receiverAuthorizer: Hex
  token: Hex
  withdrawDelay: number
  salt: Hex
}

const encoded = (payload: Payload): string => encodePaymentSignatureHeader(payload as never)

function depositOf({ payload }: Payload) {
  assert.ok(payload.deposit)
  return payload.deposit
}
const authorizationOf = (payload: Payload) => depositOf(payload).authorization.erc3009Authorization

const ask = (net: PaidNetwork, payment: string | null, json = body): Promise<Response> =>
  fetch(`${net.url}/v1/chat/completions`, {
    method: 'POST',
    headers: payment === null ? {} : { 'payment-signature': payment },
    body: json,
  })

async function refusedAs(response: Response, code: string, word: string): Promise<void> {
  const text = await response.clone().text()
  assert.equal((await answerOf(response.clone())).error.code, code, text)
  assert.equal(response.status, code === 'payment_malformed' ? 400 : 402, text)
  assert.match(requiredBy(response).error, new RegExp(`${word}$`), text)
}

/** Alice has paid one answer; `good` is the payment that she sent for it. */
async function paid(t: TestContext, units?: bigint) {
  const net = await paidNetwork(t)
  const alice = await net.payer(units)
  const url = `${net.url}/v1/chat/completions`
  await (await alice.fetch(url, { method: 'POST', body })).text()
  const response = await alice.fetch(url, { method: 'POST', body })
  assert.equal(response.status, 200, await response.clone().text())
  const told = toldBy(response).extra.channelState.chargedCumulativeAmount
  const good: Payload = decodePaymentSignatureHeader(alice.last()) as never
  return { net, alice: { ...alice, told }, good }
}

const voucherOf = ({ chain }: PaidNetwork, channelId: Hex, maxClaimableAmount: bigint) => ({
  domain: {
    name: 'x402 Batch Settlement',
    version: '1',
    chainId: chain.chainId,
    verifyingContract: chain.addresses.channels,
  },
  types: {
    Voucher: [
      { name: 'channelId', type: 'bytes32' },
      { name: 'maxClaimableAmount', type: 'uint128' },
    ],
  },
  primaryType: 'Voucher' as const,
  message: { channelId, maxClaimableAmount },
})

const channelIdOf = ({ chain }: PaidNetwork, config: Config): Promise<Hex> =>
  chain.client.readContract({
    address: chain.addresses.channels,
    abi: channelsAbi,
    functionName: 'getChannelId',
    args: [config],
  })

function withResolvers() {
  const done: ((value: undefined) => void)[] = []
  const promise = new Promise<undefined>((resolve) => void done.push(resolve))
  return { promise, resolve: () => done[0]?.(undefined) }
}
