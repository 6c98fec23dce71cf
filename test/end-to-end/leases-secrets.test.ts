/** Secrets from a tenant's machine into a real container: there they are, and nowhere that the gateway writes. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it, type TestContext } from 'node:test'
import { promisify } from 'node:util'
import { SEALED_PASSWORD } from '../../src/core/protocol/secrets.ts'
import { startEmbeddedPostgres } from '../../src/io/store/embedded-postgres.ts'
import { silentLogger } from '../../src/io/telemetry/logger.ts'
import { containersUnavailable } from '../support/container-engines.ts'
import { imageArchive, makeLayer } from '../support/container-image.ts'
import { startRegistry } from '../support/container-registry.ts'
import {
  leaseNetwork,
  openYard,
  type LeaseNetwork,
  type LeaseYard,
} from '../support/lease-network.ts'
import { MAIN } from '../support/program.ts'

const skip = containersUnavailable()
const LIMIT = { timeout: 240_000 }
const [TOKEN, OTHER_TOKEN] = ['correct-horse-battery-staple', 'a-second-token-of-the-tenant']
const PASSWORD = 'hunter22-of-the-registry'
/** A value that is no secret: where the search finds this, it would find the others. */
const SHOWN = 'shown-to-everybody'

describe('secrets of a lease', { skip, ...LIMIT }, () => {
  let yard: LeaseYard
  before(async () => (yard = await openYard()), { timeout: 300_000 })
  after(() => yard.close(), { timeout: 60_000 })

  it('are in the container, and nowhere that the gateway writes', LIMIT, async (t) => {
    const postgres = await postgresIn(t)
    const { registry, image } = await privateImage(t)
    const network = await leaseNetwork(t, yard, {
      nodes: 2,
      databaseUrl: postgres.url,
      keepLogs: true,
    })
    const cli = new Cli(t, network)
    cli.file('app.yaml', sdlOf(image, registry))
    cli.file('token', `${TOKEN}\n`)
    const nowhere = async (secrets: string[]) => {
      await network.database.run((sql) => sql`checkpoint`)
      const { home } = network.gateways[0]
      for (const folder of [home, postgres.folder, ...network.nodes.map((node) => node.home)])
        for (const secret of secrets) assert.deepEqual(filesWith(folder, secret), [], secret)
      assert.notDeepEqual(filesWith(postgres.folder, SHOWN), [], 'the search finds what is there')
      const rows = await everyRow(network)
      assert.ok(rows.includes(SHOWN) && rows.includes('web.TOKEN'), rows)
      const said = network.gateways[0].program.said + network.nodes.map((one) => one.program.said)
      for (const secret of secrets) assert.ok(!`${rows}${said}`.includes(secret), secret)
    }
    /** Empty while it does not run. */
    const inside = async () => {
      const words = ['exec', 'shop', '--', 'sh', '-c', 'echo $SHOWN $TOKEN']
      return (await cli.run(...words).catch(() => ({ out: '' }))).out.trim()
    }
    const becomes = (text: string) =>
      network.until(`it says ${text}`, async () => (await inside()) === text)

    await t.test(
      'deploy: a login with the password of the file, a variable of a file',
      async () => {
        const deploy = ['deploy', cli.path('app.yaml'), '--name', 'shop'] as const
        const { err } = await cli.run(...deploy, '--secret', `web.TOKEN=@${cli.path('token')}`)
        assert.match(err, /^2 secrets sealed for 2 nodes$/m)
        await becomes(`${SHOWN} ${TOKEN}`)
        const kept = await cli.run('deployments', 'shop', '--json')
        const { sdl, leases } = JSON.parse(kept.out)
        assert.ok(sdl.includes(SEALED_PASSWORD) && !sdl.includes(PASSWORD))
        assert.deepEqual(leases[0].secrets, ['web.TOKEN', 'web@registry'])
        await nowhere([TOKEN, PASSWORD])
      },
    )

    await t.test('an agent that starts anew opens them again, for a file without any', async () => {
      const lease = await network.running('shop')
      const { program } = network.nodeOf(lease)
      await program.kill('SIGKILL')
      await program.start()
      const changed = sdlOf(image, registry).replace(SHOWN, `${SHOWN}-too`)
      cli.file('sealed.yaml', changed.replace(PASSWORD, SEALED_PASSWORD))
      await cli.run('update', 'shop', cli.path('sealed.yaml'), '--detach')
      await becomes(`${SHOWN}-too ${TOKEN}`)
    })

    await t.test('update: another value; the old one is gone', async () => {
      cli.file('shop.secrets', `web.TOKEN=${OTHER_TOKEN}\nweb@registry=${PASSWORD}\n`)
      await cli.run('update', 'shop', '--secrets', cli.path('shop.secrets'))
      await becomes(`${SHOWN}-too ${OTHER_TOKEN}`)
      await nowhere([TOKEN, OTHER_TOKEN, PASSWORD])
    })

    await t.test('the node is lost: the next one opens its own part', async () => {
      const lease = await network.running('shop')
      await network.killMachine(network.nodeOf(lease))
      const isBack = async () => {
        const { node, state } = await network.lease('shop')
        return state === 'running' && node !== lease.node
      }
      await network.until('another node runs it', isBack)
      await becomes(`${SHOWN}-too ${OTHER_TOKEN}`)
      await nowhere([TOKEN, OTHER_TOKEN, PASSWORD])
    })

    await t.test('close: nothing of them is left at the node', async () => {
      await cli.run('close', 'shop')
      await nowhere([TOKEN, OTHER_TOKEN, PASSWORD])
    })
  })

  it('in the clear are refused by the API, and not written down', LIMIT, async (t) => {
    const postgres = await postgresIn(t)
    const network = await leaseNetwork(t, yard, {
      nodes: 1,
      databaseUrl: postgres.url,
      keepLogs: true,
    })
    const answer = await fetch(`${network.url}/v1/deployments`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${network.tenantKey}`,
        'content-type': 'application/json',
      },
      body: JSON.stringify({ sdl: sdlOf('ghcr.io/me/app', 'ghcr.io') }),
    })
    const text = await answer.text()
    assert.equal(answer.status, 400)
    assert.equal(JSON.parse(text).error.code, 'secret_in_clear')
    assert.ok(!text.includes(PASSWORD))
    await network.deploy('other', { env: [`SHOWN=${SHOWN}`] })
    await network.running('other')
    await network.database.run((sql) => sql`checkpoint`)
    assert.notDeepEqual(filesWith(postgres.folder, SHOWN), [])
    for (const folder of [postgres.folder, network.gateways[0].home])
      assert.deepEqual(filesWith(folder, PASSWORD), [])
    await network.close('other')
  })
})

const sdlOf = (image: string, registry: string): string => `
version: "2.0"
services:
  web:
    image: ${image}
    credentials: { host: ${registry}, username: tenant, password: ${PASSWORD} }
    env: [SHOWN=${SHOWN}]
    expose: [{ port: 80, to: [{ global: true }] }]
profiles:
  compute:
    web:
      resources: { cpu: { units: 0.05 }, memory: { size: 32Mi }, storage: [{ size: 32Mi }] }
  placement:
    anywhere:
      pricing: { web: { denom: usd/hour, amount: 1 } }
deployment:
  web: { anywhere: { profile: web, count: 1 } }
`

/** Files that hold the text, as it is or as it may be encoded. */
function filesWith(folder: string, text: string): string[] {
  const forms = (['utf8', 'base64', 'base64url', 'hex'] as const).map((form) =>
    Buffer.from(Buffer.from(text).toString(form).replace(/=+$/, '')),
  )
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  assert.ok(names.length > 0, `${folder} has files`)
  return names.filter((name) => {
    const path = join(folder, name)
    if (statSync(path, { throwIfNoEntry: false })?.isFile() !== true) return false
    const bytes = readFileSync(path)
    return forms.some((form) => bytes.includes(form))
  })
}

/** All that the gateway's tables hold, also what the database keeps compressed. */
async function everyRow({ database }: LeaseNetwork): Promise<string> {
  const rows = await database.run(
    (sql) => sql<{ text: string }[]>`
      select row_to_json(deployments)::text as text from deployments
      union all select row_to_json(leases)::text from leases
      union all select row_to_json(deployment_events)::text from deployment_events`,
  )
  return rows.map(({ text }) => text).join('\n')
}

async function postgresIn(t: TestContext): Promise<{ url: string; folder: string }> {
  const folder = mkdtempSync(join(tmpdir(), 'baseload-postgres-'))
  const postgres = await startEmbeddedPostgres({ folder, logger: silentLogger })
  t.after(async () => {
    await postgres.stop()
    rmSync(folder, { recursive: true, force: true })
  })
  return { url: postgres.url, folder }
}

/** An image behind a password: no node has it. */
async function privateImage(t: TestContext): Promise<{ registry: string; image: string }> {
  const layer = await makeLayer()
  const config = { Env: ['PATH=/bin'], Cmd: ['httpd', '-f', '-p', '80', '-h', '/www'] }
  const archive = await imageArchive(layer, { name: 'shop:1', config })
  const registry = await startRegistry(archive, { username: 'tenant', password: PASSWORD })
  t.after(async () => {
    await registry.close()
    await layer.remove()
  })
  return { registry: registry.host, image: `${registry.host}/shop:1` }
}

/** The built CLI, with a home of its own and the tenant's key. */
class Cli {
  readonly #home = mkdtempSync(join(tmpdir(), 'baseload-cli-'))
  readonly #env: NodeJS.ProcessEnv

  constructor(t: TestContext, { url, tenantKey }: LeaseNetwork) {
    t.after(() => rmSync(this.#home, { recursive: true, force: true }))
    const own = { BASELOAD_HOME: this.#home, BASELOAD_URL: url, BASELOAD_API_KEY: tenantKey }
    this.#env = { ...process.env, NO_COLOR: '1', ...own }
  }

  path(name: string): string {
    return join(this.#home, name)
  }

  file(name: string, text: string): void {
    writeFileSync(this.path(name), text, { mode: 0o600 })
  }

  /** Fails with what it said when it does not end well. */
  async run(...args: string[]): Promise<{ out: string; err: string }> {
    const options = { env: this.#env, timeout: 120_000 }
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [MAIN, ...args], options)
    return { out: stdout, err: stderr }
  }
}
