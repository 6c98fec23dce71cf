/**
 * Networks compose: the node of an outer network sells what an inner network's gateway serves. Two real gateways,
 * two ledgers, and between them the engine for OpenAI-compatible servers, tested against a real one.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { provenReceiptSchema, receiptIdOf } from '../../src/core/protocol/receipt.ts'
import { verifyReceipt, type VerifyEvidence } from '../../src/io/keys/verify-receipt.ts'
import { nodeLedger, tenantLedger } from '../../src/io/store/store.ts'
import { silentLogger } from '../../src/io/telemetry/logger.ts'
import { nodeConfig } from '../../src/programs/node/config.ts'
import { startNode, type RunningNode } from '../../src/programs/node/main.ts'
import {
  answerOf,
  eventsOf,
  hello,
  MODEL,
  smallNetwork,
  textOf,
  words,
  type SmallNetwork,
} from '../support/small-network.ts'

const limit = { timeout: 90_000 }
const CHAT = '/v1/chat/completions'
const CREDIT = 5_000_000_000n
/** Only this process knows it: the name of the variable is a setting, the key is none. */
const KEY_ENV = 'BASELOAD_TEST_INNER_KEY'

describe('a network whose node is another network', limit, () => {
  it(
    'offers what the inner one was found to do, under the digest of its weights',
    limit,
    async (t) => {
      const { inner, outer } = await setup(t)
      const [theirs, ours] = [await modelAt(inner), await modelAt(outer)]
      assert.equal(ours.digest, theirs.digest)
      assert.equal(ours.context_length, theirs.context_length)
      // These words are not to be stopped, seeded or continued: what does not show is not offered.
      assert.deepEqual(ours.capabilities.toSorted(), [
        'chat',
        'completion',
        'embedding',
        'token_ids',
      ])
    },
  )

  it('answers whole and streamed, with the inner token ids, and embeds', limit, async (t) => {
    const { outer } = await setup(t)
    const answer = await answerOf(await outer.post(CHAT, hello))
    assert.equal(answer.choices[0]?.message.content, words())
    assert.equal(answer.choices[0]?.finish_reason, 'stop')
    assert.deepEqual([answer.usage.prompt_tokens, answer.usage.completion_tokens], [1, 11])

    const events = await streamed(outer, { max_tokens: 5 })
    assert.equal(textOf(events), words(0, 5))
    assert.deepEqual(idsOf(events), [0, 1, 2, 3, 4])

    const embedded = await answerOf(
      await outer.post('/v1/embeddings', { model: MODEL, input: ['a', 'bcd'] }),
    )
    assert.deepEqual(
      embedded.data.map(({ embedding }) => embedding),
      [
        [1, 0, 0.5],
        [3, 1, 0.5],
      ],
    )
  })

  it('has a receipt on each level, and the money adds up in both ledgers', limit, async (t) => {
    const { inner, outer, reseller } = await setup(t)
    const body = JSON.stringify(hello)
    const price = BigInt((await answerOf(await outer.post(CHAT, body))).baseload.price_nano_usd)
    const [node] = outer.outerNodes
    assert.ok(node)
    await outer.until(
      'the outer node is paid',
      async () => (await outer.store.balance(nodeLedger(node.id))).balanceNanoUsd === price,
    )
    assert.equal(
      (await outer.store.balance(tenantLedger(outer.account))).balanceNanoUsd,
      CREDIT - price,
    )
    const tokenIds = Array.from({ length: 11 }, (_, id) => id)
    const said = { text: words(), tokenIds }
    const outerReceipt = await lastReceipt(outer, outer.account)
    proves(outerReceipt, { ...said, requestBody: Buffer.from(body) })
    assert.equal(outerReceipt.receipt.nanoUsd, String(price))

    // Inside, the tenant is the outer node's provider: it pays for the probes and for this request.
    const [innerNode] = inner.nodes
    assert.ok(innerNode)
    await inner.until('the inner node is paid for all', async () => {
      const { balanceNanoUsd: earned } = await inner.store.balance(nodeLedger(innerNode.id))
      const { balanceNanoUsd: left } = await inner.store.balance(tenantLedger(reseller.account))
      const asked = innerNode.engine.tasks.length
      const paid = await inner.store.recentUsage(reseller.account, 1000)
      return (
        earned === CREDIT - left && paid.filter(({ api }) => api !== 'embedding').length === asked
      )
    })
    const innerReceipt = await lastReceipt(inner, reseller.account, reseller.key)
    proves(innerReceipt, said)
    assert.equal(innerReceipt.receipt.node, innerNode.id)
    for (const { store } of [inner, outer]) {
      const audit = await store.audit()
      assert.deepEqual([audit.sumNanoUsd, audit.wrong], [0n, []])
    }
  })

  it(
    'loses an inner node in mid-stream, and the outer tenant notices nothing',
    limit,
    async (t) => {
      const { inner, outer } = await setup(t, { inner: 2 })
      for (const { engine, node } of inner.nodes)
        engine.pace = async (position, signal) => {
          if (engine.tasks.at(-1)?.resume || position < 5) return
          void node.stop()
          await untilAborted(signal)
        }
      const events = await streamed(outer, {})
      assert.equal(textOf(events), words(), events.at(-1))
      assert.deepEqual(
        idsOf(events),
        Array.from({ length: 11 }, (_, id) => id),
      )
      assert.deepEqual(attemptsOf(events), [['ok', 11]])
    },
  )

  it('loses an outer node in mid-stream, and another one goes on', limit, async (t) => {
    const { inner, outer } = await setup(t, { outer: 2 })
    const [only] = inner.nodes
    assert.ok(only)
    let held = false
    only.engine.pace = async (position, signal) => {
      if (position < 5 || held) return
      held = true
      await untilAborted(signal)
    }
    const response = await outer.post(CHAT, {
      ...hello,
      temperature: 0,
      stream: true,
      stream_options: { include_usage: true },
    })
    const answering = outer.outerNodes.find(
      ({ id }) => id === response.headers.get('x-baseload-node'),
    )
    assert.ok(answering)
    await outer.until('five words are under way', () => held)
    void answering.stop()
    const events = await eventsOf(response)
    assert.equal(textOf(events), words(), events.at(-1))
    assert.equal(attemptsOf(events).length, 2)
    const bill = JSON.parse(events.at(-2) ?? '')
    assert.equal(bill.usage.completion_tokens, 11)
  })

  it("passes the inner network's refusals on in its own words", limit, async (t) => {
    const { outer } = await setup(t)
    const content = 'word '.repeat(300)
    const response = await outer.post(CHAT, { ...hello, messages: [{ role: 'user', content }] })
    const { error } = await answerOf(response)
    assert.deepEqual(
      [response.status, error.code, error.param],
      [400, 'context_length_exceeded', 'messages'],
    )
    assert.match(error.message, /the prompt has 301\. Shorten it/)
  })

  it(
    'answers 5xx without naming its key, and charges nothing, when the inner network no longer takes it',
    limit,
    async (t) => {
      const { inner, outer, reseller } = await setup(t)
      const left = (await inner.store.balance(tenantLedger(reseller.account))).balanceNanoUsd
      assert.ok(left > 0n)
      await inner.store.revokeKey(reseller.account, reseller.keyId)
      await inner.until('the key is forgotten', async () => {
        const response = await inner.post(CHAT, hello, { key: reseller.key })
        return response.status === 401
      })
      const response = await outer.post(CHAT, { ...hello, provider: { allow_fallbacks: false } })
      const { error } = await answerOf(response)
      assert.ok([502, 503].includes(response.status), JSON.stringify(error))
      assert.doesNotMatch(error.message, /sk-bl-/)
      const { balanceNanoUsd } = await outer.store.balance(tenantLedger(outer.account))
      assert.equal(balanceNanoUsd, CREDIT)
    },
  )
})

