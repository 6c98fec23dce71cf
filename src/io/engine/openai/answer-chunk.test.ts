import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { MAX_TOKEN_PART_BYTES, NO_TOKEN_ID } from '../../../core/protocol/token-chunk.ts'
import { readAnswerChunk, tokenChunks } from './answer-chunk.ts'

describe('tokenChunks', () => {
  it('puts the text of several ids on the last', () => {
    const chunks = chunksOf({ delta: { content: '🥊' }, token_ids: [7, 8, 9] })
    assert.deepEqual(
      chunks.map(({ id, text }) => [id, text]),
      [
        [7, ''],
        [8, ''],
        [9, '🥊'],
      ],
    )
  })

  it('gives each logprob entry a chunk, with ids or without', () => {
    const logprobs = { content: [entry('a'), entry('b')] }
    for (const token_ids of [undefined, [1, 2]]) {
      const chunks = chunksOf({ delta: { content: 'ab' }, logprobs, token_ids })
      assert.deepEqual(
        chunks.map(({ text, logprob }) => [text, JSON.parse(logprob).token]),
        [
          ['', 'a'],
          ['ab', 'b'],
        ],
      )
    }
  })

  it("turns completions' logprobs into chat's entries", () => {
    const logprobs = { tokens: ['é'], token_logprobs: [-0.5], top_logprobs: [{ é: -0.5, e: -2 }] }
    const [chunk] = chunksOf({ text: 'é', logprobs })
    assert.deepEqual(JSON.parse(chunk!.logprob), {
      token: 'é',
      logprob: -0.5,
      bytes: [195, 169],
      top_logprobs: [
        { token: 'é', logprob: -0.5, bytes: [195, 169] },
        { token: 'e', logprob: -2, bytes: [101] },
      ],
    })
  })

  it('splits a text that is too long for one chunk, between characters', () => {
    const text = `a${'🥊'.repeat(40_000)}`
    const chunks = chunksOf({ delta: { content: text } })
    assert.ok(chunks.length > 1)
    for (const chunk of chunks) {
      assert.equal(chunk.id, NO_TOKEN_ID)
      assert.ok(Buffer.byteLength(chunk.text) <= MAX_TOKEN_PART_BYTES)
      assert.doesNotMatch(chunk.text, /\p{Surrogate}/u)
    }
    assert.equal(chunks.map((chunk) => chunk.text).join(''), text)
  })

  it('shows hidden reasoning as tokens without text, and a mere role not at all', () => {
    assert.deepEqual(chunksOf({ delta: { reasoning_content: 'hm' } }), [
      { id: NO_TOKEN_ID, text: '', logprob: '' },
    ])
    assert.deepEqual(chunksOf({ delta: { role: 'assistant', content: '' } }), [])
    assert.deepEqual(tokenChunks(readAnswerChunk({ choices: [] })), [])
  })
})

const chunksOf = (choice: unknown) => tokenChunks(readAnswerChunk({ choices: [choice] }))

const entry = (token: string) => ({ token, logprob: -1, top_logprobs: [] })
