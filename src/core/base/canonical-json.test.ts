import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { canonicalJson, type Canonical } from './canonical-json.ts'

describe('canonicalJson', () => {
  it('sorts keys at every depth and writes no spaces', () => {
    assert.equal(
      canonicalJson({ b: [1, { z: null, a: true }], a: 'é"' }),
      '{"a":"é\\"","b":[1,{"a":true,"z":null}]}',
    )
  })

  it('refuses what has no one spelling', () => {
    assert.throws(() => canonicalJson(0.5), /safe integer/)
    assert.throws(() => canonicalJson(2 ** 60), /safe integer/)
    assert.throws(() => canonicalJson({ a: undefined } as never), /undefined/)
    assert.throws(() => canonicalJson(1n as never), /bigint/)
  })

  it('reads back as the same value, however the keys were ordered', () => {
    const { value } = fc.letrec<{ value: Canonical }>((tie) => ({
      value: fc.oneof(
        fc.string(),
        fc.maxSafeInteger(),
        fc.boolean(),
        fc.constant(null),
        fc.array(tie('value'), { maxLength: 4 }),
        fc.dictionary(fc.string(), tie('value'), { maxKeys: 4, noNullPrototype: true }),
      ),
    }))
    fc.assert(
      fc.property(value, (v) => {
        const text = canonicalJson(v)
        assert.equal(canonicalJson(JSON.parse(text)), text)
      }),
    )
  })
})
