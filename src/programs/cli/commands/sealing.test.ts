import assert from 'node:assert/strict'
import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import {
  MAX_SECRETS_BYTES,
  SEALED_PASSWORD,
  sealedFor,
  type SecretEnvelope,
  type SecretValues,
} from '../../../core/protocol/secrets.ts'
import { ephemeralSealingKey } from '../../../io/keys/sealed-box.ts'
import { openSecrets, sealedDeploymentId } from '../../../io/keys/secret-envelope.ts'
import { EXIT } from '../shell/failure.ts'
import { setupDeployments } from './deployment-kit.ts'

const TIMEOUT = { timeout: 20_000 }
const TOKEN = 'correct horse battery'

describe('baseload deploy with secrets', TIMEOUT, () => {
  it(
    'seals them for each node, from a file, the environment and an env-file',
    TIMEOUT,
    async (t) => {
      const { deploy, write, opened, leases, alice } = await setup(t, { API_TOKEN: TOKEN })
      const { code, out, err } = await deploy(
        '--secret',
        `web.PEM=@${write('pem', 'line 1\nline 2\n')}`,
        '--secret-env',
        'web.TOKEN=API_TOKEN',
        '--secret-env',
        'web.API_TOKEN',
        '--secrets',
        write('all', '# of the shop\n\nweb.A=b=c \nweb.EMPTY_NOT= x\n', 0o600),
      )
      assert.equal(code, EXIT.ok, err)
      assert.match(err, /^5 secrets sealed for 2 nodes$/m)
      for (const node of [0, 1])
        assert.deepEqual(envOf(opened(node)), {
          'web.PEM': 'line 1\nline 2',
          'web.TOKEN': TOKEN,
          'web.API_TOKEN': TOKEN,
          'web.A': 'b=c ',
          'web.EMPTY_NOT': ' x',
        })
      assert.ok(!`${out}${err}`.includes(TOKEN))
      const [kept] = await leases.deployments(alice.id, { limit: 1, closed: false })
      assert.ok(kept && !JSON.stringify({ ...kept, spentNanoUsd: 0 }, asText).includes(TOKEN))
    },
  )

  it(
    'takes registry passwords out of the file, and seals them for their registry',
    TIMEOUT,
    async (t) => {
      const { deploy, file, opened, leases, alice } = await setup(t)
      writeFileSync(file, sdl({ password: 'hunter22' }))
      const { code, err } = await deploy()
      assert.equal(code, EXIT.ok, err)
      assert.deepEqual(opened(0).registry, [
        { service: 'web', registry: 'ghcr.io', password: 'hunter22' },
      ])
      const [kept] = await leases.deployments(alice.id, { limit: 1, closed: false })
      assert.equal(kept?.sdl, sdl({ password: SEALED_PASSWORD }))
    },
  )

  it(
    'takes a password from elsewhere, where the file says that it comes sealed',
    TIMEOUT,
    async (t) => {
      const { deploy, file, opened } = await setup(t, { GHCR: 'hunter22' })
      writeFileSync(file, sdl({ password: SEALED_PASSWORD }))
      const without = await deploy()
      assert.equal(without.code, EXIT.usage)
      assert.match(without.err, /web@registry is not given: its file says/)
      assert.equal((await deploy('--secret-env', 'web@registry=GHCR')).code, EXIT.ok)
      assert.equal(opened(0).registry[0]?.password, 'hunter22')
    },
  )

  it('seals for the nodes that are named and no other', TIMEOUT, async (t) => {
    const { deploy, leases, sealedNodes } = await setup(t, { TOKEN })
    const node = leases.sealers[1]?.identity.id ?? ''
    const secret = ['--secret-env', 'web.TOKEN'] as const
    assert.equal((await deploy(...secret, '--seal-to', node)).code, EXIT.ok)
    assert.deepEqual(sealedNodes(), [node])
    const nowhere = await deploy(...secret, '--seal-to', 'node_none')
    assert.equal(nowhere.code, EXIT.refused)
    assert.match(
      nowhere.err,
      /none of node_none could run 'here' and has a key.*1 of 3 nodes: busy/,
    )
  })

  it('sends nothing for a key that its node did not sign', TIMEOUT, async (t) => {
    const { deploy, leases } = await setup(t, { TOKEN })
    const [first] = leases.sealers
    assert.ok(first)
    const real = leases.sealingKeys.bind(leases)
    leases.sealingKeys = async (...wish) => {
      const keys = await real(...wish)
      if (!('groups' in keys)) return keys
      const key = ephemeralSealingKey().publicKey
      const groups = keys.groups.map((one) => ({
        ...one,
        nodes: one.nodes.map((node) => ({ ...node, key })),
      }))
      return { ...keys, groups }
    }
    const { code, err } = await deploy('--secret-env', 'web.TOKEN')
    assert.equal(code, EXIT.refused)
    assert.match(err, /the sealing key of node_\w+ is not signed by node_\w+: nothing was sent/)
    assert.deepEqual(leases.secrets, [])
  })

  it(
    'refuses what could be seen, or is no secret, and never quotes a value',
    TIMEOUT,
    async (t) => {
      const { deploy, write, home, leases, file } = await setup(t, { EMPTY: '' })
      const long = write('long', 'x'.repeat(MAX_SECRETS_BYTES + 1))
      const cases: [args: string[], why: RegExp][] = [
        [['--secret', `web.TOKEN=${TOKEN}`], /a value on the command line is seen by everyone/],
        [['--secret', 'web.TOKEN'], /--secret web\.TOKEN needs =@ and a file/],
        [
          ['--secret', 'web.TOKEN=@/no/such/file'],
          /cannot read \/no\/such\/file: there is no such file/,
        ],
        [['--secret', `web.TOKEN=@${home}`], /it is a folder/],
        [['--secret', `web.TOKEN=@${long}`], /larger than 65536 bytes/],
        [['--secret', `web.TOKEN=@${write('raw', Buffer.of(0xff))}`], /it is not UTF-8 text/],
        [['--secret', `web.TOKEN=@${write('zero', 'a\0b')}`], /has a zero byte/],
        [['--secret', `web.TOKEN=@${write('none', '\n')}`], /web\.TOKEN is empty/],
        [['--secret-env', 'web.NOT_SET'], /the variable NOT_SET is not set/],
        [['--secret-env', 'web.X=EMPTY'], /web\.X is empty/],
        [['--secret-env', 'EMPTY'], /'EMPTY' names no secret|EMPTY is not set/],
        [['--secrets', write('open', 'web.A=b\n', 0o644)], /can be read by others[^]*chmod 600/],
        [['--secrets', write('bad', `web.A=b\n${TOKEN}\n`, 0o600)], /bad:2 is no line like/],
        [['--secrets', write('two', 'web.A=b\nweb.A=c\n', 0o600)], /web\.A is given twice/],
        [['--secrets', write('gone', 'db.A=b\n', 0o600)], /the file has no service 'db'/],
        [['--secrets', write('login', 'web@registry=b\n', 0o600)], /'web' has no credentials/],
      ]
      for (const [args, why] of cases) {
        const { code, err } = await deploy(...args)
        assert.equal(code, EXIT.usage, `${args.join(' ')}: ${err}`)
        assert.match(err, why)
        assert.ok(!err.includes(TOKEN), err)
      }
      writeFileSync(file, `${sdl({ password: 'hunter22' })}# hunter22\n`)
      const twice = await deploy()
      assert.match(twice.err, /is not sent: the registry password of 'web' also stands in line \d+/)
      writeFileSync(file, 'services: { web: { credentials: { password: hunter22 } } }\n')
      const broken = await deploy()
      assert.equal(broken.code, EXIT.failure)
      assert.match(broken.err, /is refused: /)
      assert.ok(!`${twice.err}${broken.err}`.includes('hunter22'))
      assert.deepEqual(leases.secrets, [], 'nothing was sent')
    },
  )
})

