import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { isRefusal } from '../base/refusal.ts'
import { encodeFrame, FRAME, MAX_FRAME_PAYLOAD_BYTES, readFrames } from './frame.ts'
import { readInferenceRequest } from './inference-request.ts'
import {
  checkReceiptPrice,
  MAX_RECEIPTS_PER_BATCH,
  readReceiptBatch,
  receiptBatchLines,
  receiptIdOf,
  type Receipt,
} from './receipt.ts'
import { decodeTokenChunks, encodeTokenChunks, MAX_TOKEN_PART_BYTES } from './token-chunk.ts'

const join = (...frames: Uint8Array[]) => new Uint8Array(Buffer.concat(frames))
const collect = (message: Uint8Array) => {
  const seen: [number, number, string][] = []
  const problem = readFrames(message, (type, stream, payload) =>
    seen.push([type, stream, Buffer.from(payload).toString()]),
  )
  return { seen, problem }
}

describe('frames', () => {
  it('come out as they went in, many to a message, unknown types included', () => {
    const message = join(
      encodeFrame(FRAME.TOKENS, 7, Buffer.from('ab')),
      encodeFrame(FRAME.PING, 0, new Uint8Array(0)),
      encodeFrame(99 as never, 2 ** 32 - 1, Buffer.from('c')),
    )
    assert.deepEqual(collect(message), {
      seen: [
        [20, 7, 'ab'],
        [6, 0, ''],
        [99, 2 ** 32 - 1, 'c'],
      ],
      problem: null,
    })
  })

  it('have a limit, tested at its edge', () => {
    assert.equal(
      collect(encodeFrame(FRAME.BODY, 1, new Uint8Array(MAX_FRAME_PAYLOAD_BYTES))).problem,
      null,
    )
    assert.throws(
      () => encodeFrame(FRAME.BODY, 1, new Uint8Array(MAX_FRAME_PAYLOAD_BYTES + 1)),
      RangeError,
    )
    const forged = encodeFrame(FRAME.OFFER, 0, new Uint8Array(MAX_FRAME_PAYLOAD_BYTES + 1))
    forged[4] = FRAME.BODY
    assert.match(collect(forged).problem ?? '', /limit 65536/)
  })

  it('never throw, whatever the bytes, and name what is malformed', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const { seen, problem } = collect(bytes)
        assert.ok(problem !== null || seen.length > 0 || bytes.length === 0)
      }),
      { numRuns: 2000 },
    )
  })
})

describe('token chunks', () => {
  it('round-trip any text', () => {
    const chunk = fc.record(
      {
        id: fc.nat(0xffff_ffff),
        text: fc.string({ unit: 'grapheme', maxLength: 20 }),
        logprob: fc.constantFrom('', '{"token":"é"}'),
      },
      { noNullPrototype: true },
    )
    fc.assert(
      fc.property(fc.array(chunk, { maxLength: 10 }), (chunks) =>
        assert.deepEqual(decodeTokenChunks(encodeTokenChunks(chunks)), chunks),
      ),
    )
  })

  it('keep ids apart that share a slot, and texts apart that share an id', () => {
    const chunks = [0, 8192, 0, 7, 7].map((id, i) => ({
      id,
      text: ['a', 'b', 'ab'][i % 3] ?? '',
      logprob: '',
    }))
    for (let round = 0; round < 2; round++)
      assert.deepEqual(decodeTokenChunks(encodeTokenChunks(chunks)), chunks)
  })

  it('refuse truncation, bad UTF-8 and a part over the limit', () => {
    const whole = encodeTokenChunks([{ id: 1, text: 'abc', logprob: '' }])
    for (let cut = 1; cut < whole.length; cut++)
      assert.equal(typeof decodeTokenChunks(whole.subarray(0, cut)), 'string')
    const bad = Uint8Array.from(whole)
    bad[8] = 0xff
    assert.match(JSON.stringify(decodeTokenChunks(bad)), /UTF-8/)
    assert.equal(
      encodeTokenChunks([{ id: 1, text: 'a'.repeat(MAX_TOKEN_PART_BYTES), logprob: '' }]).length,
      65543,
    )
    assert.throws(
      () => encodeTokenChunks([{ id: 1, text: 'a'.repeat(MAX_TOKEN_PART_BYTES + 1), logprob: '' }]),
      RangeError,
    )
  })
})

const messages = [{ role: 'user', content: 'hi' }]
const refusalOf = (body: unknown, api: 'chat' | 'completion' | 'embedding' = 'chat') => {
  const read = readInferenceRequest(api, body)
  assert.ok(isRefusal(read), `accepted ${JSON.stringify(body)}`)
  return `${read.code} ${read.param}`
}

