import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { getRequestListener } from '@hono/node-server'
import { createHttpServer } from '../../../io/http/http-server.ts'
import { SseParser } from '../../../io/engine/openai/sse-parser.ts'
import { FakeLeaseService } from './fake-lease-service.ts'
import { NOW, setupControl } from './test-network.ts'

const timeout = 20_000

describe('GET /v1/deployments/{id}/events', () => {
  it('gives what happened after an event', { timeout }, async (t) => {
    const { ask, secret } = await setup(t)
    const all = await ask(secret, 'GET', '/v1/deployments/shop/events')
    assert.equal(all.answer['data']?.['0']?.['type'], 'deployment.screened')
    assert.equal(all.answer['data']?.['0']?.['at'], new Date(NOW).toISOString())
    const rest = await ask(secret, 'GET', '/v1/deployments/shop/events?after=2')
    assert.equal(Object.values(rest.answer['data'] ?? {}).length, 1)
    assert.equal(rest.answer['data']?.['0']?.['seq'], 3)
    const wrong = await ask(secret, 'GET', '/v1/deployments/shop/events?after=last')
    assert.equal(wrong.code, 'invalid_value')
  })

  it('follows: what happened, what happens, and ends when it is closed', { timeout }, async (t) => {
    const { follow, leases, alice } = await setup(t)
    const events = await follow()
    assert.deepEqual(await events.next(3), [
      'deployment.screened',
      'lease.ordered',
      'lease.accepted',
    ])
    // More than a page of the service at once.
    for (let i = 0; i < 5; i++) leases.happen('dep_1', 'container.exited', `exit ${i}`)
    assert.equal((await events.next(5)).length, 5)
    await leases.close(alice.id, 'dep_1')
    assert.deepEqual(await events.next(2), ['deployment.closed'])
    assert.equal(leases.watching, 0)
  })

  it('goes on after the last event that its reader has', { timeout }, async (t) => {
    const { follow, leases, alice } = await setup(t)
    leases.happen('dep_1', 'lease.running', 'all replicas run')
    const resumed = await follow({ 'last-event-id': '3' })
    assert.deepEqual(await resumed.next(1), ['lease.running'])
    await leases.close(alice.id, 'dep_1')
    assert.deepEqual(await resumed.next(2), ['deployment.closed'])
    const { status } = await follow({ 'last-event-id': '5' })
    assert.equal(status, 204, 'nothing can follow')
  })

  it('stops watching when its reader goes', { timeout }, async (t) => {
    const { follow, leases } = await setup(t)
    const events = await follow()
    await events.next(3)
    assert.equal(leases.watching, 1)
    events.leave()
    while (leases.watching > 0) await new Promise((resolve) => setTimeout(resolve, 5))
  })

  it('holds up no shutdown', { timeout }, async (t) => {
    const { follow, leases, api } = await setup(t)
    const events = await follow()
    await events.next(3)
    api.close()
    assert.deepEqual(await events.next(1), [])
    assert.equal(leases.watching, 0)
  })

  it('has a limit for each account', { timeout }, async (t) => {
    const { follow } = await setup(t)
    const first = await Promise.all(Array.from({ length: 100 }, () => follow()))
    assert.ok(first.every(({ status }) => status === 200))
    assert.equal((await follow()).status, 429)
  })
})

async function setup(t: TestContext) {
  const leases = new FakeLeaseService(() => NOW)
  const control = await setupControl({ leases })
  const { api, alices } = control
  await control.ask(alices.secret, 'POST', '/v1/deployments', { sdl: 'services', name: 'shop' })
  const listener = getRequestListener((req) => api.fetch(req), { overrideGlobalObjects: false })
  const server = createHttpServer({ onRequest: (req, res) => void listener(req, res) })
  const port = await server.listen({ host: '127.0.0.1', port: 0 })
  t.after(() => {
    api.close()
    return server.close(0)
  })
  return {
    ...control,
    leases,
    secret: alices.secret,
    follow: async (more: Record<string, string> = {}) => {
      const gone = new AbortController()
      const response = await fetch(`http://127.0.0.1:${port}/v1/deployments/dep_1/events`, {
        headers: { authorization: `Bearer ${alices.secret}`, accept: 'text/event-stream', ...more },
        signal: gone.signal,
      })
      const reader = response.body?.getReader()
      const parser = new SseParser()
      const waiting: string[] = []
      return {
        status: response.status,
        leave: () => gone.abort(),
        /** The types of the next events; fewer where the stream ends before. */
        next: async (count: number): Promise<string[]> => {
          while (waiting.length < count) {
            const { done, value } = (await reader?.read()) ?? { done: true, value: undefined }
            if (done || !value) break
            waiting.push(...parser.push(value).map(({ type }) => type))
          }
          return waiting.splice(0, count)
        },
      }
    },
  }
}
