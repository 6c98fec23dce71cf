import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { z } from 'zod'
import { mergeSettings, readConfigFile, type Sources } from './settings.ts'

describe('settings', () => {
  it('takes a flag before the environment, that before the file, that before the default', () => {
    const port = fc.option(fc.integer({ min: 0, max: 65_535 }), { nil: undefined })
    fc.assert(
      fc.property(port, port, port, (flag, env, file) => {
        const settings = merge({
          flags: { port: flag === undefined ? undefined : String(flag) },
          env: { BASELOAD_PORT: env === undefined ? undefined : String(env) },
          file: { path: 'config.json', values: file === undefined ? {} : { port: file } },
        })
        assert.equal(settings.port, flag ?? env ?? file ?? 8420)
      }),
    )
  })

  it('reads what it can write: any value, through the file as through the environment', () => {
    const model = {
      port: fc.integer({ min: 0, max: 65_535 }),
      verbose: fc.boolean(),
      tags: fc.array(fc.stringMatching(/^[a-z]{1,8}$/), { minLength: 1 }),
      logLevel: fc.constantFrom('info', 'error'),
    }
    const values = fc.record(model, { noNullPrototype: true })
    fc.assert(
      fc.property(values, (given) => {
        const env = {
          BASELOAD_PORT: String(given.port),
          BASELOAD_VERBOSE: String(given.verbose),
          BASELOAD_TAGS: given.tags.join(','),
          BASELOAD_LOG_LEVEL: given.logLevel,
        }
        assert.deepEqual(merge({ env }), given)
        const file = { path: 'config.json', values: given }
        assert.deepEqual(merge({ file }), given)
      }),
    )
  })

  it('names the source of a wrong value', () => {
    const wrong = { flags: { port: '99999' }, env: {}, file: null }
    assert.throws(() => merge(wrong), /port \(from --port\).*99999/)
    assert.throws(
      () => merge({ env: { BASELOAD_PORT: 'http' } }),
      /from BASELOAD_PORT.*not a number/,
    )
    const file = { path: '/x/config.json', values: { logLevel: 'loud' } }
    assert.throws(() => merge({ file }), /logLevel \(from \/x\/config\.json\)/)
  })

  it('says all that is wrong at once', () => {
    const env = { BASELOAD_PORT: 'http', BASELOAD_VERBOSE: 'maybe' }
    assert.throws(() => merge({ env }), /port.*\n.*verbose/)
  })

  it('does not take "false" for true, nor true for 1', () => {
    for (const [text, value] of [
      ['false', false],
      ['0', false],
      ['off', false],
      ['YES', true],
    ] as const)
      assert.equal(merge({ env: { BASELOAD_VERBOSE: text } }).verbose, value)
    assert.throws(() => merge({ env: { BASELOAD_VERBOSE: 'maybe' } }), /neither true nor false/)
    const file = { path: 'c.json', values: { port: true } }
    assert.throws(() => merge({ file }), /must be a number, not true/)
  })

  it('treats an empty variable as absent', () => {
    assert.equal(merge({ env: { BASELOAD_PORT: '' } }).port, 8420)
  })

  it('refuses an unknown setting of the file, with the name that was meant', () => {
    const file = { path: 'c.json', values: { prot: 1 } }
    assert.throws(() => merge({ file }), /c\.json: unknown setting "prot"; did you mean "port"\?/)
    const strange = { path: 'c.json', values: { colour: 1 } }
    assert.throws(() => merge({ file: strange }), /unknown setting "colour"; known: port, /)
  })

  it('knows the names that platforms set, and prefers our own', () => {
    const both = { DATABASE_URL: 'postgres://theirs', BASELOAD_DATABASE_URL: 'postgres://ours' }
    assert.equal(merge({ env: both }).databaseUrl, 'postgres://ours')
    assert.equal(
      merge({ env: { DATABASE_URL: both.DATABASE_URL } }).databaseUrl,
      'postgres://theirs',
    )
  })

  it('never repeats a secret in an error', () => {
    const env = { DATABASE_URL: 'mysql://me:hunter2@host' }
    assert.throws(
      () => merge({ env }),
      (error) => error instanceof Error && !error.message.includes('hunter2'),
    )
  })

  it('says how to give what is missing', () => {
    const needy = z.strictObject({ gatewayUrl: z.string() })
    const sources = { role: 'node', fallback: {}, file: null, env: {}, flags: {} } as const
    assert.throws(
      () => mergeSettings(needy, sources),
      /gatewayUrl is missing: give --gateway-url or set BASELOAD_GATEWAY_URL/,
    )
  })

  it('reads one section of the file, and refuses sections that do not exist', () => {
    const { path, write, close } = setupFile()
    assert.equal(readConfigFile(path, 'gateway', false), null)
    assert.throws(() => readConfigFile(path, 'gateway', true), /cannot read/)
    write('{ "gateway": { "port": 1 }, "node": {} }')
    assert.deepEqual(readConfigFile(path, 'gateway', false)?.values, { port: 1 })
    write('{ "gatway": { "port": 1 } }')
    assert.throws(() => readConfigFile(path, 'gateway', false), /did you mean "gateway"/)
    write('{ port: 1 }')
    assert.throws(() => readConfigFile(path, 'gateway', false), /is not JSON/)
    close()
  })
})

const schema = z.strictObject({
  port: z.coerce.number().int().min(0).max(65_535).default(8420),
  verbose: z.boolean().default(false),
  tags: z.array(z.string()).default([]),
  logLevel: z.enum(['info', 'error']).default('info'),
  databaseUrl: z.string().startsWith('postgres://').optional(),
})

const merge = (sources: Partial<Sources>) =>
  mergeSettings(schema, {
    role: 'gateway',
    fallback: {},
    file: null,
    env: {},
    flags: {},
    ...sources,
  })

function setupFile() {
  const folder = mkdtempSync(join(tmpdir(), 'baseload-settings-'))
  const path = join(folder, 'config.json')
  return {
    path,
    write: (text: string) => writeFileSync(path, text),
    close: () => rmSync(folder, { recursive: true }),
  }
}