describe('readInferenceRequest', () => {
  it('reads a full chat request', () => {
    const read = readInferenceRequest('chat', {
      model: 'bard-3m',
      models: ['bard-3m', 'other'],
      messages: [
        {
          role: 'user',
          content: [
            { type: 'text', text: 'a' },
            { type: 'text', text: 'b' },
          ],
        },
      ],
      stream: true,
      stream_options: { include_usage: true },
      n: 2,
      stop: '\n',
      max_completion_tokens: 9,
      temperature: 0,
      top_p: 0.5,
      seed: -1,
      logprobs: true,
      top_logprobs: 3,
      user: 'u',
      frequency_penalty: 0,
      tools: [],
      provider: { sort: 'price', max_price: { prompt: 0.1, completion: '2' } },
    })
    assert.ok(!isRefusal(read) && read.api === 'chat')
    assert.deepEqual(read.models, ['bard-3m', 'other'])
    assert.equal(read.messages[0]?.content, 'ab')
    assert.deepEqual(read.sampling, {
      maxTokens: 9,
      temperature: 0,
      topP: 0.5,
      seed: 0xffff_ffff,
      stop: ['\n'],
      topLogprobs: 3,
      format: { type: 'text' },
    })
    assert.deepEqual(
      [read.provider.maxInputPrice, read.provider.maxOutputPrice],
      [100_000_000n, 2_000_000_000n],
    )
  })

  it('refuses by name what it does not know, cannot do, or cannot read', () => {
    assert.equal(refusalOf({ messages }), 'missing_parameter model')
    assert.equal(refusalOf({ model: 'm' }), 'missing_parameter messages')
    assert.equal(refusalOf({ model: 'm', messages: [] }), 'invalid_value messages')
    assert.equal(refusalOf({ model: 'm', messages, max_tokens: -1 }), 'invalid_value max_tokens')
    assert.equal(refusalOf({ model: 'm', messages, max_tokens: 0 }), 'invalid_value max_tokens')
    assert.equal(refusalOf({ model: 'm', messages, temprature: 1 }), 'unknown_parameter temprature')
    assert.equal(
      refusalOf({ model: 'm', messages, frequency_penalty: 0.5 }),
      'unsupported_feature frequency_penalty',
    )
    assert.equal(refusalOf({ model: 'm', messages, tools: [{}] }), 'unsupported_feature tools')
    assert.equal(refusalOf({ model: 'm', messages, n: 17 }), 'invalid_value n')
    assert.equal(refusalOf({ model: 'm', messages, top_logprobs: 2 }), 'invalid_value top_logprobs')
    assert.equal(
      refusalOf({ model: 'm', messages, provider: { sorted: 1 } }),
      'unknown_parameter provider.sorted',
    )
    assert.equal(
      refusalOf({ model: 'm', messages, stream_options: {} }),
      'invalid_value stream_options',
    )
    assert.equal(
      refusalOf({ model: 'm', messages: [{ role: 'user', content: [{ type: 'image_url' }] }] }),
      'unsupported_feature messages[0].content[0].type',
    )
    assert.equal(
      refusalOf({ model: 'm', messages: [{ role: 'user', content: 7 }] }),
      'invalid_value messages[0].content',
    )
    assert.equal(
      refusalOf({ model: 'm', messages, response_format: { type: 'json_schema' } }),
      'invalid_value response_format.json_schema.schema',
    )
    assert.equal(refusalOf({ model: 'm', input: [] }, 'embedding'), 'invalid_value input')
    assert.equal(
      refusalOf({ model: 'm', prompt: ['a', 'b'], n: 9 }, 'completion'),
      'invalid_value n',
    )
    assert.equal(refusalOf([]), 'invalid_value null')
  })

  it('answers any JSON with a request or a refusal, never a throw', () => {
    const body = fc.record(
      {
        model: fc.oneof(fc.string(), fc.jsonValue()),
        messages: fc.oneof(fc.constant(messages), fc.jsonValue()),
        n: fc.jsonValue(),
        stop: fc.jsonValue(),
        provider: fc.jsonValue(),
        response_format: fc.jsonValue(),
      },
      { requiredKeys: [] },
    )
    fc.assert(
      fc.property(
        fc.oneof(body, fc.jsonValue()),
        fc.constantFrom('chat', 'completion', 'embedding'),
        (value, api) => void readInferenceRequest(api, value),
      ),
      { numRuns: 2000 },
    )
  })
})

const batchOf = (receipts: string[]) => ({ signedAtMs: 1, signature: 's', receipts })
const again = (receipts: string[]) => readReceiptBatch(receiptBatchLines(batchOf(receipts)))

describe('receipts', () => {
  it('travel as lines, within limits tested at their edges', () => {
    for (const receipts of [['{"a":"é"}', '{}'], ['x'.repeat(8192)], Array(256).fill('{}')])
      assert.deepEqual(again(receipts), batchOf(receipts))
    assert.equal(again(['x'.repeat(8193)]), 'a receipt of 8193 characters, limit 8192')
    assert.equal(again(Array(MAX_RECEIPTS_PER_BATCH + 1).fill('{}')), '257 receipts, not 1 to 256')
    assert.equal(readReceiptBatch('{"signedAtMs":1,"signature":"s"}'), '0 receipts, not 1 to 256')
    assert.equal(readReceiptBatch('{"signedAtMs":1\n{}'), 'its first line is not JSON')
    for (const head of [
      '1',
      '{"signedAtMs":-1,"signature":"s"}',
      '{"signedAtMs":1,"signature":"s","x":1}',
    ])
      assert.equal(readReceiptBatch(`${head}\n{}`), 'its first line is not a signature')
  })

  it('price themselves, with the carry', () => {
    const receipt = {
      billedInputTokens: 1,
      inputTokens: 1,
      outputTokens: 0,
      inputNanoUsdPerMTok: '37500000',
      outputNanoUsdPerMTok: '0',
      carryIn: 500_000,
      carryOut: 0,
      nanoUsd: '38',
    } as Receipt
    assert.equal(checkReceiptPrice(receipt), null)
    assert.match(checkReceiptPrice({ ...receipt, nanoUsd: '37' }) ?? '', /38/)
    assert.match(checkReceiptPrice({ ...receipt, carryOut: 1 }) ?? '', /carry/)
    assert.match(checkReceiptPrice({ ...receipt, billedInputTokens: 2 }) ?? '', /more input/)
    assert.equal(receiptIdOf('att_x'), 'rcpt_x')
  })
})
