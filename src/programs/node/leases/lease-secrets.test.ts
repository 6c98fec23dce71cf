import assert from 'node:assert/strict'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import {
  sealedFor,
  SEALED_PASSWORD,
  type SealedSecrets,
  type SecretScope,
  type SecretValues,
} from '../../../core/protocol/secrets.ts'
import { sealSecrets } from '../../../io/keys/secret-envelope.ts'
import { FakeRuntime } from './fake-runtime.ts'
import { gatewayOf, runOf, setupHost } from './host-kit.ts'
import { GATEWAY, manifestOf } from './test-kit.ts'

const timeout = 20_000
const SECRET = 'correct horse battery'
const PASSWORD = 'hunter22'

describe('secrets at their node', { timeout }, () => {
  it('are in the container and in its login, and nowhere on the node’s disk', async (t) => {
    const { run, runtime, folder } = await setup(t)
    await run()
    const [spec] = runtime.specs
    const [web] = spec?.manifest.services ?? []
    assert.deepEqual(web?.env.slice(-1), [`TOKEN=${SECRET}`])
    assert.equal(web?.credentials?.password, PASSWORD)
    const [file, ...others] = readdirSync(folder)
    assert.ok(file !== undefined && others.length === 0)
    const kept = readFileSync(join(folder, file), 'utf8')
    assert.ok(kept.includes(SEALED_PASSWORD) && kept.includes('web.TOKEN'))
    assert.ok(!kept.includes(SECRET) && !kept.includes(PASSWORD))
    assert.equal(statSync(join(folder, file)).mode & 0o777, 0o600)
  })

  it('are opened again by an agent that starts anew', async (t) => {
    const { run, host, open } = await setup(t)
    await run()
    await host.close()
    const again = new FakeRuntime()
    gatewayOf(await open(again)).link()
    while (again.specs.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
    assert.deepEqual(again.specs[0]?.manifest.services[0]?.env.slice(-1), [`TOKEN=${SECRET}`])
  })

  it('start nothing where they are for another deployment, tenant or node, or do not come', async (t) => {
    const cases: [label: string, Parameters<Awaited<ReturnType<typeof setup>>['run']>[0]][] = [
      ['another deployment', { scope: { deployment: 'dep_2' } }],
      ['another tenant', { scope: { tenant: 'acct_2' } }],
      ['another group', { scope: { group: 'other' } }],
      ['another node', { forNode: `node_${'0'.repeat(24)}` }],
    ]
    for (const [label, wish] of cases) {
      const { run, runtime } = await setup(t)
      const message = await run({ ...wish, phase: 'failed' })
      assert.equal(message, 'it was not sealed to this key, or about something else', label)
      assert.deepEqual(runtime.specs, [], label)
    }
    const { run, runtime } = await setup(t)
    const message = await run({ none: true, phase: 'failed' })
    assert.equal(message, "the registry password of 'web' is not among its secrets")
    assert.deepEqual(runtime.specs, [])
  })

  it('are not in what the node says of a start that failed', async (t) => {
    const { run, runtime } = await setup(t)
    runtime.running = ({ manifest }) => {
      throw new Error(`the engine refuses ${JSON.stringify(manifest.services)}`)
    }
    const message = await run({ phase: 'failed' })
    assert.match(message, /^the engine refuses .*TOKEN=\[secret\].*"password":"\[secret\]"/)
    assert.ok(!message.includes(SECRET) && !message.includes(PASSWORD))
  })

  it('restart nothing when the same ones come sealed anew', async (t) => {
    const { run, runtime } = await setup(t)
    await run()
    await run({ again: true })
    const [before, after] = runtime.specs
    assert.deepEqual(after?.manifest, before?.manifest)
  })
})

async function setup(t: TestContext) {
  const kit = await setupHost(t)
  const { host, gateway, identity, sealing } = kit
  const values: SecretValues = {
    v: 1,
    env: [{ service: 'web', name: 'TOKEN', value: SECRET }],
    registry: [{ service: 'web', registry: 'ghcr.io', password: PASSWORD }],
  }
  const credentials = { host: 'ghcr.io', username: 'me', password: SEALED_PASSWORD }
  const plain = manifestOf()
  const services = plain.services.map((one) => ({ ...one, image: 'ghcr.io/me/app', credentials }))
  const manifest = { ...plain, services }

  function sealed(scope: Partial<SecretScope>, node: string): SealedSecrets {
    const whole = { tenant: 'acct_1', deployment: 'dep_1', group: 'dc', ...scope }
    const envelope = sealSecrets(values, whole, [{ node, sealingKey: sealing.publicKey }])
    return sealedFor(envelope, node) ?? assert.fail('it was sealed for this node')
  }

  return {
    ...kit,
    /** As a gateway leases; the node's words when the phase has come. */
    run: async (
      wish: {
        scope?: Partial<SecretScope>
        forNode?: string
        none?: boolean
        again?: boolean
        phase?: 'running' | 'failed'
      } = {},
    ): Promise<string> => {
      const { scope = {}, forNode = identity.id, none = false, phase = 'running' } = wish
      const ask = kit.askFor()
      if (wish.again !== true) {
        host.command(GATEWAY, ask)
        await gateway.heard('accepted', ask)
      }
      gateway.reports.all.length = 0
      host.command(GATEWAY, runOf(ask, manifest, none ? null : sealed(scope, forNode)))
      const said = await gateway.heardPhase(phase, ask)
      return 'message' in said ? said.message : ''
    },
  }
}
