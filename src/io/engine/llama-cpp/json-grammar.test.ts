import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { isRefusal } from '../../../core/base/refusal.ts'
import { translateSchema } from './json-grammar.ts'

describe('translateSchema', () => {
  it('keeps what the library understands and drops what only explains', () => {
    const schema = {
      title: 'A person',
      type: 'object',
      properties: {
        name: { type: 'string', minLength: 1, maxLength: 20, description: 'given' },
        born: { type: 'string', format: 'date' },
        tags: { type: 'array', items: { const: 'x' }, maxItems: 3 },
      },
      required: ['name'],
      additionalProperties: false,
    }
    assert.deepEqual(translateSchema(schema), {
      type: 'object',
      properties: {
        name: { type: 'string', minLength: 1, maxLength: 20 },
        born: { type: 'string', format: 'date' },
        tags: { type: 'array', items: { enum: ['x'] }, maxItems: 3 },
      },
    })
  })

  it('splits several types, and reads anyOf, definitions and references', () => {
    const schema = {
      anyOf: [{ $ref: '#/definitions/leaf' }, { type: ['string', 'null'], maxLength: 3 }],
      definitions: { leaf: { properties: { next: { $ref: '#/$defs/leaf' } } } },
    }
    assert.deepEqual(translateSchema(schema), {
      oneOf: [
        { $ref: '#/$defs/leaf' },
        { oneOf: [{ type: 'string', maxLength: 3 }, { type: 'null' }] },
      ],
      $defs: { leaf: { type: 'object', properties: { next: { $ref: '#/$defs/leaf' } } } },
    })
  })

  const refused: [why: string, schema: Record<string, unknown>, param: RegExp][] = [
    [
      'a pattern',
      { type: 'object', properties: { a: { type: 'string', pattern: 'x' } } },
      /a\.pattern$/,
    ],
    ['a bound on numbers', { type: 'integer', minimum: 3 }, /\.minimum$/],
    ['no type', { description: 'anything' }, /schema$/],
    ['items of any kind', { type: 'array' }, /schema$/],
    ['another format', { type: 'string', format: 'email' }, /\.format$/],
    ['allOf', { allOf: [{ type: 'null' }] }, /schema/],
    ['a keyword beside anyOf', { anyOf: [{ type: 'null' }], minItems: 2 }, /\.minItems$/],
    ['a reference to nowhere', { $ref: '#/$defs/none' }, /\$ref$/],
    ['a huge bound', { type: 'string', maxLength: 100_000 }, /\.maxLength$/],
    ['an object as a constant', { const: {} }, /\.const$/],
    ['a required property without a schema', { type: 'object', required: ['a'] }, /\.required$/],
    ['a keyword that nobody knows', { type: 'null', bogus: 1 }, /\.bogus$/],
  ]
  for (const [why, schema, param] of refused) {
    it(`refuses by name: ${why}`, () => {
      const refusal = translateSchema(schema)
      assert.ok(isRefusal(refusal))
      assert.equal(refusal.code, 'unsupported_feature')
      assert.match(refusal.param ?? '', param)
    })
  }

  it('refuses a schema with too many parts', () => {
    const names = Array.from({ length: 3000 }, (_, i) => [`p${i}`, { type: 'null' }])
    assert.ok(isRefusal(translateSchema({ type: 'object', properties: Object.fromEntries(names) })))
  })
})
