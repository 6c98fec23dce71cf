import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { TokenAttributes } from './llama-binding.ts'
import { Vocabulary } from './vocabulary.ts'

describe('Vocabulary', () => {
  it('reads byte-level tokens, whose characters each stand for a byte', () => {
    const { text, bytes } = setup('gpt2', ['Ġthe', 'Ċ', 'Ã', '©', 'ðŁİŃ'])
    assert.equal(text(0), ' the')
    assert.equal(text(1), '\n')
    assert.deepEqual([bytes(2), bytes(3)], [[0xc3], [0xa9]])
    assert.equal(text(4), '🎭')
  })

  it('reads SentencePiece tokens: spaces, and bytes that are no piece', () => {
    const { text, bytes } = setup('llama', ['▁the▁king', '<0xF0>', 'é'])
    assert.equal(text(0), ' the king')
    assert.deepEqual(bytes(1), [0xf0])
    assert.equal(text(2), 'é')
  })

  it('gives control tokens no text, and added tokens their own', () => {
    const { text, vocabulary } = setup('gpt2', ['<|end|>', 'a', 'naïve '], {
      0: 'control',
      2: 'userDefined',
    })
    assert.deepEqual([text(0), text(2), text(99)], ['', 'naïve ', ''])
    assert.deepEqual([...vocabulary.controlTokens()], [['<|end|>', 0]])
  })

  it('asks the library about any other kind', () => {
    assert.equal(setup('bert', ['##ing']).text(0), 'said by the library')
  })
})

function setup(
  kind: string,
  tokens: string[],
  attributes: Record<number, keyof TokenAttributes> = {},
) {
  const vocabulary = new Vocabulary({
    fileInfo: { metadata: { tokenizer: { ggml: { model: kind, tokens } } } },
    getTokenAttributes: (id) => ({
      control: attributes[id] === 'control',
      unknown: false,
      userDefined: attributes[id] === 'userDefined',
    }),
    detokenize: () => 'said by the library',
  })
  const bytes = (id: number) => [...vocabulary.bytesOf(id)]
  return {
    vocabulary,
    bytes,
    text: (id: number) => new TextDecoder().decode(Uint8Array.from(bytes(id))),
  }
}
