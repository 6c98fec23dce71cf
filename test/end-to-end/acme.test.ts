/** Certificates from a real ACME server: Pebble, which checks names by asking this machine for them. */
import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { createServer, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { once } from 'node:events'
import { describe, it, type TestContext } from 'node:test'
import { silentLogger } from '../../src/io/telemetry/logger.ts'
import { createAuthority } from '../../src/programs/gateway/tls/acme-authority.ts'
import { CertificateFolder } from '../../src/programs/gateway/tls/certificate-folder.ts'
import { Certifier } from '../../src/programs/gateway/tls/certifier.ts'
import { securePage } from '../support/https-page.ts'
import { acmeUnavailable, startPebble } from '../support/pebble.ts'
import { freePort } from '../support/program.ts'
import { smallNetwork } from '../support/small-network.ts'

const skip = acmeUnavailable()
const timeout = 60_000
const NAME = 'gateway.example'

describe('an ACME authority', { skip, timeout }, () => {
  it('issues for a name that leads here, and renews it with the same account', async (t) => {
    const { certifier, authority, pebble, clock, folder, open } = await setup(t)
    const first = await certifier.find(NAME)
    assert.ok(first)
    const [leaf, ...chain] = first.pem.cert.match(/-----BEGIN[^]+?END CERTIFICATE-----/g) ?? []
    assert.ok(leaf !== undefined && chain.length > 0)
    assert.equal(new X509Certificate(leaf).subjectAltName, `DNS:${NAME}`)
    const modes = readdirSync(folder).map((file) => statSync(join(folder, file)).mode & 0o777)
    assert.deepEqual(readdirSync(folder).toSorted(), ['account.key', `${NAME}.pem`])
    assert.deepEqual(modes, [0o600, 0o600])
    assert.equal(authority.answer('anything'), null, 'no token is left')

    clock.ms = first.notBefore + (first.notAfter - first.notBefore) * 0.61
    const later = open()
    await later.certifier.renewDue()
    const second = await later.certifier.find(NAME)
    assert.ok(second && second.pem.cert !== first.pem.cert)
    assert.equal(pebble.orders(), 2)
  })

  it('is not asked again at once for a name that leads elsewhere', async (t) => {
    const { certifier, pebble, warnings } = await setup(t)
    await pebble.lead(NAME, '127.0.0.9')
    assert.equal(await certifier.find(NAME), null)
    assert.equal(await certifier.find(NAME), null)
    assert.equal(pebble.orders(), 1)
    assert.match(warnings.join('\n'), /certificate not issued.*gateway\.example/)
  })
})

describe('a gateway with ACME', { skip, timeout }, () => {
  it('serves its API by HTTPS under its own name, and nothing to strangers', async (t) => {
    const port = await freePort()
    const pebble = await startPebble(t, port)
    const config = {
      port,
      publicUrl: `https://${NAME}`,
      tlsPort: 0,
      tlsRedirect: true,
      acme: true,
      acmeAgree: true,
      acmeContact: ['operator@example.com'],
      acmeDirectory: pebble.directory,
      acmeCa: pebble.caFile,
    }
    const { gateway, key } = await smallNetwork(t, { nodes: 0, config })
    const { tlsPort } = gateway
    assert.ok(tlsPort !== null)
    const at = { name: NAME, port: tlsPort, root: pebble.root }
    const { status, body } = await securePage(at, '/v1/models', { authorization: `Bearer ${key}` })
    assert.deepEqual([status, JSON.parse(body).object], [200, 'list'])
    assert.equal(pebble.orders(), 1, 'it was ordered at the start')

    await assert.rejects(securePage({ ...at, name: 'other.example' }))
    await assert.rejects(securePage({ ...at, name: 'web.unknown.localhost' }))
    assert.equal(pebble.orders(), 1)

    const asked = request({
      port,
      host: '127.0.0.1',
      path: '/v1/models?x=1',
      headers: { host: NAME },
    })
    const [answer] = await once(asked.end(), 'response')
    answer.resume()
    assert.deepEqual(
      [answer.statusCode, answer.headers.location],
      [308, `https://${NAME}/v1/models?x=1`],
    )
  })
})

async function setup(t: TestContext) {
  const home = mkdtempSync(join(tmpdir(), 'baseload-acme-'))
  t.after(() => rmSync(home, { recursive: true }))
  const folder = join(home, 'acme')
  const clock = { ms: Date.now() }
  const warnings: string[] = []
  const opened: { answer(token: string): string | null }[] = []
  const server = createServer(({ url = '' }, response) => {
    const token = url.replace('/.well-known/acme-challenge/', '')
    const found = opened.map((one) => one.answer(token)).find((answer) => answer !== null)
    response.writeHead(found ? 200 : 404).end(found ?? '')
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  const address = server.address()
  assert.ok(address !== null && typeof address === 'object')
  const pebble = await startPebble(t, address.port)
  const open = () => {
    const files = new CertificateFolder(folder)
    const settings = { directory: pebble.directory, contact: [], caFile: pebble.caFile }
    const authority = createAuthority(settings, files)
    opened.push(authority)
    const certifier = new Certifier({
      authority,
      folder: files,
      rates: { perHour: 10, perTenantPerHour: 10 },
      holderOf: () => ({ tenant: null }),
      now: () => clock.ms,
      logger: {
        ...silentLogger,
        warn: (event, fields) => void warnings.push(`${event} ${JSON.stringify(fields)}`),
      },
      handshakeWaitMs: 30_000,
    })
    t.after(() => certifier.close())
    return { certifier, authority }
  }
  return { ...open(), open, pebble, folder, clock, warnings }
}
