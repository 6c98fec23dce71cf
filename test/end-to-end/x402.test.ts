/** Requests paid with the request itself, by x402's own client, on a chain with our contracts at x402's addresses. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Hex } from 'viem'
import { isRefusal, refuse } from '../../src/core/base/refusal.ts'
import { NANO_PER_UNIT } from '../../src/core/ledger/channel.ts'
import { channelsAbi } from '../../src/io/chain/abi/channels.ts'
import { mockUsdcAbi } from '../../src/io/chain/abi/mock-usdc.ts'
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
})

/** As the operator would: what the ledger says was spent, by the newest voucher. Gives what it has then. */
async function claimAndSettle(net: PaidNetwork, id: Hex, units: bigint): Promise<bigint> {
  await net.until('all is settled', async () => {
    const view = await net.book().refresh(id)
    return !isRefusal(view) && view.chargedUnits === units
  })
  const record = net.book().record(id)
  assert.ok(record?.signature)
  const { addresses, client } = net.chain
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
