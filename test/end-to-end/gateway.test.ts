/** The gateway over real links, a real PostgreSQL and nodes whose every word is foreseen. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { tenantLedger, nodeLedger } from '../../src/io/store/store.ts'
import {
  answerOf,
  eventsOf,
  hello,
  smallNetwork,
  textOf,
  words,
  type SmallNetwork,
} from '../support/small-network.ts'

const limit = { timeout: 60_000 }

describe('gateway', limit, () => {
  it('answers, bills, and hands out a receipt', limit, async (t) => {
    const network = await smallNetwork(t)
    const response = await network.post('/v1/chat/completions', hello)
    const answer = await answerOf(response)
    assert.equal(response.status, 200, JSON.stringify(answer))
    assert.equal(answer.choices[0]?.message.content, words())
    assert.equal(answer.choices[0]?.finish_reason, 'stop')
    assert.equal(answer.usage.completion_tokens, 11)
    const receipt = response.headers.get('x-baseload-receipt') ?? ''
    assert.match(receipt, /^rcpt_/)
    const proven = await answerOf(await network.get(`/v1/receipts/${receipt}`))
    assert.equal(proven.receipt.outputTokens, 11)
    assert.equal(proven.receipt.nanoUsd, answer.baseload.price_nano_usd)
    await paid(network, BigInt(answer.baseload.price_nano_usd))
  })

  it('streams token by token, then usage, then [DONE]', limit, async (t) => {
    const network = await smallNetwork(t)
    const events = await eventsOf(
      await network.post('/v1/chat/completions', {
        ...hello,
        stream: true,
        stream_options: { include_usage: true },
      }),
    )
    assert.equal(textOf(events), words())
    assert.equal(events.at(-1), '[DONE]')
    const last = JSON.parse(events.at(-2) ?? '')
    assert.equal(last.usage.completion_tokens, 11)
    assert.equal(last.baseload.attempts.length, 1)
    assert.equal(events.length, 11 + 4)
  })

  it(
    'goes on at another node when the one that answers vanishes, and pays each for its own',
    limit,
    async (t) => {
      const network = await smallNetwork(t, { nodes: 2 })
      for (const { engine, node } of network.nodes) {
        engine.pace = async (position, signal) => {
          if (engine.tasks.at(-1)?.resume || position < 5) return
          void node.stop()
          await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
        }
      }
      const events = await eventsOf(
        await network.post('/v1/chat/completions', {
          ...hello,
          stream: true,
          stream_options: { include_usage: true },
        }),
      )
      assert.equal(textOf(events), words(), events.at(-1))
      const bill = JSON.parse(events.at(-2) ?? '').baseload
      assert.deepEqual(
        bill.attempts.map((attempt: { tokens: number }) => attempt.tokens),
        [5, 6],
      )
      assert.equal(new Set(bill.attempts.map((attempt: { node: string }) => attempt.node)).size, 2)
      await paid(network, BigInt(bill.price_nano_usd))
    },
  )

  it(
    'answers 503 with retry-after and charges nothing when every replica is gone',
    limit,
    async (t) => {
      const network = await smallNetwork(t, { nodes: 1, config: { vacancyTimeoutMs: 100 } })
      await network.nodes[0]?.node.stop()
      const response = await network.post('/v1/chat/completions', hello)
      const { error } = await answerOf(response)
      assert.deepEqual([response.status, error.code], [503, 'no_node_available'])
      assert.ok(Number(response.headers.get('retry-after')) > 0)
      await paid(network, 0n)
    },
  )

  it('gives n choices, each a sample of its own, and bills the prompt once', limit, async (t) => {
    const network = await smallNetwork(t)
    const answer = await answerOf(
      await network.post('/v1/chat/completions', { ...hello, n: 3, max_tokens: 4 }),
    )
    assert.deepEqual(
      answer.choices.map((choice: { message: { content: string } }) => choice.message.content),
      Array(3).fill(words(0, 4)),
    )
    assert.equal(answer.usage.completion_tokens, 12)
    assert.equal(new Set(answer.baseload.seeds).size, 3)
    await paid(network, BigInt(answer.baseload.price_nano_usd))
  })

  it('embeds', limit, async (t) => {
    const network = await smallNetwork(t)
    const answer = await answerOf(
      await network.post('/v1/embeddings', { model: 'words', input: ['a', 'bcd'] }),
    )
    assert.deepEqual(
      answer.data.map((one: { embedding: number[] }) => one.embedding),
      [
        [1, 0, 0.5],
        [3, 1, 0.5],
      ],
    )
    await paid(network, BigInt(answer.baseload.price_nano_usd))
  })

  it('stops the node when the tenant goes away, and bills what was made', limit, async (t) => {
    const network = await smallNetwork(t, { nodes: 1 })
    const [only] = network.nodes
    assert.ok(only)
    let aborted = false
    only.engine.pace = async (position, signal) => {
      if (position < 3) return
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
      aborted = true
    }
    const leave = new AbortController()
    const response = await network.post(
      '/v1/chat/completions',
      { ...hello, stream: true },
      { signal: leave.signal },
    )
    const reader = response.body?.getReader()
    await reader?.read()
    leave.abort()
    await network.until('the node stopped', () => aborted)
    await network.until('the log has the line', () =>
      network.lines.some((line) => line.includes('tenant left')),
    )
    await network.until(
      'three tokens were paid',
      async () => (await network.store.balance(nodeLedger(only.id))).balanceNanoUsd > 0n,
    )
  })

  it('refuses without money, and says how much is missing', limit, async (t) => {
    const network = await smallNetwork(t, { nodes: 1 })
    const { key } = await network.newKey(await network.newTenant(10n))
    const response = await network.post('/v1/chat/completions', hello, { key })
    const { error } = await answerOf(response)
    assert.deepEqual([response.status, error.code], [402, 'insufficient_balance'])
  })

  it('hedges only when asked and only when the first token is late', limit, async (t) => {
    const network = await smallNetwork(t, { nodes: 2 })
    for (let i = 0; i < 40; i++)
      await answerOf(await network.post('/v1/chat/completions', { ...hello, max_tokens: 1 }))
    const slow = network.nodes.map(({ engine }) => engine)
    let held = 0
    for (const engine of slow) {
      engine.pace = async (position, signal) => {
        if (position > 0 || (held += 1) > 1) return
        await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
      }
    }
    const answer = await answerOf(
      await network.post('/v1/chat/completions', { ...hello, provider: { hedge: true } }),
    )
    assert.equal(answer.choices[0]?.message.content, words(), JSON.stringify(answer))
    assert.equal(answer.baseload.attempts.length, 2)
  })
})

/** All money is where it should be: the tenant lost exactly this, the nodes have it, nothing is held but tranches. */
async function paid(network: SmallNetwork, nanoUsd: bigint): Promise<void> {
  const left = 5_000_000_000n - nanoUsd
  await network.until(
    `the tenant has ${left} left`,
    async () =>
      (await network.store.balance(tenantLedger(network.account))).balanceNanoUsd === left,
  )
  let earned = 0n
  for (const { id } of network.nodes)
    earned += (await network.store.balance(nodeLedger(id))).balanceNanoUsd
  assert.equal(earned, nanoUsd)
  const audit = await network.store.audit()
  assert.deepEqual([audit.sumNanoUsd, audit.wrong], [0n, []])
}
