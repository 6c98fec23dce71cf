import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { DatagramDecoder, encodeDatagram, MAX_DATAGRAM_BYTES } from './datagram-frame.ts'

describe('datagram frames', () => {
  const datagrams = fc.array(
    fc.record(
      {
        flow: fc.integer({ min: 0, max: 0xffff_ffff }),
        payload: fc.uint8Array({ maxLength: 40 }),
      },
      { noNullPrototype: true },
    ),
    { maxLength: 12 },
  )

  it('come out as they went in, however the bytes are cut; empty ones, too', () => {
    fc.assert(
      fc.property(datagrams, fc.array(fc.integer({ min: 1, max: 50 })), (sent, cuts) => {
        const bytes = Buffer.concat(sent.map(({ flow, payload }) => encodeDatagram(flow, payload)))
        const { heard, decoder } = setup()
        let at = 0
        for (const cut of [...cuts, bytes.length]) {
          assert.equal(decoder.push(bytes.subarray(at, at + cut)), null)
          at += cut
        }
        assert.deepEqual(heard, sent)
        assert.ok(decoder.atRest)
      }),
    )
  })

  it('carry what UDP can carry, and refuse a byte more', () => {
    const { heard, decoder } = setup()
    const largest = new Uint8Array(MAX_DATAGRAM_BYTES).fill(7)
    assert.equal(decoder.push(encodeDatagram(1, largest)), null)
    assert.deepEqual(heard, [{ flow: 1, payload: largest }])
    assert.throws(() => encodeDatagram(1, new Uint8Array(MAX_DATAGRAM_BYTES + 1)), RangeError)
    const malformed = Uint8Array.of(0, 0, 0, 1, 0xff, 0xe4)
    assert.equal(decoder.push(malformed), 'a datagram of 65508 bytes, limit 65507')
  })
})

function setup() {
  const heard: { flow: number; payload: Uint8Array }[] = []
  const decoder = new DatagramDecoder((flow, payload) =>
    heard.push({ flow, payload: Uint8Array.from(payload) }),
  )
  return { heard, decoder }
}
