import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { readGgufHeader } from './gguf-header.ts'
import { makeGguf } from './test-kit.ts'

const timeout = 20_000
const bard = new URL('../../../models/bard-3m/', import.meta.url)

describe('readGgufHeader', () => {
  it('says what a model is', { timeout }, async (t) => {
    const path = await setup(t, makeGguf())
    assert.deepEqual(await readGgufHeader(path), {
      version: 3,
      name: 'Toy',
      architecture: 'llama',
      contextTokens: 512,
      quantization: 'Q8_0',
      parameters: 64,
      tensors: 1,
      hasChatTemplate: true,
      fileBytes: makeGguf().length,
      neededBytes: makeGguf().length,
    })
  })

  it('names the weights where the file names no quantization', { timeout }, async (t) => {
    const path = await setup(t, makeGguf({ fileType: 999, chatTemplate: null }))
    const header = await readGgufHeader(path)
    assert.equal(header.quantization, 'Q8_0')
    assert.equal(header.hasChatTemplate, false)
  })

  it('reads the model that a fresh network serves', { timeout }, async () => {
    for (const quantization of ['F16', 'Q8_0']) {
      const path = new URL(`bard-3m-${quantization.toLowerCase()}.gguf`, bard).pathname
      const header = await readGgufHeader(path)
      assert.equal(header.quantization, quantization)
      assert.equal(header.parameters, 2_755_008)
      assert.equal(header.contextTokens, 512)
      assert.equal(header.neededBytes, header.fileBytes)
      assert.equal(header.fileBytes, (await readFile(path)).length)
    }
  })

  it('never reads past the end, wherever the file was cut', { timeout }, async (t) => {
    const whole = makeGguf()
    const path = await setup(t, whole)
    for (let length = 0; length < whole.length; length += 3) {
      await writeFile(path, whole.subarray(0, length))
      const header = await readGgufHeader(path).catch((error: unknown) => error)
      if (header instanceof Error) assert.match(String(header), /Fault/)
      else assert.ok((header as { neededBytes: number }).neededBytes > length)
    }
  })

  it('refuses nonsense without believing its sizes', { timeout }, async (t) => {
    const path = await setup(t, Buffer.from('GGML and more'))
    await assert.rejects(readGgufHeader(path), { code: 'gguf_invalid' })
    const lying = Buffer.alloc(64, 0xff)
    lying.write('GGUF')
    lying.writeUInt32LE(3, 4)
    await writeFile(path, lying)
    await assert.rejects(readGgufHeader(path), { code: 'gguf_invalid' })
  })
})

async function setup(t: TestContext, bytes: Buffer): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'baseload-gguf-'))
  t.after(() => rm(folder, { recursive: true }))
  const path = join(folder, 'toy.gguf')
  await writeFile(path, bytes)
  return path
}
