import assert from 'node:assert/strict'
import { resolve } from 'node:path'
import { describe, it } from 'node:test'
import { parseModelSource } from './model-source.ts'

describe('parseModelSource', () => {
  it('tells paths, addresses and Hugging Face files apart', () => {
    assert.deepEqual(parseModelSource('models/a.gguf', {}), {
      kind: 'path',
      path: resolve('models/a.gguf'),
    })
    const web = parseModelSource('https://models.example/x/a%20b.gguf?sig=1', {})
    assert.ok(web.kind === 'web' && web.token === null)
    assert.match(web.place, /^models\.example-[0-9a-f]{8}\/a_b\.gguf$/)
    const hub = parseModelSource('hf:org/repo/q4/a.gguf', { HF_TOKEN: 'hf_x' })
    assert.ok(hub.kind === 'web' && hub.token === 'hf_x')
    assert.equal(hub.url.href, 'https://huggingface.co/org/repo/resolve/main/q4/a.gguf')
  })

  it('gives two files of one name two places', () => {
    const places = ['hf:a/r/m.gguf', 'hf:b/r/m.gguf'].map((text) => {
      const source = parseModelSource(text, {})
      return source.kind === 'web' ? source.place : ''
    })
    assert.notEqual(places[0], places[1])
  })

  it('refuses with what a source looks like', () => {
    for (const text of [
      'model.safetensors',
      'ftp://host/a.gguf',
      'http://models.example/a.gguf',
      'https://me:secret@models.example/a.gguf',
      'hf:repo/a.gguf',
      'hf:org/repo/../a.gguf',
      'hf:../repo/a.gguf',
      'big-00001-of-00003.gguf',
    ])
      assert.throws(
        () => parseModelSource(text, {}),
        (error) =>
          error instanceof Error && /hf:org/.test(error.message) && !/secret/.test(error.message),
        text,
      )
  })
})
