import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import type { CheckResult } from './check-result.ts'
import { runDoctor, type DoctorOptions } from './doctor.ts'
import { checkEngine } from './engine-check.ts'
import { checkModelFile } from './model-check.ts'
import { makeGguf } from './test-kit.ts'
import { checkUpstream } from './upstream-check.ts'

const timeout = 30_000
const never = new AbortController().signal

describe('checkModelFile', () => {
  it('describes a good model', { timeout }, async (t) => {
    const folder = await setup(t)
    const path = await put(folder, 'toy.gguf', makeGguf())
    const result = await checkModelFile(path)
    assert.equal(result.status, 'ok')
    assert.match(result.found, /llama, 0\.1 K parameters, Q8_0, 512 tokens of context/)
    assert.equal(result.details['architecture'], 'llama')
  })

  it('tells missing, truncated, foreign and template-less files apart', { timeout }, async (t) => {
    const folder = await setup(t)
    const gguf = makeGguf()
    const files: [Buffer | null, string, RegExp][] = [
      [null, 'fail', /is not there/],
      [gguf.subarray(0, gguf.length - 1), 'fail', /cut short: \d+ of \d+ bytes/],
      [gguf.subarray(0, 40), 'fail', /not a whole GGUF/],
      [Buffer.from('<!doctype html>'), 'fail', /not a whole GGUF/],
      [makeGguf({ chatTemplate: null }), 'warn', /llama/],
    ]
    for (const [index, [bytes, status, found]] of files.entries()) {
      const path = join(folder, `${index}.gguf`)
      if (bytes) await writeFile(path, bytes)
      const result = await checkModelFile(path)
      assert.equal(result.status, status)
      assert.match(result.found, found)
      assert.ok(result.cause !== null && result.fix !== null)
    }
  })
})

describe('checkEngine', () => {
  const library = 'node_modules/node-llama-cpp/dist/index.js'
  const engines: [string, string | null, string, RegExp][] = [
    ['loads', 'export const getLlama = async () => ({ gpu: "vulkan" })', 'ok', /on vulkan/],
    ['is not installed', null, 'fail', /apart from Baseload/],
    ['breaks', 'throw new Error("Error: no binary for this system")', 'fail', /no binary/],
    ['is for another processor', 'process.kill(process.pid, "SIGILL")', 'fail', /instructions/],
  ]
  for (const [what, code, status, said] of engines) {
    it(`says when it ${what}`, { timeout }, async (t) => {
      const folder = await setup(t)
      if (code !== null) {
        await put(folder, 'node_modules/node-llama-cpp/package.json', '{"type":"module"}')
        await put(folder, library, code)
      }
      const result = await checkEngine(folder, never)
      assert.equal(result.status, status)
      assert.match(`${result.found} ${result.cause}`, said)
      assert.equal(result.fix === null, status === 'ok')
    })
  }
})

describe('checkUpstream', () => {
  const answers: [number, unknown, string, RegExp][] = [
    [200, { data: [{ id: 'llama3' }] }, 'ok', /serves llama3/],
    [200, { data: [] }, 'fail', /has no models/],
    [401, {}, 'fail', /another API key/],
    [404, {}, 'fail', /no list of models/],
  ]
  for (const [status, body, wanted, found] of answers) {
    it(`judges an answer of ${status} with ${JSON.stringify(body)}`, { timeout }, async (t) => {
      const result = await checkUpstream(await serve(t, status, body), 'sk-x', never)
      assert.equal(result.status, wanted)
      assert.match(result.found, found)
    })
  }

  it('names a server that is not there', { timeout }, async () => {
    const result = await checkUpstream('http://127.0.0.1:1/v1', null, never)
    assert.deepEqual([result.status, result.fix === null], ['fail', false])
  })
})

describe('runDoctor', () => {
  it('runs what applies, in order', { timeout }, async (t) => {
    const home = await setup(t)
    const model = await put(home, 'toy.gguf', makeGguf())
    const upstream = await serve(t, 200, { data: [{ id: 'llama3' }] })
    const all = { home, engineFolder: home, modelPaths: [model], upstream, gatewayUrl: upstream }
    const checks = (await run({ ...all, signal: never })).map(({ check }) => check)
    assert.equal(
      checks.join(),
      'node.js,processor,memory,disk,home folder,network,clock,engine,model file,upstream',
    )
    const few = { ...all, gatewayUrl: null, engineFolder: null, modelPaths: [], upstream: null }
    assert.equal((await run({ ...few, signal: never })).length, 5)
  })

  it('gives every problem a cause and a fix, and nothing else one', { timeout }, async (t) => {
    const home = await setup(t)
    const results = await run({
      home,
      engineFolder: join(home, 'engines'),
      modelPaths: [join(home, 'missing.gguf')],
      upstream: 'http://127.0.0.1:1/v1',
      gatewayUrl: 'http://127.0.0.1:1',
      signal: never,
    })
    assert.ok(results.filter(({ status }) => status === 'fail').length >= 4)
    for (const { status, cause, fix } of results) {
      assert.equal(cause === null, status === 'ok')
      assert.equal(fix === null, status === 'ok')
    }
  })
})

async function run(options: DoctorOptions): Promise<CheckResult[]> {
  const results: CheckResult[] = []
  for await (const result of runDoctor(options)) results.push(result)
  return results
}

async function setup(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'baseload-doctor-'))
  t.after(() => rm(folder, { recursive: true }))
  return folder
}

async function put(folder: string, name: string, content: string | Buffer): Promise<string> {
  const path = join(folder, name)
  await mkdir(dirname(path), { recursive: true })
  await writeFile(path, content)
  return path
}

/** A server with one answer; gives the address an upstream would have. */
async function serve(t: TestContext, status: number, body: unknown): Promise<string> {
  const server = createServer((_, response) => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  const address = server.address()
  assert(address !== null && typeof address === 'object')
  return `http://127.0.0.1:${address.port}/v1`
}
