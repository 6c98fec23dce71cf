/** Requests paid with the request itself, by x402's own client, on a chain with our contracts at x402's addresses. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Hex } from 'viem'
import { lowerHex } from '../../src/core/base/hex.ts'
import { refuse } from '../../src/core/base/refusal.ts'
import { NANO_PER_UNIT } from '../../src/core/ledger/channel.ts'
import { channelsAbi } from '../../src/io/chain/abi/channels.ts'
import { mockUsdcAbi } from '../../src/io/chain/abi/mock-usdc.ts'
import { tenantLedger } from '../../src/io/store/store.ts'
import { EngineRefusal } from '../../src/io/engine/engine-refusal.ts'
import { paidNetwork, toldBy, type PaidNetwork } from '../support/paid-network.ts'
import { answerOf, eventsOf, hello, textOf, words } from '../support/small-network.ts'

const post = (body: unknown): RequestInit => ({
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify(body),
})

describe('x402', { timeout: 120_000 }, () => {
  it('buys a hundred chat completions with one deposit and no transaction for any of them', async (t) => {
    const net = await paidNetwork(t)
    const alice = await net.payer()
    const url = `${net.url}/v1/chat/completions`
    let spentNanoUsd = 0n
    const first = await alice.fetch(url, post({ ...hello, max_tokens: 11 }))
    assert.equal(first.status, 200, await first.clone().text())
    const opening = toldBy(first)
    assert.match(opening.transaction, /^0x[0-9a-f]{64}$/)
    assert.ok(BigInt(opening.amount) > 0n)
    spentNanoUsd += BigInt((await answerOf(first)).baseload.price_nano_usd)
    const block = await net.chain.client.getBlockNumber({ cacheTime: 0 })
    let told = opening
    for (let i = 1; i < 100; i++) {
      const response = await alice.fetch(url, post({ ...hello, max_tokens: 1 + (i % 11) }))
      assert.equal(response.status, 200, await response.clone().text())
      told = toldBy(response)
      assert.deepEqual([told.success, told.transaction, told.amount], [true, '', ''])
      const answer = await answerOf(response)
      assert.equal(answer.usage.completion_tokens, 1 + (i % 11))
      spentNanoUsd += BigInt(answer.baseload.price_nano_usd)
    }
    const { channelId, chargedCumulativeAmount } = told.extra.channelState
    assert.equal(chargedCumulativeAmount, String(spentNanoUsd / NANO_PER_UNIT), 'to the unit')
    assert.equal(
      await net.chain.client.getBlockNumber({ cacheTime: 0 }),
      block,
      'no transaction since the deposit',
    )
    const received = await claimAndSettle(net, channelId, BigInt(chargedCumulativeAmount))
    assert.equal(received, BigInt(chargedCumulativeAmount))
    const { sumNanoUsd, wrong } = await net.store.audit()
    assert.deepEqual([sumNanoUsd, wrong], [0n, []])
  })

  it('streams, tells the most at the head, and lets what it did not cost pay what follows', async (t) => {
    const net = await paidNetwork(t)
    const alice = await net.payer()
    const url = `${net.url}/v1/chat/completions`
    let spentNanoUsd = 0n
    let told = 0n
    for (let i = 0; i < 10; i++) {
      const response = await alice.fetch(url, post({ ...hello, max_tokens: 200, stream: true }))
      assert.equal(response.status, 200)
      told = BigInt(toldBy(response).extra.channelState.chargedCumulativeAmount)
      const events = await eventsOf(response)
      assert.equal(textOf(events), words())
      assert.equal(events.at(-1), '[DONE]')
      const comment = events.find((event) => event.startsWith(': x402 ')) ?? ''
      const cost: { chargedNanoUsd: string } = JSON.parse(comment.slice(': x402 '.length))
      spentNanoUsd += BigInt(cost.chargedNanoUsd)
      assert.ok(told * NANO_PER_UNIT >= spentNanoUsd, 'what is claimed was told')
    }
    const ahead = told - spentNanoUsd / NANO_PER_UNIT
    assert.ok(ahead > 0n)
    const whole = await alice.fetch(url, post({ ...hello, max_tokens: 200 }))
    const { extra } = toldBy(whole)
    assert.equal(extra.chargedAmount, '0', 'paid by what the streams were told too much')
    spentNanoUsd += BigInt((await answerOf(whole)).baseload.price_nano_usd)
    const { channelId } = extra.channelState
    const units = spentNanoUsd / NANO_PER_UNIT
    assert.equal(await claimAndSettle(net, channelId, units), units, 'never what was told ahead')
  })

  it('pays completions and embeddings', async (t) => {
    const net = await paidNetwork(t)
    const alice = await net.payer()
    for (const [path, body] of [
      ['/v1/completions', { model: hello.model, prompt: 'hello', max_tokens: 3 }],
      ['/v1/embeddings', { model: hello.model, input: ['a', 'b c'] }],
    ] as const) {
      const response = await alice.fetch(net.url + path, post(body))
      assert.equal(response.status, 200, await response.clone().text())
      assert.equal(toldBy(response).success, true)
    }
  })

  it('goes on after a restart of the gateway: the client comes into step again by itself', async (t) => {
    const net = await paidNetwork(t)
    const alice = await net.payer()
    const url = `${net.url}/v1/chat/completions`
    const streamed = await alice.fetch(url, post({ ...hello, max_tokens: 200, stream: true }))
    await streamed.text()
    const before = toldBy(await alice.fetch(url, post({ ...hello, max_tokens: 11 })))
    await net.restart()
    const block = await net.chain.client.getBlockNumber({ cacheTime: 0 })
    const after = await alice.fetch(url, post({ ...hello, max_tokens: 11 }))
    assert.equal(after.status, 200, await after.clone().text())
    const { chargedCumulativeAmount, channelId } = toldBy(after).extra.channelState
    assert.equal(channelId, before.extra.channelState.channelId)
    assert.ok(
      BigInt(chargedCumulativeAmount) < BigInt(before.extra.channelState.chargedCumulativeAmount),
      'what a stream was told ahead is not remembered, to the good of the payer',
    )
    assert.equal(await net.chain.client.getBlockNumber({ cacheTime: 0 }), block)
  })

  it('leaves a failed request unpaid, and does not forget the deposit that came with it', async (t) => {
    const net = await paidNetwork(t)
    const alice = await net.payer()
    const url = `${net.url}/v1/chat/completions`
    const [node] = net.nodes
    assert.ok(node)
    node.engine.fault = { at: 0, error: new EngineRefusal(refuse('context_length_exceeded', 'no')) }
    const failed = await alice.fetch(url, post({ ...hello, max_tokens: 11 }))
    assert.equal(failed.status, 400, await failed.clone().text())
    assert.equal(toldBy(failed).extra.chargedAmount, '0')
    node.engine.fault = null
    const block = await net.chain.client.getBlockNumber({ cacheTime: 0 })
    const served = await alice.fetch(url, post({ ...hello, max_tokens: 11 }))
    assert.equal(served.status, 200, await served.clone().text())
    assert.equal(
      await net.chain.client.getBlockNumber({ cacheTime: 0 }),
      block,
      'no second deposit',
    )
  })

  it('serves on a deposit that is only mined, within a bound, and credits it when it is final', async (t) => {
    // One answer is asked for at 8 to 263 units.
    const config = { x402MaxUnfinalUsd: '0.0003' }
    const net = await paidNetwork(t, { depth: 5, config })
    const alice = await net.payer()
    const url = `${net.url}/v1/chat/completions`
    const refused: string[] = []
    let units = 0n
    let nanoUsd = 0n
    for (let i = 0; i < 40 && refused.length === 0; i++) {
      const response = await alice.fetch(url, post({ ...hello, max_tokens: 11 }))
      if (response.status === 200) {
        units = BigInt(toldBy(response).extra.channelState.chargedCumulativeAmount)
        nanoUsd += BigInt((await answerOf(response)).baseload.price_nano_usd)
      } else {
        assert.equal(response.headers.get('retry-after'), '5')
        refused.push((await answerOf(response)).error.code)
      }
    }
    assert.deepEqual(refused, ['deposit_not_final'])
    assert.ok(nanoUsd > 0n, 'some were served before')
    await net.chain.mine(6)
    await net.until('the deposit is final', async () => {
      const response = await alice.fetch(url, post({ ...hello, max_tokens: 11 }))
      if (response.status !== 200) return false
      const { channelId, chargedCumulativeAmount } = toldBy(response).extra.channelState
      units = BigInt(chargedCumulativeAmount)
      nanoUsd += BigInt((await answerOf(response)).baseload.price_nano_usd)
      assert.equal(units, nanoUsd / NANO_PER_UNIT)
      assert.equal(await claimAndSettle(net, channelId, units), units, 'all of it is claimed')
      return true
    })
  })

  it('waits for finality where the operator wants it', async (t) => {
    const net = await paidNetwork(t, { depth: 3, config: { x402DepositFinality: 'final' } })
    const alice = await net.payer()
    const url = `${net.url}/v1/chat/completions`
    let served = false
    const answer = alice.fetch(url, post({ ...hello, max_tokens: 11 })).finally(() => {
      served = true
    })
    await net.until('the deposit is mined', async () => {
      const [action] = await net.store.chainActions({ kind: 'x402-deposit', limit: 1 })
      return action?.mined != null
    })
    assert.equal(served, false)
    await net.chain.mine(4)
    assert.equal((await answer).status, 200)
  })

  it('pays into an account by one transfer, once, and gives a payer without a key one', async (t) => {
    const net = await paidNetwork(t)
    const alice = await net.payer()
    const url = `${net.url}/v1/topups`
    const authorization = `Bearer ${net.key}`
    const own = {
      ...post({ amount_usd: '1.50' }),
      headers: { authorization, 'content-type': 'application/json' },
    }
    const before = (await net.store.balance(tenantLedger(net.account))).balanceNanoUsd
    const paid = await alice.fetch(url, own)
    assert.equal(paid.status, 200, await paid.clone().text())
    assert.match(toldBy(paid).transaction, /^0x[0-9a-f]{64}$/)
    const after = async () => (await net.store.balance(tenantLedger(net.account))).balanceNanoUsd
    assert.equal(await after(), before + 1_500_000_000n)
    const again = { ...own, headers: { ...own.headers, 'payment-signature': alice.last() } }
    const repeated = await fetch(url, again)
    assert.equal(repeated.status, 200, await repeated.clone().text())
    assert.equal(await after(), before + 1_500_000_000n, 'the same payment is credited once')
    const stolen = await fetch(url, {
      ...post({ amount_usd: '1.50' }),
      headers: { 'content-type': 'application/json', 'payment-signature': alice.last() },
    })
    assert.equal((await answerOf(stolen)).error.code, 'payment_used')

    const opened = await alice.fetch(url, post({ amount_usd: '2.00' }))
    const { api_key: key, state }: { api_key: string; state: string } = JSON.parse(
      await opened.text(),
    )
    assert.equal(state, 'credited')
    const answer = await net.post('/v1/chat/completions', hello, { key })
    assert.equal(answer.status, 200, await answer.text())
    const { sumNanoUsd, wrong } = await net.store.audit()
    assert.deepEqual([sumNanoUsd, wrong], [0n, []])
  })

  it('is a facilitator for payments to itself, for callers with a key', async (t) => {
    const net = await paidNetwork(t)
    const alice = await net.payer()
    const kinds = await fetch(`${net.url}/x402/supported`)
    assert.deepEqual(
      (JSON.parse(await kinds.text()) as { kinds: { scheme: string }[] }).kinds.map(
        ({ scheme }) => scheme,
      ),
      ['exact', 'batch-settlement'],
    )
    // Signed, and kept from the gateway.
    const refused = await alice.fetch(`${net.url}/v1/topups`, {
      ...post({ amount_usd: '1.00' }),
      headers: { authorization: 'Bearer sk-bl-wrong', 'content-type': 'application/json' },
    })
    assert.equal(refused.status, 401)
    const payload = await alice.signExact(net, 250_000n)
    const request = {
      x402Version: 2,
      paymentPayload: payload,
      paymentRequirements: payload.accepted,
    }
    const verified = await net.post('/x402/verify', request)
    assert.deepEqual(JSON.parse(await verified.text()), {
      isValid: true,
      payer: alice.wallet.address.toLowerCase(),
    })
    assert.equal((await fetch(`${net.url}/x402/settle`, post(request))).status, 401)
    const elsewhere = structuredClone(request)
    elsewhere.paymentPayload.accepted.payTo = alice.wallet.address
    const no: { success: boolean } = JSON.parse(
      await (await net.post('/x402/settle', elsewhere)).text(),
    )
    assert.equal(no.success, false, 'pays no gas for payments to others')
    const settled: { success: boolean; transaction: string } = JSON.parse(
      await (await net.post('/x402/settle', request)).text(),
    )
    assert.equal(settled.success, true, JSON.stringify(settled))
    const { balanceNanoUsd } = await net.store.balance(tenantLedger(net.account))
    assert.equal(balanceNanoUsd, 5_250_000_000n)
    const card: { x402Support: boolean } = JSON.parse(
      await (await fetch(`${net.url}/.well-known/agent-registration.json`)).text(),
    )
    assert.equal(card.x402Support, true)
  })
})

/** As the operator would: what the ledger says was spent, by the newest voucher. Gives what it has then. */
async function claimAndSettle(net: PaidNetwork, id: Hex, units: bigint): Promise<bigint> {
  const { addresses, client, chainId } = net.chain
  const place = { chainId, contract: lowerHex(addresses.channels) }
  const [record] = await net.store.channelRecords([id])
  assert.ok(record?.signature)
  await net.until('all is settled', async () => {
    const records = await net.store.reconcileChannels(place, record.account, [])
    return records.some((one) => one.id === id && one.chargedUnits === units)
  })
  const { config: channel, ceilingUnits: maxClaimableAmount, signature } = record
  const claim = { voucher: { channel, maxClaimableAmount }, signature, totalClaimed: units }
  const contract = { address: addresses.channels, abi: channelsAbi } as const
  const send = async (hash: Promise<Hex>) =>
    client.waitForTransactionReceipt({ hash: await hash, pollingInterval: 20 })
  const wallet = net.operator.client
  await send(wallet.writeContract({ ...contract, functionName: 'claim', args: [[claim]] }))
  const to = [net.operator.address, addresses.token] as const
  await send(wallet.writeContract({ ...contract, functionName: 'settle', args: to }))
  return client.readContract({
    address: addresses.token,
    abi: mockUsdcAbi,
    functionName: 'balanceOf',
    args: [net.operator.address],
  })
}
