import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { MAX_EVENT_CHARACTERS, SseParser } from './sse-parser.ts'

describe('SseParser', () => {
  it('reads events with any line ending', () => {
    assert.deepEqual(dataOf('data: a\n\ndata: b\r\n\r\ndata: c\r\rdata:d\n\n'), [
      'a',
      'b',
      'c',
      'd',
    ])
  })

  it('skips comments, joins data lines and keeps the type', () => {
    const [event] = parse(': keep-alive\n\nid: 7\nevent: error\ndata: one\ndata: two\n\n')
    assert.deepEqual(event, { type: 'error', data: 'one\ntwo' })
  })

  it('forgets the type of an event without data', () => {
    assert.deepEqual(parse('event: error\n\ndata: a\n\n'), [{ type: 'message', data: 'a' }])
  })

  it('gives the last event of a stream that ends without an empty line', () => {
    assert.deepEqual(dataOf('data: [DONE]'), ['[DONE]'])
    assert.deepEqual(dataOf('data: [DONE]\r'), ['[DONE]'])
  })

  it('reads the same events however the bytes are cut', () => {
    const bytes = Buffer.from(
      '\uFEFFdata: zwölf Boxkämpfer 🥊\r\n\r\n: x\r\ndata: a\r\ndata: b\n\r\n',
    )
    const whole = parse(bytes)
    assert.deepEqual(
      whole.map((event) => event.data),
      ['zwölf Boxkämpfer 🥊', 'a\nb'],
    )
    fc.assert(
      fc.property(fc.array(fc.nat(bytes.length), { maxLength: 8 }), (cuts) => {
        assert.deepEqual(parse(bytes, cuts), whole)
      }),
    )
  })

  it('stops at an event without end', () => {
    const parser = new SseParser()
    const part = Buffer.alloc(MAX_EVENT_CHARACTERS / 2 + 1, 'x')
    parser.push(part)
    assert.throws(() => parser.push(part), { code: 'upstream_malformed' })
  })
})

function parse(text: string | Buffer, cuts: readonly number[] = []) {
  const bytes = Buffer.from(text)
  const parser = new SseParser()
  const edges = [0, ...cuts.toSorted((a, b) => a - b), bytes.length]
  const events = edges
    .slice(1)
    .flatMap((edge, index) => parser.push(bytes.subarray(edges[index], edge)))
  return [...events, ...parser.end()]
}

const dataOf = (text: string) => parse(text).map((event) => event.data)
