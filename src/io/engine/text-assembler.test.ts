import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { TextAssembler } from './text-assembler.ts'

const encoder = new TextEncoder()

describe('TextAssembler', () => {
  it('waits for the rest of a character', () => {
    assert.deepEqual(emitted([[0xf0, 0x9f], [0x8e], [0xad, 0x21]], []), ['', '', '🎭!', ''])
  })

  it('ends the text before a stop sequence that spans tokens', () => {
    assert.deepEqual(emitted(['Good ni', 'gh', 't. ', 'END'], ['night. E']), [
      'Good ',
      '',
      '',
      '',
      '',
    ])
  })

  it('gives back what only looked like a stop sequence', () => {
    assert.deepEqual(emitted(['a\n', '\n', 'b'], ['\n\n\n']), ['a', '', '\n\nb', ''])
    assert.deepEqual(emitted(['a\n'], ['\n\n']), ['a', '\n'])
  })

  it('takes the stop sequence that is complete first', () => {
    assert.deepEqual(emitted(['xabc'], ['abc', 'b']), ['xa', ''])
  })

  it('says nothing after a stop, and drops half a character at the end', () => {
    assert.deepEqual(emitted(['a.', 'b'], ['.']), ['a', '', ''])
    assert.deepEqual(emitted([[0x61, 0xe2, 0x82]], []), ['a', ''])
  })

  it('keeps a byte order mark and shows bytes that are no text', () => {
    assert.deepEqual(emitted([[0xef, 0xbb, 0xbf, 0x61, 0xff, 0x62]], []), ['\ufeffa\ufffdb', ''])
  })

  it('ignores a stop sequence that is half a character', () => {
    assert.deepEqual(emitted(['🎭'], ['\udfad', '\ud83c']), ['🎭', ''])
  })

  it('emits the same text however the bytes are split', () => {
    fc.assert(
      fc.property(byteText, stopList, fc.array(fc.nat(60)), (bytes, stops, cuts) => {
        assert.equal(emitted(split(bytes, cuts), stops).join(''), emitted([bytes], stops).join(''))
      }),
    )
  })

  it('goes on after any token as if nothing had happened', () => {
    fc.assert(
      fc.property(byteText, stopList, fc.array(fc.nat(60)), (bytes, stops, cuts) => {
        const tokens = split(bytes, cuts)
        const whole = emitted(tokens, stops)
        for (let cut = 0; cut <= tokens.length; cut++) {
          const resumed = new TextAssembler(stops)
          const replayed = tokens.slice(0, cut).map((token) => resumed.push(token))
          assert.deepEqual(replayed, whole.slice(0, cut))
          const rest = tokens.slice(cut).map((token) => resumed.push(token))
          assert.deepEqual([...rest, resumed.finish()], whole.slice(cut))
        }
      }),
    )
  })

  it('never shows a stop sequence', () => {
    fc.assert(
      fc.property(byteText, stopList, fc.array(fc.nat(60)), (bytes, stops, cuts) => {
        const text = emitted(split(bytes, cuts), stops).join('')
        for (const stop of stops) assert.ok(!text.includes(stop), `${text} has ${stop}`)
      }),
    )
  })
})

/** What comes out after each token, and at the end. */
function emitted(tokens: readonly (string | number[] | Uint8Array)[], stops: string[]): string[] {
  const assembler = new TextAssembler(stops)
  const parts = tokens.map((token) =>
    assembler.push(typeof token === 'string' ? encoder.encode(token) : Uint8Array.from(token)),
  )
  return [...parts, assembler.finish()]
}

/** Few letters, so that stops are met; characters of one to four bytes; now and then no text at all. */
const letters = fc.constantFrom('a', 'b', 'ab', '\n', 'é', '€', '🎭', '🎬')
const byteText = fc
  .array(
    fc.oneof(
      { weight: 9, arbitrary: letters.map((s) => [...encoder.encode(s)]) },
      {
        weight: 1,
        arbitrary: fc.array(fc.nat(255), { maxLength: 2 }),
      },
    ),
    { maxLength: 30 },
  )
  .map((parts) => Uint8Array.from(parts.flat()))
const stopList = fc.array(
  fc.array(letters, { minLength: 1, maxLength: 3 }).map((parts) => parts.join('')),
  { maxLength: 3 },
)

function split(bytes: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const at = [
    0,
    ...cuts.filter((cut) => cut < bytes.length).toSorted((a, b) => a - b),
    bytes.length,
  ]
  return at.slice(1).map((end, i) => bytes.subarray(at[i], end))
}
