import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { describe, it } from 'node:test'
import { FakeLeaseService } from './fake-lease-service.ts'
import { NOW, setupControl, textOf } from './test-network.ts'

const PATH = '/v1/deployments/shop/snapshots'

describe('snapshots over HTTP', () => {
  it('are begun, listed with what they take, and fetched whole with their digest', async () => {
    const { ask, alices, api, leases } = await setup()
    leases.volume = randomBytes(300_000)
    const begun = await ask(alices.secret, 'POST', PATH, { service: 'web', volume: 'data' })
    assert.equal(begun.status, 202)
    assert.equal(begun.answer['data']?.['0']?.['state'], 'taking')
    const { answer } = await ask(alices.secret, 'GET', PATH)
    const one = answer['data']?.['0']
    assert.deepEqual([one?.['state'], one?.['bytes']], ['ready', 300_000])
    assert.deepEqual([answer['used_bytes'], answer['limit_bytes']], [300_000, 100 * 2 ** 30])
    assert.equal(answer['volumes']?.['0']?.['volume'], 'data')
    const response = await fetchContent(api, alices.secret, textOf(one?.['id']))
    assert.equal(response.headers.get('content-type'), 'application/x-tar')
    assert.equal(response.headers.get('content-length'), '300000')
    const digest = createHash('sha256').update(leases.volume).digest('base64')
    assert.equal(response.headers.get('repr-digest'), `sha-256=:${digest}:`)
    assert.ok(Buffer.from(await response.arrayBuffer()).equals(leases.volume))
  })

  it('break off for the reader where they break off here', async () => {
    const { ask, alices, api, leases } = await setup()
    await ask(alices.secret, 'POST', PATH, {})
    await ask(alices.secret, 'GET', PATH)
    leases.breakAfter = 5
    const response = await fetchContent(api, alices.secret, 'snap_1')
    assert.equal(response.status, 200)
    await assert.rejects(response.arrayBuffer(), /broke off/)
  })

  it('are removed for ever', async () => {
    const { ask, alices } = await setup()
    await ask(alices.secret, 'POST', PATH, {})
    assert.equal((await ask(alices.secret, 'DELETE', `${PATH}/snap_1`)).status, 200)
    assert.equal((await ask(alices.secret, 'DELETE', `${PATH}/snap_1`)).code, 'not_found')
    assert.deepEqual((await ask(alices.secret, 'GET', PATH)).answer['data'], [])
  })

  it('are no other tenant’s, and refuse what they do not know', async () => {
    const { ask, alices, bobs } = await setup()
    await ask(alices.secret, 'POST', PATH, {})
    await ask(alices.secret, 'GET', PATH)
    for (const [method, path, body] of [
      ['GET', PATH],
      ['POST', PATH, {}],
      ['GET', `${PATH}/snap_1/content`],
      ['DELETE', `${PATH}/snap_1`],
    ] as const)
      assert.equal((await ask(bobs.secret, method, path, body)).code, 'not_found', path)
    const stray = await ask(alices.secret, 'POST', PATH, { path: '/etc' })
    assert.equal(stray.code, 'unknown_parameter')
    const none = await ask(alices.secret, 'POST', PATH, { volume: 'none' })
    assert.equal(none.code, 'not_found')
  })
})

type Control = Awaited<ReturnType<typeof setup>>

const fetchContent = async (api: Control['api'], secret: string, snapshot: string) =>
  await api.fetch(
    new Request(`http://gateway${PATH}/${snapshot}/content`, {
      headers: { authorization: `Bearer ${secret}` },
    }),
  )

async function setup() {
  const leases = new FakeLeaseService(() => NOW)
  const control = await setupControl({ leases })
  const sdl = 'services:\n  web:\n    image: nginx:1.27\n'
  await control.ask(control.alices.secret, 'POST', '/v1/deployments', { sdl, name: 'shop' })
  return { leases, ...control }
}
