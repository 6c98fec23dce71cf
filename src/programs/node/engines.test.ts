import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { receiptSchema, type ReceiptBatch } from '../../core/protocol/receipt.ts'
import { llamaCppFolder } from '../../io/engine/llama-cpp/install.ts'
import { startFakeUpstream } from '../../io/engine/openai/fake-upstream.ts'
import { sha256Hex } from '../../io/keys/identity.ts'
import { Hearing, startGateway } from '../../io/link/test-kit.ts'
import { silentLogger } from '../../io/telemetry/logger.ts'
import { nodeConfig } from './config.ts'
import { startEngine, vendorsInUse } from './engines.ts'
import { startNode } from './main.ts'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const enginesDir = process.env['BASELOAD_ENGINES'] ?? `${root}/node_modules/.cache/baseload/engines`

describe('the GPUs of a node’s engine', () => {
  it('are those of the backend that is installed, unless it computes without', (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'baseload-backends-'))
    t.after(() => rmSync(folder, { recursive: true, force: true }))
    const node = { engine: 'llama.cpp', gpu: 'auto', enginesDir: folder, home: '/nowhere' } as const
    assert.deepEqual(vendorsInUse(node), [])
    mkdirSync(llamaCppFolder(folder, 'cuda'), { recursive: true })
    assert.deepEqual(vendorsInUse(node), ['nvidia'])
    mkdirSync(llamaCppFolder(folder, 'vulkan'), { recursive: true })
    assert.deepEqual(vendorsInUse(node), ['nvidia', 'amd'])
    assert.deepEqual(vendorsInUse({ ...node, gpu: 'none' }), [])
    assert.deepEqual(vendorsInUse({ ...node, engine: 'openai' }), [])
  })
})

describe('a node’s engine', { timeout: 60_000 }, () => {
  it('runs a GGUF file: the demo model answers over a link, and the receipt fits the answer', async (t) => {
    const gateway = await startGateway()
    t.after(() => gateway.close())
    const { config, said, say } = setup(t, {
      gateways: [gateway.url],
      enginesDir,
      threads: 1,
      models: [{ source: `${root}/models/bard-3m/bard-3m-f16.gguf`, name: 'bard-3m', slots: 1 }],
    })
    const node = await startNode(config, { logger: silentLogger, say, settleMs: 1 })
    t.after(() => node.stop())
    assert.ok(said.includes('loading bard-3m'))
    const link = await gateway.linked(node.id)
    assert.match(link.offer.models[0]?.digest ?? '', /^sha256:/)
    const body = Buffer.from(JSON.stringify({ model: 'bard-3m', prompt: 'ROMEO:' }))
    const header = {
      attempt: 'att_1',
      request: 'req_1',
      api: 'completion' as const,
      model: 'bard-3m',
      bodyBytes: body.length,
      choice: 0,
      seed: 1,
      maxTokens: 12,
      billInput: true,
      resume: null,
    }
    const heard = new Hearing()
    link.open(header, body, heard)
    assert.equal(await heard.over(), 'end length 12')
    const { detail } = await gateway.events.find(({ kind }) => kind === 'receipts')
    const [text = ''] = (detail as ReceiptBatch).receipts
    const receipt = receiptSchema.parse(JSON.parse(text))
    assert.equal(receipt.outputTokens, 12)
    assert.equal(receipt.textHash, sha256Hex(heard.text))
    await node.stop()
  })

  it('sells the models of an upstream that are named, or all of them', async (t) => {
    const upstream = await startFakeUpstream('vllm')
    t.after(() => upstream.close())
    const of = async (models: object[]) => {
      const { config, say } = setup(t, { engine: 'openai', upstream: upstream.url, models })
      const engine = await startEngine(config, { logger: silentLogger, say })
      t.after(() => engine.close())
      return engine
        .models()
        .map(({ model, slots, contextTokens }) => ({ model, slots, contextTokens }))
    }
    const [all] = await of([])
    assert.ok(all)
    assert.equal(all.slots, 4)
    const named = await of([{ name: all.model, slots: 2, contextTokens: 99 }])
    assert.deepEqual(named, [{ model: all.model, slots: 2, contextTokens: 99 }])
  })

  it('takes the upstream’s key from the environment, and misses it by name', async (t) => {
    const upstream = await startFakeUpstream('bare')
    t.after(() => upstream.close())
    const settings = {
      engine: 'openai',
      upstream: upstream.url,
      upstreamKeyEnv: 'BASELOAD_TEST_KEY',
    }
    const { config, say } = setup(t, settings)
    t.after(() => delete process.env['BASELOAD_TEST_KEY'])
    await assert.rejects(startNode(config, { logger: silentLogger, say }), {
      code: 'invalid_settings',
      message: /BASELOAD_TEST_KEY is not set/,
    })
    process.env['BASELOAD_TEST_KEY'] = 'secret'
    const engine = await startEngine(config, { logger: silentLogger, say })
    await engine.close()
    assert.equal(upstream.seen[0]?.headers['authorization'], 'Bearer secret')
  })

  it('says which model file is missing, and frees the home', async (t) => {
    const { config, say } = setup(t, { enginesDir, models: [{ source: '/no/such/model.gguf' }] })
    for (let i = 0; i < 2; i++)
      await assert.rejects(
        startNode(config, { logger: silentLogger, say }),
        /\/no\/such\/model\.gguf/,
      )
  })

  it('does not start with contradictory settings', async (t) => {
    const { config, say } = setup(t, { models: [] })
    await assert.rejects(startNode(config, { logger: silentLogger, say }), {
      code: 'invalid_settings',
    })
  })
})

function setup(t: TestContext, settings: object) {
  const home = mkdtempSync(join(tmpdir(), 'baseload-engines-'))
  t.after(() => rmSync(home, { recursive: true, force: true }))
  const said: string[] = []
  const config = nodeConfig.parse({ gateways: ['http://127.0.0.1:9'], home, ...settings })
  return { config, said, say: (line: string) => void said.push(line) }
}
