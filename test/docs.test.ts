/** What the documents promise: every error code has its line, and every link leads somewhere. */
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { REFUSALS } from '../src/core/base/refusal.ts'
import { createGatewayMetrics } from '../src/io/telemetry/metrics.ts'

const docs = new URL('../docs/', import.meta.url)
const errors = readFileSync(new URL('errors.md', docs), 'utf8')

/** | `code` | status | `type` | when | what to do | */
const rows = [...errors.matchAll(/^\| `(\w+)` +\| (.+?) +\| `(\w+)` +\| .+? +\| .+? +\|$/gm)].map(
  ([, code = '', status = '', type = '']) => ({ code, status, type }),
)

describe('docs/errors.md', () => {
  it('has one line for each code, and none for codes that are gone', () => {
    assert.ok(rows.length > 0)
    assert.deepEqual(rows.map(({ code }) => code).toSorted(), Object.keys(REFUSALS).toSorted())
  })

  it('gives each code its status and type', () => {
    for (const [code, { status, type }] of Object.entries(REFUSALS)) {
      const row = rows.find((one) => one.code === code)
      assert.equal(row?.type, type, code)
      // On the link a code travels in a close frame; its HTTP status is never seen.
      if (code.startsWith('link_')) assert.match(row?.status ?? '', /^close 4\d\d\d$/, code)
      else assert.equal(row?.status, String(status), code)
    }
  })

  it('links each line of bad input to a test that exists', () => {
    const lines = errors.slice(errors.indexOf('## Bad input')).match(/^\| (?!what|-).+$/gm) ?? []
    assert.ok(lines.length > 10)
    for (const line of lines) {
      const [, title = '', path = ''] = /\[([^\]]+)\]\(([^)]+\.test\.ts)\) +\|$/.exec(line) ?? []
      assert.ok(title !== '' && path !== '', `no test: ${line}`)
      const text = readFileSync(new URL(path, docs), 'utf8')
      assert.ok(text.includes(title), `${path} has no test "${title}"`)
    }
  })
})

describe('docs/operations.md', () => {
  it('explains every metric of our own, and none that is gone', async () => {
    const operations = readFileSync(new URL('operations.md', docs), 'utf8')
    const explained = new Set(
      [...operations.matchAll(/^\| `(baseload_\w+)/gm)].map(([, name]) => name),
    )
    const text = await createGatewayMetrics().text()
    const names = new Set([...text.matchAll(/^# TYPE (baseload_\w+)/gm)].map(([, name]) => name))
    assert.ok(names.size > 0)
    assert.deepEqual(explained, names)
  })
})

describe('docs', () => {
  it('link only to files that exist', () => {
    const pages = readdirSync(docs, { recursive: true, encoding: 'utf8' }).filter((path) =>
      path.endsWith('.md'),
    )
    assert.ok(pages.length > 0)
    for (const page of pages) {
      const url = new URL(page, docs)
      for (const [, target = ''] of readFileSync(url, 'utf8').matchAll(/\]\(([^)\s]+)\)/g)) {
        const path = target.replace(/#.*$/, '')
        if (path === '' || /^[a-z]+:/.test(path)) continue
        assert.ok(existsSync(new URL(path, url)), `${page} links to ${target}`)
      }
    }
  })
})
