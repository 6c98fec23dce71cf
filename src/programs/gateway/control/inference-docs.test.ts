import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { isRefusal } from '../../../core/base/refusal.ts'
import { readInferenceRequest, type Api } from '../../../core/protocol/inference-request.ts'
import { readProviderPreferences } from '../../../core/protocol/provider-preferences.ts'
import { setupControl, type Answer } from './test-network.ts'
import { DOCUMENTED_REQUESTS } from './inference-docs.ts'

describe('/openapi.json', () => {
  it('describes model and control routes, each with answers and refusals', async () => {
    const { ask } = await setupControl()
    const { status, answer } = await ask(null, 'GET', '/openapi.json')
    assert.equal(status, 200)
    assert.deepEqual([answer['openapi'], answer['info']?.['version']], ['3.1.0', '1.2.3'])
    const operations = Object.entries(answer['paths'] ?? {}).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({
        name: `${method} ${path}`,
        operation,
      })),
    )
    assert.ok(operations.length > 20)
    for (const { name, operation } of operations) {
      assert.ok(operation['summary'], name)
      const answers = Object.keys(operation['responses'] ?? {})
      assert.ok(
        answers.some((code) => code.startsWith('2') || code === '101'),
        name,
      )
      if (name !== 'get /openapi.json') assert.ok(answers.includes('default'), name)
    }
  })

  it('refers only to what it holds', async () => {
    const { ask } = await setupControl()
    const { answer } = await ask(null, 'GET', '/openapi.json')
    const references = [...JSON.stringify(answer).matchAll(/"\$ref":"#\/([^"]+)"/g)]
    assert.ok(references.length > 10)
    for (const [, path = ''] of references) {
      let found: Answer | undefined = answer
      for (const part of path.split('/')) found = found?.[part]
      assert.ok(found, path)
    }
  })

  it('promises only parameters that the hot path understands', () => {
    for (const [api, schema] of Object.entries(DOCUMENTED_REQUESTS)) {
      const names = Object.keys(schema.shape)
      assert.ok(names.includes('model'))
      for (const name of names) {
        const refusal = readInferenceRequest(api as Api, { [name]: null })
        assert.ok(!isRefusal(refusal) || refusal.code !== 'unknown_parameter', `${api}: ${name}`)
      }
    }
  })

  it('promises only routing preferences that the router understands', async () => {
    const { ask } = await setupControl()
    const { answer } = await ask(null, 'GET', '/openapi.json')
    const schemas = answer['components']?.['schemas']
    const names = Object.keys(schemas?.['ProviderPreferences']?.['properties'] ?? {})
    assert.ok(names.length > 10)
    for (const name of names) assert.ok(!isRefusal(readProviderPreferences({ [name]: null })), name)
  })
})
