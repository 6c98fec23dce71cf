/** The house rules a compiler cannot see. Each source file is read once. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { VERSION } from '../src/core/base/version.ts'

/** Who may import whom: the whole architecture in one table. */
const mayImport: Record<string, readonly string[]> = {
  'core/base': [],
  'core/protocol': ['core/base'],
  'core/routing': ['core/base', 'core/protocol'],
  'core/sdl': ['core/base', 'core/protocol'],
  'core/market': ['core/base', 'core/protocol'],
  'core/ledger': ['core/base', 'core/protocol'],
  'io/keys': ['core/*'],
  'io/store': ['core/*'],
  'io/link': ['core/*'],
  'io/engine': ['core/*'],
  'io/child': ['core/*'],
  'io/runtime': ['core/*'],
  'io/objects': ['core/*'],
  'io/probe': ['core/*'],
  'io/chain': ['core/*', 'io/store'],
  'io/http': ['core/*'],
  'io/telemetry': ['core/*'],
  'programs/gateway': ['core/*', 'io/*'],
  'programs/node': ['core/*', 'io/*'],
  'programs/simulator': ['core/*'],
  'programs/cli': ['core/*', 'io/*', 'programs/*'],
}

/** Rooms of io that other rooms of io may use: leaves that decide nothing and know nobody. */
const shared = ['io/keys', 'io/telemetry']

/** The core is a function of its inputs: no clock, chance, network, disk or process. */
const impure =
  /\b(Date\.now|new Date\(\)|Math\.random|setTimeout\(|setInterval\(|fetch\(|process\.)|["']node:/

const importPath = /(?:from|import)\s*\(?\s*["'](\.{1,2}\/[^"']+)["']/g

const source = new URL('../src/', import.meta.url)
const paths = readdirSync(source, { recursive: true, encoding: 'utf8' })
const files = paths
  .filter((path) => path.endsWith('.ts'))
  .map((path) => ({ path, text: readFileSync(new URL(path, source), 'utf8') }))

const moduleOf = (path: string): string => path.split('/').slice(0, 2).join('/')

const imports = files.flatMap(({ path, text }) =>
  [...text.matchAll(importPath)].map(([, target = '']) => ({
    path,
    from: moduleOf(path),
    to: moduleOf(new URL(target, `file:///${path}`).pathname.slice(1)),
  })),
)

describe('tidy', () => {
  it('sees the code it judges', () => {
    assert.ok(files.length > 0 && imports.length > 0, 'a checker that finds nothing proves nothing')
  })

  it('imports only what the table allows', () => {
    for (const { path, from, to } of imports) {
      const allowed = mayImport[from]
      assert.ok(allowed, `${path}: add ${from} to the import table`)
      const layer = `${to.split('/')[0]}/*`
      const ok =
        to === from ||
        allowed.includes(to) ||
        allowed.includes(layer) ||
        (from.startsWith('io/') && shared.includes(to))
      assert.ok(ok, `${path} may not import ${to}`)
    }
  })

  it('keeps the core pure', () => {
    for (const { path, text } of files) {
      if (path.startsWith('core/') && !path.endsWith('.test.ts')) {
        assert.doesNotMatch(text, impure, `${path} reaches outside`)
      }
    }
  })

  it('keeps files small enough to read in one sitting', () => {
    for (const { path, text } of files) {
      assert.ok(text.split('\n').length <= 400, `${path} is too long: find the two things it does`)
    }
  })

  it('tells the version that package.json has', () => {
    const { version }: { version: string } = JSON.parse(
      readFileSync(new URL('../package.json', import.meta.url), 'utf8'),
    )
    assert.equal(VERSION, version)
  })

  it('names no file but for its noun, and keeps no barrels', () => {
    for (const { path } of files) {
      assert.match(path, /^[a-z0-9-]+(\/[a-z0-9-]+)*(\.test)?\.ts$/, `${path} is not kebab-case`)
      assert.ok(!path.endsWith('/index.ts'), `${path} is a barrel`)
    }
  })
})
