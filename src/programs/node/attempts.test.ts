import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { describe, it } from 'node:test'
import type { TokenPrice } from '../../core/base/money.ts'
import { Fault } from '../../core/base/refusal.ts'
import type { AttemptHeader } from '../../core/protocol/link.ts'
import { sha256Hex } from '../../io/keys/identity.ts'
import { hashTokenIds } from '../../io/keys/verify-receipt.ts'
import { silentLogger } from '../../io/telemetry/logger.ts'
import { runAttempt } from './attempts.ts'
import { chatBody, createFakeAttempt } from './fake-attempt.ts'
import { createFakeEngine, fakeModel, WORDS } from './fake-engine.ts'
import type { ReceiptDraft } from './receipt-book.ts'

const sold = { inputNanoUsdPerMTok: 20n, outputNanoUsdPerMTok: 50n }
const text = (from: number, to: number) =>
  WORDS.slice(from, to)
    .map((word) => `${word} `)
    .join('')

describe('attempt', { timeout: 10_000 }, () => {
  it('streams an answer, ends it, and writes what it was', async () => {
    const { attempt, run, receipts } = setup(chatBody('one two'))
    await run()
    assert.deepEqual(what(attempt), [...WORDS.map(() => 'tokens'), 'end'])
    assert.deepEqual(attempt.said.at(-1)?.body, {
      finish: 'stop',
      inputTokens: 2,
      outputTokens: 11,
    })
    assert.deepEqual(receipts, [
      {
        attempt: 'att_0000000000',
        request: 'req_0000000000',
        api: 'chat',
        model: 'words',
        modelDigest: fakeModel.digest,
        engine: 'fake/1',
        requestHash: sha256Hex(JSON.stringify(chatBody('one two'))),
        outputHash: hashTokenIds(WORDS.map((_, i) => i)),
        textHash: sha256Hex(text(0, 11)),
        choice: 0,
        seed: 7,
        firstToken: 0,
        inputTokens: 2,
        billedInputTokens: 2,
        outputTokens: 11,
        finish: 'stop',
        startedAtMs: 1000,
        finishedAtMs: 1001,
        price: sold,
      },
    ])
  })

  it('asks the engine what the tenant asked, with the gateway’s choices in it', async () => {
    const body = {
      ...chatBody(),
      temperature: 0.5,
      top_p: 0.9,
      stop: ['x'],
      logprobs: true,
      top_logprobs: 2,
      seed: 99,
      max_tokens: 50,
      response_format: { type: 'json_object' },
    }
    const { run, engine } = setup(body, { seed: 3, maxTokens: 5 })
    await run()
    assert.deepEqual(engine.tasks, [
      {
        model: 'words',
        input: { kind: 'chat', messages: [{ role: 'user', content: 'hello there' }] },
        maxTokens: 5,
        temperature: 0.5,
        topP: 0.9,
        seed: 3,
        stop: ['x'],
        topLogprobs: 2,
        format: { type: 'json_object' },
        resume: null,
      },
    ])
  })

  it('goes on where another node stopped, and bills its own tokens only', async () => {
    const resume = { tokenIds: [0, 1, 2], text: text(0, 3) }
    const { attempt, run, receipts } = setup(chatBody(), { resume, billInput: false, maxTokens: 4 })
    await run()
    assert.deepEqual(
      attempt.chunks.map(({ id }) => id),
      [3, 4, 5, 6],
    )
    const [receipt] = receipts
    assert.equal(receipt?.firstToken, 3)
    assert.equal(receipt?.outputTokens, 4)
    assert.equal(receipt?.inputTokens, 2)
    assert.equal(receipt?.billedInputTokens, 0)
    assert.equal(receipt?.finish, 'length')
    assert.equal(receipt?.textHash, sha256Hex(text(3, 7)))
  })

  it('picks the prompt of its choice: n choices for each prompt, in order', async () => {
    const body = { model: 'words', prompt: ['a', 'b c'], n: 3 }
    for (const [choice, prompt] of ['a', 'a', 'a', 'b c', 'b c', 'b c'].entries()) {
      const { run, engine } = setup(body, { api: 'completion', choice })
      await run()
      assert.deepEqual(engine.tasks[0]?.input, { kind: 'completion', prompt })
    }
    const { attempt, run, receipts } = setup(body, { api: 'completion', choice: 6 })
    await run()
    assert.deepEqual(codes(attempt), [['error', 'invalid_value', false]])
    assert.deepEqual(receipts, [])
  })

  it('gives one vector for each input', async () => {
    const body = { model: 'words', input: ['ab', 'c'] }
    const { attempt, run, receipts } = setup(body, { api: 'embedding' })
    await run()
    assert.deepEqual(attempt.said, [
      { what: 'vector', body: [0, 2, 0, 0.5] },
      { what: 'vector', body: [1, 1, 1, 0.5] },
      { what: 'end', body: { finish: 'stop', inputTokens: 2, outputTokens: 0 } },
    ])
    const [receipt] = receipts
    const vectors = Float32Array.of(2, 0, 0.5, 1, 1, 0.5)
    assert.equal(receipt?.outputHash, sha256Hex(new Uint8Array(vectors.buffer)))
    assert.equal(receipt?.textHash, sha256Hex(''))
    assert.equal(receipt?.seed, null)
    assert.equal(receipt?.billedInputTokens, 2)
  })

  it('refuses what it cannot read, without a retry elsewhere', async () => {
    const cases: [unknown, string][] = [
      [Buffer.from('{'), 'invalid_json'],
      [Buffer.from([0x22, 0xff, 0x22]), 'invalid_json'],
      [{ model: 'words' }, 'missing_parameter'],
      [{ ...chatBody(), surprise: 1 }, 'unknown_parameter'],
    ]
    for (const [body, code] of cases) {
      const { attempt, run, receipts } = setup(body)
      await run()
      assert.deepEqual(codes(attempt), [['error', code, false]])
      assert.deepEqual(receipts, [])
    }
  })

  it('refuses what does not fit the context, before anything else is said', async () => {
    const { attempt, run, receipts } = setup(chatBody('word '.repeat(300)))
    await run()
    assert.deepEqual(codes(attempt), [['error', 'context_length_exceeded', false]])
    assert.deepEqual(receipts, [])
  })

  it('sends a model it does not sell elsewhere', async () => {
    const unknown = setup(chatBody(), { model: 'other' })
    await unknown.run()
    assert.deepEqual(codes(unknown.attempt), [['error', 'model_not_found', true]])
    const unpriced = setup(chatBody())
    await unpriced.run({ priceOf: () => null })
    assert.deepEqual(codes(unpriced.attempt), [['error', 'model_not_found', true]])
  })

  it('says busy when the engine is full', async () => {
    const { attempt, run, engine, receipts } = setup(chatBody())
    engine.fault = { at: 0, error: new Fault('busy', 'all slots taken', { retryable: true }) }
    await run()
    assert.deepEqual(codes(attempt), [['busy', 'busy', true]])
    assert.deepEqual(receipts, [])
  })

  it('is paid for what it gave before the engine broke, and for nothing when it gave nothing', async () => {
    for (const given of [0, 3]) {
      const { attempt, run, engine, receipts } = setup(chatBody())
      engine.fault = { at: given, error: new Fault('gpu_lost', 'the GPU fell off the bus') }
      await run()
      assert.deepEqual(codes(attempt).at(-1), ['error', 'gpu_lost', true])
      assert.deepEqual(
        receipts.map(({ finish, outputTokens, billedInputTokens }) => [
          finish,
          outputTokens,
          billedInputTokens,
        ]),
        given === 0 ? [] : [['failed', 3, 0]],
      )
    }
    const odd = setup(chatBody())
    odd.engine.fault = { at: 1, error: new Error('a bug') }
    await odd.run()
    assert.deepEqual(codes(odd.attempt).at(-1), ['error', 'engine_failed', true])
  })

  it('stops when the gateway cancels, and counts only what it handed over', async () => {
    for (const given of [0, 4]) {
      const { attempt, run, engine, receipts } = setup(chatBody())
      engine.pace = (position) => {
        if (position === given) attempt.cancel()
      }
      await run()
      assert.deepEqual(attempt.said.at(-1), {
        what: 'end',
        body: { finish: 'cancelled', inputTokens: 2, outputTokens: given },
      })
      assert.deepEqual(
        receipts.map(({ finish, outputTokens, textHash }) => [finish, outputTokens, textHash]),
        given === 0 ? [] : [['cancelled', 4, sha256Hex(text(0, 4))]],
      )
    }
  })

  it('counts no token that came after the cancel', async () => {
    const { attempt, run, engine, receipts } = setup(chatBody())
    // Cancelled while the link has no room: the engine's next token was already on its way.
    attempt.room = () => attempt.cancel()
    engine.pace = () => {}
    await run()
    assert.equal(attempt.chunks.length, 1)
    assert.equal(receipts[0]?.outputTokens, 1)
  })

  it('waits for room on the link before it asks for more', async () => {
    const { attempt, run } = setup(chatBody())
    const link = new EventEmitter()
    attempt.room = async () => {
      if (attempt.chunks.length === 2) await once(link, 'room')
    }
    const over = run()
    await new Promise(setImmediate)
    assert.equal(attempt.chunks.length, 2)
    link.emit('room')
    await over
    assert.equal(attempt.chunks.length, WORDS.length)
  })

  it('hands a running answer over when the node has to leave', async () => {
    const leave = new AbortController()
    const { attempt, run, engine, receipts } = setup(chatBody())
    engine.pace = (position) => {
      if (position === 2) leave.abort()
    }
    await run({ signal: leave.signal })
    assert.deepEqual(codes(attempt).at(-1), ['error', 'node_draining', true])
    assert.deepEqual(
      receipts.map(({ finish, outputTokens, billedInputTokens }) => [
        finish,
        outputTokens,
        billedInputTokens,
      ]),
      [['cancelled', 2, 2]],
    )
  })

  it('writes no receipt that ends before it begins, whatever the clock does', async () => {
    const { run, receipts } = setup(chatBody())
    let now = 5000
    await run({ now: () => (now -= 1000) })
    assert.equal(receipts[0]?.finishedAtMs, receipts[0]?.startedAtMs)
  })
})

function setup(body: unknown, header: Partial<AttemptHeader> = {}) {
  const engine = createFakeEngine()
  const attempt = createFakeAttempt(body, header)
  const receipts: (ReceiptDraft & { price: TokenPrice })[] = []
  let now = 999
  const run = (more: Partial<Parameters<typeof runAttempt>[1]> = {}) =>
    runAttempt(attempt, {
      engine,
      priceOf: () => sold,
      write: (draft, price) => receipts.push({ ...draft, price }),
      signal: attempt.signal,
      now: () => (now += 1),
      logger: silentLogger,
      ...more,
    })
  return { engine, attempt, receipts, run }
}

const what = ({ said }: ReturnType<typeof createFakeAttempt>) => said.map((one) => one.what)

/** Errors and busies as [what, code, retryable]; tokens and accepts by name. */
const codes = ({ said }: ReturnType<typeof createFakeAttempt>) =>
  said.map(({ what: name, body }) =>
    name === 'error' || name === 'busy'
      ? [name, (body as { code: string }).code, (body as { retryable: boolean }).retryable]
      : [name],
  )
