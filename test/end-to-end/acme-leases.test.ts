/** A tenant's own domain by HTTPS: a real gateway, a real container, and certificates from a real ACME server. */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { containersUnavailable } from '../support/container-engines.ts'
import { securePage } from '../support/https-page.ts'
import { Cli } from '../support/lease-cli.ts'
import { leaseNetwork, openYard, PAGE, type LeaseYard } from '../support/lease-network.ts'
import { sdlOf } from '../support/lease-sdl.ts'
import { acmeUnavailable, startPebble, type Pebble } from '../support/pebble.ts'
import { freePort } from '../support/program.ts'

const skip = acmeUnavailable() || containersUnavailable()
const LIMIT = { timeout: 180_000 }

describe('leases by HTTPS', { skip, ...LIMIT }, () => {
  let yard: LeaseYard
  before(async () => (yard = await openYard()), { timeout: 300_000 })
  after(() => yard.close(), { timeout: 60_000 })

  it('have certificates for their names, and for those that lead here', LIMIT, async (t) => {
    const port = await freePort()
    let pebble: Pebble | undefined
    const network = await leaseNetwork(t, yard, {
      nodes: 1,
      gatewayEnv: async (gatewayPort) => {
        pebble = await startPebble(t, gatewayPort)
        return {
          BASELOAD_PUBLIC_URL: `https://gateway.example:${port}`,
          BASELOAD_LEASE_DOMAIN: 'lease.example',
          BASELOAD_TLS_PORT: String(port),
          BASELOAD_ACME: 'true',
          BASELOAD_ACME_AGREE: 'true',
          BASELOAD_ACME_DIRECTORY: pebble.directory,
          BASELOAD_ACME_CA: pebble.caFile,
        }
      },
    })
    assert.ok(pebble)
    const { root, orders, lead } = pebble
    const cli = new Cli(t, network)
    const page = (name: string) => securePage({ name, port, root })
    const accept = ['shop.example', 'elsewhere.example']
    const { out } = await cli.run(['deploy', cli.sdl(sdlOf({ accept })), '--name', 'shop'])
    const lease = await network.running('shop')
    const name = `web.${lease.id.slice(lease.id.indexOf('_') + 1)}.lease.example`
    assert.deepEqual(
      out.trim().split('\n'),
      [name, ...accept].map((host) => `https://${host}:${port}`),
    )
    await network.until('it serves', async () => {
      const { status } = await page(name)
      return status === 200
    })
    const ordered = orders()
    const first = await page('shop.example')
    assert.deepEqual([first.status, first.body], [200, PAGE])
    assert.equal((await page('shop.example')).serial, first.serial)
    assert.equal(orders(), ordered + 1, 'one order for one name')

    await lead('elsewhere.example', '127.0.0.9')
    await assert.rejects(page('elsewhere.example'))
    await assert.rejects(page('elsewhere.example'))
    assert.equal(orders(), ordered + 2, 'what failed is not tried again at once')

    const second = await cli.run(['deploy', cli.sdl(sdlOf({ accept })), '--name', 'thief'], {
      code: 3,
    })
    assert.match(second.err, /'shop\.example' leads to another lease already/)

    const [{ program, url }] = network.gateways
    await program.kill('SIGKILL')
    await program.start()
    await network.linked(url, 1)
    await network.until('it serves again', async () => (await page('shop.example')).body === PAGE)
    assert.equal((await page('shop.example')).serial, first.serial, 'the certificate is kept')
    assert.equal(orders(), ordered + 2)

    await cli.run(['close', 'shop'])
    await assert.rejects(page('shop.example'), 'whose lease is gone has no certificate')
  })
})
