import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { edited, PLAIN, refused, serviceOf, taken } from './test-sdl.ts'

/** The file with these keys added to its service. */
const service = (...lines: string[]): string =>
  edited(['    expose:', `${lines.map((line) => `    ${line}\n`).join('')}    expose:`])

const credentials = (...lines: string[]): string =>
  service('credentials:', ...lines.map((line) => `  ${line}`))
const params = (line: string): string => service('params:', `  ${line}`)

describe('services', () => {
  it('hands on image, command, args and env', () => {
    const found = serviceOf(service('command: [sh, -c]', 'args: ["echo hi"]', 'env: [A=b=c, B]'))
    assert.deepEqual(found.command, ['sh', '-c'])
    assert.deepEqual(found.args, ['echo hi'])
    assert.deepEqual(found.env, ['A=b=c', 'B'])
    assert.equal(serviceOf(PLAIN).command, null)
    assert.equal(serviceOf(service('args:', 'env:')).args, null)
  })

  it('needs an image', () => {
    assert.match(refused(edited(['image: nginx:1.29', 'image: ""'])).message, /empty/)
    assert.match(refused(edited(['image: nginx:1.29', 'env: []'])).message, /'image' is missing/)
  })

  it('takes only names that can be host names', () => {
    for (const name of ['Web', 'my_app', '1st', 'web-', '-web', 'a'.repeat(64)]) {
      const problem = refused(PLAIN.replace('\n  web:', `\n  ${name}:`))
      assert.match(problem.message, /becomes a host name/, name)
    }
    assert.equal(refused(PLAIN.replace('\n  web:', '\n  my_app:')).example, 'my-app')
  })

  it('ignores keys of other tools, and says what to write instead', () => {
    for (const [line, hint] of [
      ['depends_on: [db]', /services start together/],
      ['depends-on: [db]', /services start together/],
      ['cmd: [ls]', /did you mean `command`/],
      ['environment: [A=b]', /did you mean `env:/],
      ['volumes: ["data:/data"]', /params\.storage/],
      ['ports: ["80:80"]', /did you mean `expose`/],
      ['anything: 1', /it is ignored/],
    ] as const)
      assert.match(taken(service(line)).warned, hint, line)
    assert.equal(taken(service('dependencies: [{ service: db }]')).warned, '')
  })

  it('wants lists of texts', () => {
    assert.match(refused(service('command: sh -c ls')).message, /a list is needed/)
    assert.match(refused(service('env: { A: b }')).example ?? '', /NAME=value/)
    assert.match(refused(service('env: [{ A: b }]')).message, /text is needed/)
    assert.match(taken(service('args: [8080, true]')).warned, /write it in quotes/)
  })

  it('wants variables with names', () => {
    for (const item of ['=b', '""', 'A B=c', '"A =c"', ''])
      refused(service(`env:\n      - ${item}`))
    assert.match(taken(service('env: [1A=b]')).warned, /CLI refuses this name/)
    assert.equal(taken(service('env: [a.b-c_D=e]')).warned, '')
  })

  it('hands on credentials, and never shows them', () => {
    const lines = ['host: ghcr.io', 'username: me', 'password: hunter22']
    assert.deepEqual(serviceOf(credentials(...lines)).credentials, {
      host: 'ghcr.io',
      username: 'me',
      password: 'hunter22',
    })
    assert.match(taken(credentials(...lines.slice(0, 2), 'password: ab')).warned, /6 characters/)
    assert.match(taken(credentials(...lines, 'email: a@b')).warned, /5 characters/)
    for (const key of ['host', 'username', 'password']) {
      assert.match(
        refused(credentials(...lines.filter((one) => !one.startsWith(key)))).message,
        /is missing/,
      )
      const empty = lines.map((one) => (one.startsWith(key) ? `${key}: "  "` : one))
      refused(credentials(...empty))
    }
    const wrong = refused(credentials(...lines.slice(0, 2), 'password: [hunter22]'))
    assert.doesNotMatch(JSON.stringify(wrong), /hunter22/)
  })

  it('knows permissions and kinds of TEE', () => {
    assert.deepEqual(serviceOf(params('permissions: { read: [logs, events] }')).permissions, [
      'logs',
      'events',
    ])
    assert.equal(serviceOf(params('tee: cpu')).tee, 'cpu')
    assert.deepEqual(taken(params('tee: cpu')).groups[0]?.attributes, { 'tee/type': 'cpu' })
    refused(params('permissions: { read: [secrets] }'))
    refused(params('tee: sgx'))
    assert.match(refused(params('tee: cpu-gpu')).message, /needs a GPU/)
  })
})