describe('baseload update with secrets', TIMEOUT, () => {
  it('leaves them as they are unless it is given some', TIMEOUT, async (t) => {
    const { run, file, running, leases } = await setup(t)
    await running(['web.TOKEN'])
    assert.match((await run('deployments', 'shop')).out, /^sealed +web\.TOKEN$/m)
    assert.equal((await run('update', 'shop', file)).code, EXIT.ok)
    assert.deepEqual(leases.secrets.at(-1), null)
    const nothing = await run('update', 'shop')
    assert.equal(nothing.code, EXIT.usage)
    assert.match(nothing.err, /nothing is to change/)
  })

  it('wants all that are sealed, since nobody can open the old ones', TIMEOUT, async (t) => {
    const { run, running, opened, leases } = await setup(t, { TOKEN })
    const id = await running(['web.TOKEN', 'web.OLD'])
    const one = await run('update', 'shop', '--secret-env', 'web.TOKEN')
    assert.equal(one.code, EXIT.usage)
    assert.match(one.err, /web\.OLD is not given: nobody but its node[^]*--drop-secret web\.OLD/)
    const both = ['--secret-env', 'web.TOKEN', '--drop-secret', 'web.OLD'] as const
    assert.equal((await run('update', 'shop', ...both)).code, EXIT.ok)
    assert.deepEqual(envOf(opened(0, id)), { 'web.TOKEN': TOKEN })
    const none = ['--drop-secret', 'web.OLD', '--drop-secret', 'web.TOKEN'] as const
    assert.equal((await run('update', 'shop', ...none)).code, EXIT.ok)
    assert.deepEqual(leases.secrets.at(-1), [])
  })

  it('needs no secret of a service that the new file leaves out', TIMEOUT, async (t) => {
    const { run, file, running, opened } = await setup(t, { TOKEN })
    const id = await running(['db.PASSWORD', 'web.TOKEN'])
    assert.equal((await run('update', 'shop', file, '--secret-env', 'web.TOKEN')).code, EXIT.ok)
    assert.deepEqual(envOf(opened(0, id)), { 'web.TOKEN': TOKEN })
  })
})

