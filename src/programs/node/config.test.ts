import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  defaultModelConfig,
  modelNameOf,
  nodeConfig,
  readNodeConfig,
  tokenPriceOf,
} from './config.ts'

const least = {
  gateways: ['http://127.0.0.1:8080'],
  home: '/var/lib/baseload/node',
  models: [{ source: 'models/bard-3m-f16.gguf' }],
}

describe('node settings', () => {
  it('need a gateway, a home and something to serve; the rest has defaults', () => {
    const config = readNodeConfig(least)
    assert.equal(config.engine, 'llama.cpp')
    assert.equal(config.dataCollection, 'deny')
    assert.deepEqual(config.models[0], {
      source: 'models/bard-3m-f16.gguf',
      slots: 4,
      inputUsdPerMTok: '0.02',
      outputUsdPerMTok: '0.05',
    })
  })

  it('name every wrong field', () => {
    const cases: [object, RegExp][] = [
      [{ gateways: [] }, /gateways: /],
      [{ gateways: ['ftp://x'] }, /gateways\.0: /],
      [{ home: 7 }, /home: /],
      [{ models: [{ source: 'a.gguf', slots: 0 }] }, /models\.0\.slots: /],
      [{ models: [{ source: 'a.gguf', inputUsdPerMTok: '1e9' }] }, /models\.0\.inputUsdPerMTok: /],
      [{ models: [{ source: 'a.gguf', outputUsdPerMTok: '-1' }] }, /models\.0\.outputUsdPerMTok: /],
      [{ models: [{ source: 'a.gguf', price: 1 }] }, /models\.0: .*price/],
      [{ colour: 'red' }, /colour/],
      [{ models: [] }, /models: .*GGUF/],
      [{ models: [{ name: 'a' }] }, /models\.0\.source: /],
      [{ models: [{ source: 'x/a.gguf' }, { source: 'y/a.gguf' }] }, /two are called a/],
      [{ models: [{ source: 'my model.gguf' }] }, /models\.0\.name: .*'my model'/],
      [{ engine: 'openai' }, /upstream: .*; models\.0\.name: /],
    ]
    for (const [wrong, message] of cases)
      assert.throws(() => readNodeConfig({ ...least, ...wrong }), {
        code: 'invalid_settings',
        message,
      })
  })

  it('call a model by its name, or by its file', () => {
    assert.equal(modelNameOf({ source: 'bard-3m-f16.gguf' }), 'bard-3m-f16')
    assert.equal(modelNameOf({ source: 'hf:org/repo/Some-Model.Q8_0.GGUF' }), 'Some-Model.Q8_0')
    assert.equal(modelNameOf({ source: 'https://host/a/b.gguf?download=true' }), 'b')
    assert.equal(modelNameOf(defaultModelConfig('bard-3m')), 'bard-3m')
  })

  it('turn dollars into nano-dollars without a float', () => {
    const sold = {
      ...defaultModelConfig('m'),
      inputUsdPerMTok: '0.000000001',
      outputUsdPerMTok: '3',
    }
    assert.deepEqual(tokenPriceOf(sold), {
      inputNanoUsdPerMTok: 1n,
      outputNanoUsdPerMTok: 3_000_000_000n,
    })
  })

  it('describe each of their fields', () => {
    const fields = Object.entries(nodeConfig.shape)
    assert.ok(fields.length > 10)
    for (const [name, field] of fields) assert.ok((field.description ?? '').length > 20, name)
  })
})
