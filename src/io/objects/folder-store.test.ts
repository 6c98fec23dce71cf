import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { describe, it, type TestContext } from 'node:test'
import { FolderStore } from './folder-store.ts'

const timeout = 10_000

describe('folder store', () => {
  it('keeps what it is given, and replaces it whole', { timeout }, async (t) => {
    const { store } = setup(t)
    assert.equal(await store.put('a/b.tar', Readable.from(['one']), 100), 3)
    await store.put('a/b.tar', Readable.from(['another']), 100)
    assert.equal(await text((await store.get('a/b.tar')) ?? Readable.from(['none'])), 'another')
    await store.removeAll('a')
    assert.equal(await store.get('a/b.tar'), null)
  })

  it(
    'leaves what was there when the new one is too large or breaks off',
    { timeout },
    async (t) => {
      const { store, folder } = setup(t)
      await store.put('a/b', Readable.from(['old']), 100)
      await assert.rejects(store.put('a/b', Readable.from(['far ', 'too large']), 5), /limit of 5/)
      const broken = Readable.from(brokenOff())
      await assert.rejects(store.put('a/b', broken, 100), /broke off/)
      assert.equal(await text((await store.get('a/b')) ?? Readable.from([''])), 'old')
      assert.deepEqual(readdirSync(join(folder, 'a')), ['b'])
    },
  )

  it('never leaves its folder', { timeout }, async (t) => {
    const { store } = setup(t)
    for (const name of ['../x', 'a/../../x', '/etc/passwd', '', 'a//b', '.hidden', 'a b'])
      await assert.rejects(async () => await store.get(name), RangeError, name)
  })
})

async function* brokenOff(): AsyncGenerator<string> {
  yield 'begun'
  await Promise.resolve()
  throw new Error('it broke off')
}

function setup(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), 'baseload-objects-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  return { store: new FolderStore(folder), folder }
}
