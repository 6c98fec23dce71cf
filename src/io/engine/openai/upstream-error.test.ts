import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Fault } from '../../../core/base/refusal.ts'
import { EngineRefusal } from '../engine-refusal.ts'
import { roomLeft, upstreamError } from './upstream-error.ts'

const VLLM =
  "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens (904 in the messages, 4096 in the completion). Please reduce the length of the messages or completion."
const VLLM_NEW =
  "'max_tokens' or 'max_completion_tokens' is too large: 4096. This model's maximum context length is 4096 tokens and your request has 904 input tokens (4096 > 4096 - 904)."
const SGLANG =
  "Requested token count exceeds the model's maximum context length of 4096 tokens. You requested a total of 5000 tokens: 904 tokens from the input messages and 4096 tokens for the completion."

describe('upstreamError', () => {
  const overflows: [string, unknown][] = [
    ['vLLM', { error: { message: VLLM, code: 400 } }],
    ['an older vLLM', { object: 'error', message: VLLM, code: 400 }],
    [
      'vLLM about the prompt',
      {
        error: {
          message:
            'The decoder prompt (length 5000) is longer than the maximum model length of 4096.',
        },
      },
    ],
    ['SGLang', { message: "The input (5000 tokens) is longer than the model's context length" }],
    [
      'llama-server',
      {
        error: {
          code: 400,
          message: 'the request exceeds the available context size. try increasing it',
          type: 'exceed_context_size_error',
        },
      },
    ],
    ['OpenAI', { error: { message: 'Too long.', code: 'context_length_exceeded' } }],
    [
      'LM Studio',
      { error: 'Trying to keep 5000 tokens; the model has a context length of only 4096 tokens' },
    ],
  ]
  for (const [who, body] of overflows) {
    it(`understands ${who} when the context is too small`, () => {
      assert.equal(codeOf(upstreamError(400, body)), 'context_length_exceeded')
    })
  }

  it("blames the tenant only for the tenant's own mistakes", () => {
    const body = { error: { message: 'no', param: 'top_p', code: 'unsupported_feature' } }
    const error = upstreamError(400, body)
    assert.ok(error instanceof EngineRefusal)
    assert.deepEqual([error.refusal.code, error.refusal.param], ['unsupported_feature', 'top_p'])
    assert.equal(codeOf(upstreamError(422, { detail: 'no' })), 'invalid_value')
    assert.equal(codeOf(upstreamError(413, null)), 'request_too_large')
    // Another gateway's words about this node's account are none about the tenant's.
    for (const status of [401, 402, 403, 404, 408, 429, 500, 502, 503])
      assert.ok(upstreamError(status, { error: { code: 'insufficient_balance' } }) instanceof Fault)
  })

  it('sends a refused continuation to another node', () => {
    const error = upstreamError(400, { error: { message: 'no prefix' } }, true)
    assert.ok(error instanceof Fault && error.retryable)
  })
})

describe('roomLeft', () => {
  it('reads how much the context still holds', () => {
    for (const message of [VLLM, VLLM_NEW, SGLANG])
      assert.equal(roomLeft({ error: { message } }), 3192)
    assert.equal(roomLeft({ error: { message: VLLM.replace('904', '5000') } }), null)
    assert.equal(roomLeft({ error: { message: 'no' } }), null)
  })
})

const codeOf = (error: Error): string =>
  error instanceof EngineRefusal ? error.refusal.code : 'not a refusal'