type Outer = SmallNetwork & { readonly outerNodes: readonly RunningNode[] }
type Reseller = { readonly account: string; readonly key: string; readonly keyId: string }

/** So many inner nodes behind one gateway, and outer nodes that sell it. */
async function setup(
  t: TestContext,
  count: { inner?: number; outer?: number } = {},
): Promise<{ inner: SmallNetwork; outer: Outer; reseller: Reseller }> {
  const folder = mkdtempSync(join(tmpdir(), 'baseload-composed-'))
  const inner = await smallNetwork(t, { nodes: count.inner ?? 1 })
  const outer = await smallNetwork(t, { nodes: 0 })
  const account = await inner.newTenant(CREDIT)
  const { key, id: keyId } = await inner.newKey(account)
  process.env[KEY_ENV] = key
  const outerNodes: RunningNode[] = []
  t.after(async () => {
    await Promise.all(outerNodes.map((node) => node.stop()))
    rmSync(folder, { recursive: true, force: true })
  })
  for (let i = 0; i < (count.outer ?? 1); i++) {
    const settings = nodeConfig.parse({
      gateways: [outer.url],
      home: join(folder, `node-${i}`),
      engine: 'openai',
      upstream: `${inner.url}/v1`,
      upstreamKeyEnv: KEY_ENV,
      drainSeconds: 0,
    })
    const options = { logger: silentLogger, say: () => {}, settleMs: 500 }
    outerNodes.push(await startNode(settings, options))
  }
  for (const { id } of outerNodes)
    await outer.until(
      `${id} is linked`,
      async () => (await outer.get(`/v1/network/nodes/${id}`)).status === 200,
    )
  return { inner, outer: { ...outer, outerNodes }, reseller: { account, key, keyId } }
}

