import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { isRefusal } from '../../core/base/refusal.ts'
import type { OfferedModel } from '../../core/protocol/offer.ts'
import { nodeId } from '../../core/routing/test-replicas.ts'
import type { LinkedNode } from './control/control-parts.ts'
import { listModels } from './model-list.ts'
import { FakeLink } from './test-kit.ts'

describe('model list', () => {
  it('is OpenAI’s, in order of names, each model once', () => {
    const list = read('/v1/models', [
      node('a', model('zeta'), model('alpha')),
      node('b', model('zeta')),
    ])
    assert.equal(list.object, 'list')
    assert.deepEqual(
      list.data.map((one: { id: string; object: string; replicas: number }) => [
        one.id,
        one.object,
        one.replicas,
      ]),
      [
        ['alpha', 'model', 1],
        ['zeta', 'model', 2],
      ],
    )
    assert.deepEqual(read('/v1/models', []).data, [])
  })

  it('says the cheapest price, the longest context, and what replicas share', () => {
    const cheap = model('m', { inputNanoUsdPerMTok: '10000000', contextTokens: 100 })
    const other = model('m', { inputNanoUsdPerMTok: '20000000', contextTokens: 900 })
    const one = read('/v1/models/m', [node('a', cheap), node('b', { ...other, digest: 'name:x' })])
    assert.deepEqual(
      [one.pricing.prompt, one.context_length, one.digest, one.quantization],
      ['0.01', 900, null, null],
    )
    assert.equal(read('/v1/models/m', [node('a', cheap), node('b', other)]).digest, 'name:bard')
  })

  it('finds a name with a slash, escaped or not', () => {
    const nodes = [node('a', model('org/m:q8'))]
    for (const path of ['org/m:q8', 'org%2Fm%3Aq8'])
      assert.equal(read(`/v1/models/${path}`, nodes).id, 'org/m:q8')
  })

  it('refuses a model that nobody serves, and a name that is no name', () => {
    for (const path of ['nobody', '%', '%ff'])
      assert.ok(isRefusal(listModels(`/v1/models/${path}`, [node('a', model('m'))])))
  })
})

function read(path: string, nodes: readonly LinkedNode[]) {
  const answer = listModels(path, nodes)
  assert.ok(typeof answer === 'string')
  return JSON.parse(answer)
}

const node = (name: string, ...models: OfferedModel[]): LinkedNode => ({
  link: new FakeLink({ node: nodeId(name), models }),
  record: null,
  replicas: [],
})

const model = (name: string, more: Partial<OfferedModel> = {}): OfferedModel => ({
  model: name,
  digest: 'name:bard',
  engine: 'test/1',
  quantization: null,
  contextTokens: 100,
  slots: 1,
  capabilities: ['chat'],
  inputNanoUsdPerMTok: '10000000',
  outputNanoUsdPerMTok: '50000000',
  ...more,
})
