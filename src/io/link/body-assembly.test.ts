import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { MAX_BODY_BYTES } from '../../core/protocol/inference-request.ts'
import { MAX_ATTEMPT_HEADER_BYTES } from '../../core/protocol/link.ts'
import { BodyAssembly } from './body-assembly.ts'
import { headerOf } from './test-kit.ts'

describe('a request in parts', () => {
  it('is whole again, wherever it was cut', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 300 }),
        fc.array(fc.integer({ min: 4, max: 700 }), { maxLength: 5 }),
        (body, cuts) => {
          const header = headerOf('att_1', body)
          const wire = wireOf(header, body)
          const ends = [
            ...cuts.toSorted((a, b) => a - b).filter((at) => at < wire.length),
            wire.length,
          ]
          const assembly = new BodyAssembly()
          let from = 0
          let last: unknown = null
          for (const end of ends) {
            assert.equal(last, null)
            last = assembly.add(wire.subarray(from, end))
            from = end
          }
          assert.deepEqual(last, { header, body: Buffer.from(body) })
        },
      ),
    )
  })

  it('is refused when it is longer than it said, or longer than it may be', () => {
    const body = Buffer.from('body')
    const header = headerOf('att_1', body)
    assert.match(
      problemOf(Buffer.concat([wireOf(header, body), body])),
      /^4 bytes more than the body's 4/,
    )
    assert.match(
      problemOf(wireOf({ ...header, bodyBytes: MAX_BODY_BYTES + 1 }, body)),
      /limit 8388608/,
    )
    assert.match(problemOf(wireOf({ ...header, api: 'paint' }, body)), /^attempt header: api/)
    assert.match(problemOf(Buffer.alloc(3)), /^REQUEST of 3 bytes/)
    const long = Buffer.alloc(4)
    long.writeUInt32BE(MAX_ATTEMPT_HEADER_BYTES + 1)
    assert.match(problemOf(long), /limit 16777216/)
  })
})

function wireOf(header: object, body: Uint8Array): Buffer {
  const json = Buffer.from(JSON.stringify(header))
  const length = Buffer.alloc(4)
  length.writeUInt32BE(json.length)
  return Buffer.concat([length, json, body])
}

function problemOf(wire: Uint8Array): string {
  const read = new BodyAssembly().add(wire)
  assert.ok(read instanceof Error)
  return read.message
}
