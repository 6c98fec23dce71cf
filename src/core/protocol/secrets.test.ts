import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Manifest } from './manifest.ts'
import {
  namesOf,
  readVariable,
  registryOf,
  SEALED_PASSWORD,
  sealedLogins,
  withSecrets,
  type SecretValues,
} from './secrets.ts'

describe('withSecrets', () => {
  it('puts a secret variable in the place of a plain one, and leaves other services alone', () => {
    const manifest = manifestOf({ env: ['A=1', 'TOKEN=shown', 'TOKEN_TOO=2', 'TOKEN'] })
    const filled = withSecrets(manifest, values({ env: [['web', 'TOKEN', 'a=b']] }))
    assert.ok('manifest' in filled)
    const [web, db] = filled.manifest.services
    assert.deepEqual(web?.env, ['A=1', 'TOKEN_TOO=2', 'TOKEN=a=b'])
    assert.deepEqual(db, manifest.services[1])
  })

  it('hands a password to images of its own registry only', () => {
    const sealed = values({ registry: [['web', 'ghcr.io', 'hunter2']] })
    const manifest = manifestOf({ image: 'ghcr.io/me/app:2' })
    assert.deepEqual(sealedLogins(manifest), ['web'])
    const filled = withSecrets(manifest, sealed)
    assert.ok('manifest' in filled)
    assert.equal(filled.manifest.services[0]?.credentials?.password, 'hunter2')
    assert.deepEqual(withSecrets(manifestOf({ image: 'evil.example/me/app:2' }), sealed), {
      why: "the registry password of 'web' was sealed for ghcr.io, and its image is of evil.example",
    })
    assert.deepEqual(withSecrets(manifest, null), {
      why: "the registry password of 'web' is not among its secrets",
    })
  })

  it('leaves out what belongs to a service that is gone', () => {
    const filled = withSecrets(manifestOf(), values({ env: [['gone', 'TOKEN', 'x']] }))
    assert.ok('manifest' in filled)
    assert.deepEqual(filled.manifest, manifestOf())
  })
})

describe('names of secrets', () => {
  it('are told sorted, without values', () => {
    const all = values({
      env: [
        ['web', 'B', '1'],
        ['db', 'A', '2'],
      ],
      registry: [['web', 'ghcr.io', '3']],
    })
    assert.deepEqual(namesOf(all), ['db.A', 'web.B', 'web@registry'])
  })

  it('are read as service and variable', () => {
    assert.deepEqual(readVariable('web.DB_PASSWORD'), { service: 'web', name: 'DB_PASSWORD' })
    assert.deepEqual(readVariable('web.a.b-c'), { service: 'web', name: 'a.b-c' })
    for (const wrong of [
      '',
      'web',
      'web.',
      '.A',
      'Web.A',
      'web.1A',
      'web.A=1',
      'web.A\n',
      'web@registry',
    ])
      assert.equal(readVariable(wrong), null, wrong)
  })
})

describe('registryOf', () => {
  it('finds the host that engines would ask', () => {
    const cases: [image: string, registry: string][] = [
      ['nginx', 'docker.io'],
      ['nginx:1.29', 'docker.io'],
      ['me/app', 'docker.io'],
      ['ghcr.io/me/app:1', 'ghcr.io'],
      ['localhost/app', 'localhost'],
      ['localhost:5000/app@sha256:00', 'localhost:5000'],
      ['127.0.0.1:5000/app', '127.0.0.1:5000'],
    ]
    for (const [image, registry] of cases) assert.equal(registryOf(image), registry, image)
  })
})

function values(all: {
  env?: (readonly [string, string, string])[]
  registry?: (readonly [string, string, string])[]
}): SecretValues {
  const { env = [], registry = [] } = all
  return {
    v: 1,
    env: env.map(([service, name, value]) => ({ service, name, value })),
    registry: registry.map(([service, host, password]) => ({ service, registry: host, password })),
  }
}

/** `web`, with a login that comes sealed where it has an image of its own, and `db`. */
function manifestOf({ env = [], image }: { env?: string[]; image?: string } = {}): Manifest {
  const service = {
    command: null,
    args: null,
    unit: 1,
    count: 1,
    expose: [],
    mounts: [],
    permissions: [],
    tee: null,
  }
  const credentials = { host: 'https://ghcr.io', username: 'me', password: SEALED_PASSWORD }
  const web = { name: 'web', image: image ?? 'nginx', env, credentials: image ? credentials : null }
  const db = { name: 'db', image: 'postgres', env: ['TOKEN=db'], credentials: null }
  return {
    group: 'here',
    services: [
      { ...service, ...web },
      { ...service, ...db },
    ],
  }
}
