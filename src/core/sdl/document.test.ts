import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { remarkText } from './report.ts'
import { readSdl } from './sdl.ts'
import { edited, PLAIN, refused, taken } from './test-sdl.ts'

const notice = (window: string): string => `${PLAIN}reclamation:\n  min_window: ${window}\n`

describe('an SDL file', () => {
  it('says nothing about a file that is right', () => {
    assert.equal(taken(PLAIN).warned, '')
  })

  it('tells where a problem is, what was found, what is allowed, and an example', () => {
    const problem = refused(edited(['port: 80', 'port: "80"']))
    assert.deepEqual(problem, {
      file: 'app.yaml',
      line: 6,
      column: 15,
      path: 'services.web.expose[0].port',
      message: 'a number is needed, without quotes',
      found: 'the text "80"',
      allowed: '1 to 65535',
      example: 'port: 80',
    })
    assert.match(remarkText(problem), /^app\.yaml:6:15 services\.web\.expose\[0\]\.port: a number/)
  })

  it('tells all problems of the sections at once', () => {
    const text = edited(['port: 80', 'port: 0'], ['512Mi', '512Mx'], ['count: 1', 'count: 0'])
    const reading = readSdl(text, 'app.yaml')
    assert.ok('problems' in reading)
    assert.equal(reading.problems.length, 3)
  })

  it('reads versions as tolerantly as the CLI', () => {
    for (const [version, as] of [
      ['"2.0"', '2.0'],
      ['2.0', '2.0'],
      ['2', '2.0'],
      ['v2.0.0', '2.0'],
      ['"2.1"', '2.1'],
      ['"3.0"', '2.1'],
    ]) {
      const { document, warned } = taken(edited(['"2.0"', version ?? '']))
      assert.equal(document.version, as)
      assert.equal(/Akash's Console/.test(warned), !/^"2\.[01]"$/.test(version ?? ''), version)
    }
    for (const version of ['"1.0"', '2.0.1', 'two', '', '[2]'])
      assert.match(refused(edited(['"2.0"', version])).path, /^(version)?$/, version)
  })

  it('refuses sections it does not know, and files without those it needs', () => {
    assert.match(refused(`${PLAIN}volumes: {}\n`).message, /no key 'volumes'.*compute profile/)
    for (const section of ['version', 'services', 'profiles', 'deployment']) {
      const without = PLAIN.replace(new RegExp(`^${section}:.*\\n(?: .*\\n)*`, 'm'), '')
      assert.equal(refused(without).message, `'${section}' is missing`)
    }
    for (const text of ['', '---', '[]', 'text', '# nothing']) refused(text)
  })

  it('warns of documents and files that are not read', () => {
    assert.match(taken(`${PLAIN}---\nversion: "2.0"\n`).warned, /first of 2 documents/)
    assert.match(taken(`${PLAIN}include: [other.yaml]\n`).warned, /included files are not read/)
  })

  it('reads the notice that a provider must give', () => {
    assert.equal(taken(notice('24h')).groups[0]?.minNoticeS, 86_400)
    assert.equal(taken(notice('"1h30m"')).groups[0]?.minNoticeS, 5_400)
    assert.match(taken(notice('1h30m')).warned, /Console wants one whole number/)
    assert.equal(taken(notice('500ms')).groups[0]?.minNoticeS, 1)
    assert.equal(taken(PLAIN).groups[0]?.minNoticeS, null)
    for (const window of ['0s', '"0s"', '-1h', 'abc', '24', '', '9999999h']) refused(notice(window))
    refused(`${PLAIN}reclamation:\n`)
  })

  it('refuses what passes the limits of the wire', () => {
    const env = `    env: [${Array(1001).fill('A=b').join(', ')}]\n    expose:\n`
    const problem = refused(edited(['    expose:\n', env]))
    assert.match(problem.message, /a limit is passed at services\.0\.env/)
    assert.equal(problem.path, 'services.web')
  })
})
