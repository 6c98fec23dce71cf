import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { GrowingText } from './growing-text.ts'

describe('growing text', () => {
  it('is all its pieces, whatever their characters', () => {
    const text = new GrowingText()
    const pieces = Array.from({ length: 5_000 }, (_, i) => ['a', 'ü', '漢', '🙂 ', ''][i % 5] ?? '')
    for (const piece of pieces) text.add(piece)
    assert.equal(text.toString(), pieces.join(''))
    assert.equal(text.length, pieces.join('').length)
    text.clear()
    assert.deepEqual([text.toString(), text.length], ['', 0])
  })

  it('takes little more memory than its characters', () => {
    const before = heapBytes()
    const texts = Array.from({ length: 20 }, () => new GrowingText())
    for (let i = 0; i < 40_000; i++) for (const text of texts) text.add(' drop')
    const bytes = heapBytes() - before
    const characters = texts.reduce((sum, { length }) => sum + length, 0)
    assert.ok(bytes < 2 * characters, `${bytes} bytes for ${characters} characters`)
  })
})

/** What is really held: the garbage is collected first. */
function heapBytes(): number {
  setFlagsFromString('--expose-gc')
  const collect: () => void = runInNewContext('gc')
  collect()
  return process.memoryUsage().heapUsed
}
