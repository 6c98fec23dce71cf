import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { checkRedirect, guardedLookup, isLoopback, isPublicAddress } from './reachable.ts'

const hub = new URL('https://models.example/file.gguf')
const local = new URL('http://127.0.0.1:8080/file.gguf')

describe('isPublicAddress', () => {
  it('knows private, loopback, link-local and mapped addresses', () => {
    for (const address of ['93.184.215.14', '2606:2800:21f:cb07::1', '172.32.0.1', '11.0.0.1'])
      assert.ok(isPublicAddress(address), address)
    const inside =
      '10.1.2.3 127.0.0.1 169.254.169.254 172.16.0.1 192.168.1.1 100.64.0.1 0.0.0.0 224.0.0.1 ' +
      '255.255.255.255 :: ::1 fe80::1 fd00::1 ::ffff:127.0.0.1 ::ffff:a9fe:a9fe localhost'
    for (const address of inside.split(' ')) assert.ok(!isPublicAddress(address), address)
  })
})

describe('isLoopback', () => {
  it('is not fooled by a name that begins like one', () => {
    for (const host of ['localhost', 'a.localhost', '127.0.0.1', '127.9.9.9', '[::1]'])
      assert.ok(isLoopback(host), host)
    for (const host of ['127.0.0.1.example', 'localhost.example', '10.0.0.1', '[::2]'])
      assert.ok(!isLoopback(host), host)
  })
})

describe('checkRedirect', () => {
  it('follows to the public internet', () => {
    checkRedirect(hub, new URL('https://cdn.example/x'))
    checkRedirect(hub, new URL('https://93.184.215.14/x'))
    checkRedirect(local, new URL('http://10.0.0.1/x'))
    checkRedirect(new URL('https://nas.local/a'), new URL('https://nas.local/b'))
  })

  it('stops at private networks, at loopback and at plain http', () => {
    for (const next of [
      'http://cdn.example/x',
      'https://169.254.169.254/latest/meta-data',
      'https://[::1]/x',
      'https://[::ffff:10.0.0.1]/x',
      'https://localhost/x',
      'https://2130706433/x', // 127.0.0.1 as one number
      'ftp://cdn.example/x',
    ])
      assert.throws(() => checkRedirect(hub, new URL(next)), { code: 'model_redirect' }, next)
    assert.throws(() => checkRedirect(local, new URL('file:///etc/passwd')))
  })
})

describe('guardedLookup', () => {
  it('refuses a public name that stands for a private address', { timeout: 10_000 }, async () => {
    const lookup = guardedLookup(hub, new URL('https://sneaky.example/x'))
    assert.ok(lookup)
    const error = await new Promise((resolve) => lookup('localhost', {}, resolve))
    assert.ok(error instanceof Error && /localhost is .* in a private network/.test(error.message))
  })

  it('leaves the source itself alone: the provider chose it', () => {
    assert.equal(guardedLookup(hub, hub), undefined)
    assert.equal(guardedLookup(local, hub), undefined)
  })
})
