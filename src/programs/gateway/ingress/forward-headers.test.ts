/** What passes through the ingress of a request's and an answer's headers, and what it says itself. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { TestContext } from 'node:test'
import { HOST, setupIngress } from './ingress-kit.ts'

const timeout = 60_000

describe('headers through the ingress', { timeout }, () => {
  it('end where they are for one hop only', async (t) => {
    const { seen } = await headersSeen(t, {
      connection: 'x-private, close, host, content-length',
      'x-private': '1',
      'keep-alive': 'timeout=9',
      'proxy-authorization': 'Basic x',
      te: 'trailers',
      upgrade: 'h2c',
      'x-public': '2',
    })
    assert.equal(seen['x-public'], '2')
    assert.equal(seen['host'], HOST)
    assert.equal(seen['connection'], 'keep-alive')
    for (const name of ['x-private', 'keep-alive', 'proxy-authorization', 'te', 'upgrade'])
      assert.equal(seen[name], undefined, name)
  })

  it('say who asks for what, whatever the visitor says of it', async (t) => {
    const { seen } = await headersSeen(t, {
      'x-forwarded-for': '6.6.6.6',
      'x-forwarded-proto': 'https',
      'x-real-ip': '6.6.6.6',
      forwarded: 'for=6.6.6.6',
    })
    assert.equal(seen['x-forwarded-for'], '127.0.0.1')
    assert.equal(seen['x-forwarded-host'], HOST)
    assert.equal(seen['x-forwarded-proto'], 'http')
    assert.equal(seen['x-forwarded-port'], '80')
    assert.equal(seen['x-real-ip'], undefined)
    assert.equal(seen['forwarded'], `for=127.0.0.1;host=${HOST};proto=http`)
  })

  it('believe a proxy that stands in front, where there is one', async (t) => {
    const told = { 'x-forwarded-for': '2001:db8::1, 10.0.0.7', 'x-forwarded-proto': 'https' }
    const { seen } = await headersSeen(t, { ...told, host: `${HOST}:8443` }, true)
    assert.equal(seen['x-forwarded-for'], '2001:db8::1, 10.0.0.7, 127.0.0.1')
    assert.equal(seen['x-forwarded-proto'], 'https')
    assert.equal(seen['x-forwarded-port'], '8443')
    assert.equal(
      seen['forwarded'],
      `for="[2001:db8::1]", for=10.0.0.7, for=127.0.0.1;host="${HOST}:8443";proto=https`,
    )
  })

  it('come back without what the service said to the ingress alone', async (t) => {
    const { headers, rawHeaders } = await headersSeen(t, {})
    assert.equal(headers['x-hop'], undefined)
    assert.equal(headers['x-answer'], 'yes')
    assert.deepEqual(headers['set-cookie'], ['a=1', 'b=2'])
    assert.equal(rawHeaders.filter((name) => name.toLowerCase() === 'date').length, 1)
  })
})

async function headersSeen(
  t: TestContext,
  headers: Record<string, string>,
  behindProxy = false,
): Promise<{
  seen: NodeJS.Dict<string | string[]>
  headers: NodeJS.Dict<string | string[]>
  rawHeaders: readonly string[]
}> {
  const { visit } = await setupIngress(
    t,
    [
      (request, response) => {
        response.setHeader('connection', 'x-hop, keep-alive')
        response.setHeader('x-hop', '1').setHeader('x-answer', 'yes')
        response.setHeader('set-cookie', ['a=1', 'b=2'])
        response.end(JSON.stringify(request.headers))
      },
    ],
    { behindProxy },
  )
  const { body, ...answer } = await visit({ headers })
  const seen: NodeJS.Dict<string> = JSON.parse(body)
  return { seen, ...answer }
}
