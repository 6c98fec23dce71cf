import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { SEALED_PASSWORD } from '../protocol/secrets.ts'
import { takePasswords } from './passwords.ts'
import { readSdl } from './sdl.ts'
import { edited, PLAIN } from './test-sdl.ts'

describe('takePasswords', () => {
  it('takes a password out, and leaves the rest as it was, to the byte', () => {
    const text = withLogin('password: hunter22 # of the bot')
    const { text: without, passwords } = took(text)
    assert.equal(without, text.replace('hunter22', SEALED_PASSWORD))
    assert.deepEqual([...passwords], [['web', 'hunter22']])
  })

  it('takes it however it is written', () => {
    const forms: [yaml: string, password: string][] = [
      ['password: "hun\\x74er\\"22"', 'hunter"22'],
      ["password: 'it''s-secret'", "it's-secret"],
      ['password: |\n        hunter22', 'hunter22'],
      ['password: >-\n        hunter22\n        more', 'hunter22 more'],
      ['password: &pw hunter22', 'hunter22'],
      ['password: !!str 12345678', '12345678'],
      ['{ password: hunter22 }', 'hunter22'],
    ]
    for (const [yaml, password] of forms) {
      const flow = yaml.startsWith('{')
      const text = flow
        ? edited(['image: nginx:1.29', `image: me/app\n    credentials: ${FLOW}`])
        : withLogin(yaml)
      const { text: without, passwords } = took(text)
      assert.deepEqual([...passwords], [['web', password]], yaml)
      assert.equal(passwordOf(without), SEALED_PASSWORD, yaml)
      assert.ok(!without.includes('hunter') && !without.includes('12345678'), without)
    }
  })

  it('takes it from where an alias or a merge has it', () => {
    const first = 'db:\n    image: me/db\n    credentials: &login\n      host: ghcr.io\n'
    const login = `${first}      username: me\n      password: hunter22\n  web:`
    for (const own of ['*login', '\n      <<: *login\n      username: other']) {
      const text = edited(
        ['  web:\n    image: nginx:1.29', `  ${login}\n    image: me/app\n    credentials: ${own}`],
        [
          '  web:\n    anywhere',
          '  db: { anywhere: { profile: web, count: 1 } }\n  web:\n    anywhere',
        ],
      )
      const { text: without, passwords } = took(text)
      assert.deepEqual([...passwords.keys()], ['db', 'web'])
      assert.equal(passwordOf(without), SEALED_PASSWORD)
      assert.ok(!without.includes('hunter22'))
    }
  })

  it('takes any password that YAML can hold', () => {
    const password = fc.string({ unit: 'grapheme', minLength: 6, maxLength: 30 })
    fc.assert(
      fc.property(password, (drawn) => {
        const wanted = drawn.trim()
        fc.pre(wanted.length >= 6 && wanted !== SEALED_PASSWORD && !PLAIN.includes(wanted))
        const taken = takePasswords(...read(withLogin(`password: ${JSON.stringify(wanted)}`)))
        // It may be a piece of our own example's text; then it is refused, and not sent.
        if ('why' in taken) return
        assert.deepEqual([...taken.passwords.values()], [wanted])
        assert.equal(passwordOf(taken.text), SEALED_PASSWORD)
      }),
      { numRuns: 100 },
    )
  })

  it('is refused where the password stands elsewhere too, or is part of something else', () => {
    const comment = `${withLogin('password: hunter22')}# hunter22\n`
    const lines = comment.split('\n').length - 1
    assert.deepEqual(takePasswords(...read(comment)), {
      why: `the registry password of 'web' also stands in line ${lines}`,
    })
    const sharedWithEnv = withLogin('password: &pw ab').replace(
      '    expose:',
      '    env:\n      - *pw\n    expose:',
    )
    assert.deepEqual(takePasswords(...read(sharedWithEnv)), {
      why: 'a registry password is part of something else in the file as well',
    })
  })

  it('changes nothing where there is no password, or it was taken before', () => {
    for (const text of [PLAIN, withLogin(`password: ${SEALED_PASSWORD}`)])
      assert.deepEqual(took(text), { text, passwords: new Map() })
  })
})

const FLOW = '{ host: ghcr.io, username: me, password: hunter22 }'

const withLogin = (password: string): string =>
  edited([
    'image: nginx:1.29',
    `image: me/app\n    credentials:\n      host: ghcr.io\n      username: me\n      ${password}`,
  ])

function read(text: string) {
  const reading = readSdl(text, 'app.yaml')
  if (!('sdl' in reading)) throw new Error(JSON.stringify(reading.problems))
  return [text, reading.sdl] as const
}

function took(text: string) {
  const taken = takePasswords(...read(text))
  if ('why' in taken) throw new Error(taken.why)
  return taken
}

const passwordOf = (text: string): string | undefined =>
  read(text)[1].manifests[0]?.services[0]?.credentials?.password
