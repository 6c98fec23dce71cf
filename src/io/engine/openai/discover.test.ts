import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { describe, it } from 'node:test'
import { findRunningServers } from './discover.ts'
import { FAKE_MODEL, sendJson } from './fake-upstream-dialects.ts'
import { startFakeUpstream } from './fake-upstream.ts'

describe('findRunningServers', () => {
  it('finds servers by what they are, and passes over the rest', { timeout: 10_000 }, async (t) => {
    const ollama = await startFakeUpstream('ollama')
    const vllm = await startFakeUpstream('vllm')
    const locked = await listen(401)
    const website = await listen(404)
    const gone = await startFakeUpstream('bare')
    await gone.close()
    t.after(() => Promise.all([ollama, vllm, locked, website].map((one) => one.close())))
    const ports = [gone, vllm, website, locked, ollama].map(({ url }) => Number(new URL(url).port))
    const found = await findRunningServers(new AbortController().signal, ports)
    assert.deepEqual(
      found.map(({ software, models, needsKey }) => [software, models, needsKey]),
      [
        ['vllm/0.9.1', [FAKE_MODEL], false],
        ['openai-compatible', [], true],
        ['ollama/0.12.0', [FAKE_MODEL], false],
      ],
    )
    assert.equal(found[0]?.upstream, vllm.url)
  })
})

/** A server that has the same answer for everything. */
async function listen(status: number) {
  const server = createServer((_, response) => sendJson(response, status, { error: 'no' }))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  assert(address !== null && typeof address === 'object')
  const close = async () => {
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
  }
  return { url: `http://127.0.0.1:${address.port}/v1`, close }
}
