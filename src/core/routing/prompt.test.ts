import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { isRefusal } from '../base/refusal.ts'
import { readInferenceRequest, type Api } from '../protocol/inference-request.ts'
import { affinityOf, MIN_AFFINITY_CHARACTERS } from './affinity.ts'
import { needsOf } from './needs.ts'
import { hashText } from './ring.ts'

const long = 'You are a careful assistant. '.repeat(20)
const turn = (role: string, content: string) => ({ role, content })

describe('affinity', () => {
  it('is the same in every turn of a conversation, and another for another', () => {
    const opening = [turn('system', long), turn('user', 'First question')]
    const later = [...opening, turn('assistant', 'An answer'), turn('user', 'And now?')]
    assert.equal(chat(later), chat(opening))
    assert.notEqual(chat([turn('system', long), turn('user', 'Another')]), chat(opening))
  })

  it('is null where a cache is not worth it: short prompts, token ids, embeddings', () => {
    assert.equal(chat([turn('user', 'hi')]), null)
    assert.equal(affinityOf(read('completion', { prompt: 'hi' })), null)
    assert.equal(affinityOf(read('completion', { prompt: [1, 2, 3] })), null)
    assert.equal(affinityOf(read('embedding', { input: long })), null)
    assert.equal(typeof affinityOf(read('completion', { prompt: long })), 'number')
    assert.ok(long.length > MIN_AFFINITY_CHARACTERS)
  })
})

describe('hashText', () => {
  it('depends on each character of the part that is hashed, and on nothing behind it', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1, maxLength: 50 }), fc.nat(), (text, place) => {
        const at = place % text.length
        const other = `${text.slice(0, at)}\u0100${text.slice(at + 1)}`
        assert.notEqual(hashText(text), hashText(other))
        assert.equal(hashText(`${text}tail`, text.length), hashText(text))
      }),
    )
  })

  it('spreads names that differ little', () => {
    const hashes = Array.from({ length: 20_000 }, (_, i) => hashText(`node_${i}`))
    assert.ok(new Set(hashes).size > 19_990)
    const low = hashes.filter((hash) => hash < 2 ** 31).length
    assert.ok(Math.abs(low - 10_000) < 400, `${low} of 20,000 in the lower half`)
  })
})

describe('needs', () => {
  it('are what the request cannot do without', () => {
    const plain = read('chat', { messages: [turn('user', 'hi')] })
    assert.deepEqual(needsOf(plain), ['chat'])
    const full = read('chat', {
      messages: [turn('user', 'hi')],
      logprobs: true,
      seed: 1,
      stop: 'x',
      response_format: { type: 'json_object' },
    })
    assert.deepEqual(needsOf(full), ['chat', 'logprobs', 'seed', 'stop', 'json_object'])
    assert.deepEqual(needsOf(read('embedding', { input: 'x' })), ['embedding'])
  })
})

const chat = (messages: unknown) => affinityOf(read('chat', { messages }))

function read(api: Api, body: object) {
  const request = readInferenceRequest(api, { model: 'm', ...body })
  assert.ok(!isRefusal(request))
  return request
}
