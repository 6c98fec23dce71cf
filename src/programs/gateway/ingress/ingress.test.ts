/** What visitors of a tenant's service get through the ingress. */
import assert from 'node:assert/strict'
import { text } from 'node:stream/consumers'
import { describe, it } from 'node:test'
import { HOST, setupIngress } from './ingress-kit.ts'

const timeout = 60_000

describe('ingress', { timeout }, () => {
  it('answers a GET with what the service says', async (t) => {
    const { visit } = await setupIngress(t, [
      (request, response) => {
        response.writeHead(418, 'Teapot', { 'x-said': 'by the service' })
        response.end(`${request.method} ${request.url} for ${request.headers.host}`)
      },
    ])
    const { status, headers, body } = await visit({ path: '/a?b=c' })
    assert.equal(status, 418)
    assert.equal(headers['x-said'], 'by the service')
    assert.equal(body, `GET /a?b=c for ${HOST}`)
  })
})