type Model = { digest: string; context_length: number; capabilities: string[] }

async function modelAt(network: SmallNetwork): Promise<Model> {
  const model: Model = JSON.parse(await (await network.get(`/v1/models/${MODEL}`)).text())
  return model
}

/** A chat as another Baseload would ask for it: with the ids of its tokens. */
async function streamed(network: SmallNetwork, more: object): Promise<string[]> {
  const body = { ...hello, stream: true, stream_options: { include_usage: true }, ...more }
  return eventsOf(await network.post(CHAT, body, { headers: { 'x-baseload-token-ids': '1' } }))
}

type Event = {
  choices: { token_ids?: number[] }[]
  baseload?: { attempts: { outcome: string; tokens: number }[] }
}

function parsed(events: readonly string[]): Event[] {
  return events.filter((event) => event.startsWith('{')).map((event): Event => JSON.parse(event))
}

const idsOf = (events: readonly string[]): number[] =>
  parsed(events).flatMap(({ choices }) => choices[0]?.token_ids ?? [])

const attemptsOf = (events: readonly string[]): [string, number][] =>
  (parsed(events).at(-1)?.baseload?.attempts ?? []).map(({ outcome, tokens }) => [outcome, tokens])

/** The receipt of what this account was last charged for, as its gateway hands it out. */
async function lastReceipt(network: SmallNetwork, account: string, key = network.key) {
  const usages = await network.store.recentUsage(account, 1000)
  const last = usages.toSorted((a, b) => a.startedAt - b.startedAt).at(-1)
  assert.ok(last)
  const response = await network.get(`/v1/receipts/${receiptIdOf(last.attempt)}`, key)
  return provenReceiptSchema.parse(JSON.parse(await response.text()))
}

/** Nothing about it is wrong, and nothing that we know of the answer was left unchecked. */
function proves(proven: Parameters<typeof verifyReceipt>[0], evidence: VerifyEvidence): void {
  const { checks } = verifyReceipt(proven, evidence)
  const skippable = evidence.requestBody ? [] : ['request']
  for (const { name, outcome, detail } of checks)
    if (!skippable.includes(name)) assert.equal(outcome, 'ok', detail)
}

const untilAborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
