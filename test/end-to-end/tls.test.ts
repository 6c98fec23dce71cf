/** A gateway whose operator brings the certificates: tenants and nodes come by TLS, all of it the built program. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { makeCertificate } from '../../src/io/http/test-certificates.ts'
import { silentLogger } from '../../src/io/telemetry/logger.ts'
import { gatewayConfig, type GatewayConfig } from '../../src/programs/gateway/config.ts'
import { openTls } from '../../src/programs/gateway/tls/gateway-tls.ts'
import { securePage } from '../support/https-page.ts'
import { Cli } from '../support/lease-cli.ts'
import { programNetwork } from '../support/network-of-programs.ts'
import { freePort, nodeProgram } from '../support/program.ts'

const LIMIT = { timeout: 120_000 }

describe('a gateway with certificates of its own', LIMIT, () => {
  it(
    'serves tenants and links nodes by TLS; a renewed file is used without a restart',
    LIMIT,
    async (t) => {
      const { folder, cert, key, write } = await files(t)
      const tlsPort = await freePort()
      const network = await programNetwork(t, {
        nodes: 0,
        gatewayEnv: async () => ({
          BASELOAD_TLS_PORT: String(tlsPort),
          BASELOAD_TLS_CERT: cert,
          BASELOAD_TLS_KEY: key,
        }),
      })
      const trusting = { NODE_EXTRA_CA_CERTS: cert }
      const url = `https://localhost:${tlsPort}`
      const home = join(folder, 'node')
      const node = nodeProgram({ name: 'node by TLS', home, gateways: [url], env: trusting })
      t.after(() => node.kill('SIGKILL'))
      await node.start()
      await network.linked(network.url, 1)
      const cli = new Cli(t, { url, tenantKey: network.key }, trusting)
      const words = ['chat', 'ROMEO:', '--max-tokens', '5', '--json']
      const { out } = await cli.run(words)
      assert.match(out, /"output_tokens":5/)

      const before = { name: 'localhost', port: tlsPort, root: (await write()).cert }
      await network.until('the new certificate is shown', async () => {
        const page = await securePage(before, '/healthz').catch(() => null)
        return page?.status === 200
      })
      assert.equal(
        (await cli.run(['network', '--url', network.url])).err,
        '',
        'HTTP is still there',
      )
    },
  )

  it('says what of its settings does not fit, before it listens', async (t) => {
    const { cert, key } = await files(t)
    const pair = { tlsCert: [cert], tlsKey: [key] }
    const wrong: [Partial<GatewayConfig>, string, RegExp][] = [
      [{ ...pair, tlsKey: [] }, 'config_invalid', /tlsCert names 1 files, tlsKey 0/],
      [pair, 'config_invalid', /tlsPort is missing/],
      [{ acme: true, acmeAgree: true }, 'config_invalid', /tlsPort is missing/],
      [{ tlsRedirect: true }, 'config_invalid', /tlsPort is missing/],
      [{ tlsPort: 0 }, 'config_invalid', /tlsPort needs certificates/],
      [{ tlsPort: 0, acme: true }, 'config_invalid', /read the terms of service/],
      [{ tlsPort: 0, tlsCert: [key], tlsKey: [cert] }, 'certificate_invalid', /own\.key/],
    ]
    for (const [settings, code, message] of wrong)
      assert.throws(() => openTls(configOf(settings), PARTS), { code, message })
    assert.equal(openTls(configOf({}), PARTS), null)
  })
})

const configOf = (settings: Partial<GatewayConfig>): GatewayConfig =>
  gatewayConfig.parse({ home: '/nowhere', databaseUrl: 'postgres://nowhere/none', ...settings })

const PARTS = {
  hosts: { leaseOf: () => undefined },
  tenantOf: () => null,
  now: Date.now,
  logger: silentLogger,
}

/** A certificate for this machine, as files; `write` renews it. */
async function files(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), 'baseload-tls-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const [cert, key] = [join(folder, 'own.crt'), join(folder, 'own.key')]
  const write = async () => {
    const made = await makeCertificate(['localhost', '127.0.0.1'])
    writeFileSync(cert, made.cert)
    writeFileSync(key, made.key)
    return made
  }
  await write()
  return { folder, cert, key, write }
}
