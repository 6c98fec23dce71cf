/** The control API as the gateway mounts it: behind a real server, over real sockets. */
import assert from 'node:assert/strict'
import { request } from 'node:http'
import { describe, it, type TestContext } from 'node:test'
import { getRequestListener } from '@hono/node-server'
import { setupControl } from './test-network.ts'
import { createHttpServer } from '../../../io/http/http-server.ts'

const timeout = 30_000

describe('the control API over HTTP', () => {
  it('answers GET and HEAD', { timeout }, async (t) => {
    const { url } = await setup(t)
    assert.equal((await fetch(`${url}/healthz`)).status, 200)
    const head = await fetch(`${url}/healthz`, { method: 'HEAD' })
    assert.deepEqual([head.status, await head.text()], [200, ''])
  })

  it('ends a 1 GB body with an answer, without keeping it', { timeout }, async (t) => {
    const { port, secret } = await setup(t)
    const before = process.memoryUsage.rss()
    for (const headers of [{}, { authorization: `Bearer ${secret}` }]) {
      assert.equal(await upload(port, headers), 413)
    }
    const grownMiB = (process.memoryUsage.rss() - before) / 1024 ** 2
    assert.ok(grownMiB < 150, `memory grew by ${grownMiB.toFixed(0)} MiB`)
  })

  it('goes on after clients that leave in the middle of a body', { timeout }, async (t) => {
    const { port, url, secret } = await setup(t)
    for (let i = 0; i < 20; i++) {
      const headers = { authorization: `Bearer ${secret}`, 'content-type': 'application/json' }
      const req = request({ port, path: '/v1/keys', method: 'POST', headers })
      req.on('error', () => {})
      req.write('{"name":')
      await new Promise((resolve) => setTimeout(resolve, 2))
      req.destroy()
    }
    assert.equal((await fetch(`${url}/healthz`)).status, 200)
  })
})

async function setup(t: TestContext) {
  const { api, alices } = await setupControl()
  const listener = getRequestListener((req) => api.fetch(req), { overrideGlobalObjects: false })
  const server = createHttpServer({ onRequest: (req, res) => void listener(req, res) })
  const port = await server.listen({ host: '127.0.0.1', port: 0 })
  t.after(() => server.close(0))
  return { port, url: `http://127.0.0.1:${port}`, secret: alices.secret }
}

/** Sends chunks until the answer comes. */
function upload(port: number, headers: Record<string, string>): Promise<number> {
  const chunk = Buffer.alloc(256 * 1024, ' ')
  const state = { status: 0, left: 4096 }
  return new Promise((resolve, reject) => {
    const req = request({ port, path: '/v1/keys', method: 'POST', headers }, (res) => {
      state.status = res.statusCode ?? 0
      res.resume().once('end', () => req.destroy())
    })
    req.once('error', (error) => (state.status === 0 ? reject(error) : undefined))
    req.once('close', () => resolve(state.status))
    const more = (): void => {
      while (state.status === 0 && state.left > 0) {
        state.left -= 1
        if (!req.write(chunk)) return void req.once('drain', more)
      }
    }
    more()
  })
}