describe('baseload screen', TIMEOUT, () => {
  it('shows a gateway no password either', TIMEOUT, async (t) => {
    const { run, file, leases } = await setup(t)
    writeFileSync(file, sdl({ password: 'hunter22' }))
    const seen: string[] = []
    const real = leases.screen.bind(leases)
    leases.screen = (account, text, sealed) => {
      seen.push(`${sealed} ${text}`)
      return real(account, text, sealed)
    }
    assert.equal((await run('screen', file)).code, EXIT.ok)
    assert.equal((await run('deploy', file, '--dry-run')).code, EXIT.ok)
    assert.deepEqual(seen, Array(2).fill(`false ${sdl({ password: SEALED_PASSWORD })}`))
  })
})

const asText = (_key: string, value: unknown) => (typeof value === 'bigint' ? String(value) : value)

const envOf = ({ env }: SecretValues): Record<string, string> =>
  Object.fromEntries(env.map(({ service, name, value }) => [`${service}.${name}`, value]))

const sdl = ({ password }: { password?: string } = {}): string => `
version: "2.0"
services:
  web:
    image: ghcr.io/me/app
${password === undefined ? '' : `    credentials: { host: ghcr.io, username: me, password: ${password} }`}
    expose: [{ port: 80, to: [{ global: true }] }]
profiles:
  compute:
    web:
      resources: { cpu: { units: 0.5 }, memory: { size: 512Mi }, storage: { size: 1Gi } }
  placement:
    here:
      pricing: { web: { denom: usd/hour, amount: 1 } }
deployment:
  web: { here: { profile: web, count: 1 } }
`

async function setup(t: TestContext, env: Record<string, string> = {}) {
  const kit = await setupDeployments(t, env)
  const { leases, alice, home, run } = kit
  const file = join(home, 'shop.yaml')
  writeFileSync(file, sdl())

  function latest(): { nonce: string; envelope: SecretEnvelope } {
    const sent = leases.secrets.at(-1) ?? assert.fail('nothing came sealed')
    const [nonce, groups] = 'nonce' in sent ? [sent.nonce, sent.groups] : ['', sent]
    const [envelope] = groups
    assert.ok(envelope)
    return { nonce, envelope }
  }

  return {
    ...kit,
    file,
    write: (name: string, text: string | Buffer, mode = 0o600): string => {
      writeFileSync(join(home, name), text)
      chmodSync(join(home, name), mode)
      return join(home, name)
    },
    deploy: (...args: string[]) => run('deploy', file, '--detach', ...args),
    /** A deployment that has secrets of these names. */
    running: async (secrets: string[]) => {
      const id = await kit.deployed()
      leases.set(id, { secrets })
      const kept = await leases.deployment(alice.id, id)
      assert.ok('sdl' in kept)
      await leases.update(alice.id, id, sdl(), null)
      return id
    },
    sealedNodes: () => Object.keys(latest().envelope.keys),
    /** What one of the nodes finds in the last envelope. */
    opened: (index: number, id?: string): SecretValues => {
      const { nonce, envelope } = latest()
      const sealer = leases.sealers[index]
      assert.ok(sealer)
      const node = sealer.identity.id
      const deployment = id ?? sealedDeploymentId(alice.id, nonce)
      const scope = { tenant: alice.id, deployment, group: 'here' }
      const part = sealedFor(envelope, node) ?? assert.fail('it was sealed for this node')
      return openSecrets(part, scope, { node, key: sealer.key })
    },
  }
}
