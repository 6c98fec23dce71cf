import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { describe, it, type TestContext } from 'node:test'
import { FolderStore } from './folder-store.ts'

const timeout = 10_000

describe('a folder as object store', () => {
  it('lets nobody else of the machine read', { timeout }, async (t) => {
    const { store, folder } = setup(t)
    await store.put('a/b', Readable.from(['secret']), 100)
    assert.equal(statSync(join(folder, 'a')).mode & 0o777, 0o700)
    assert.equal(statSync(join(folder, 'a/b')).mode & 0o777, 0o600)
  })

  it('removes what a crash left half written, and lists none of it', { timeout }, async (t) => {
    const { store, folder } = setup(t)
    mkdirSync(join(folder, 'a'))
    writeFileSync(join(folder, 'a/b.0123456789ab.part'), 'half')
    writeFileSync(join(folder, 'a/bb.0123456789ab.part'), "another's")
    assert.deepEqual(await store.list('a'), [])
    await store.remove('a/b')
    assert.deepEqual(readdirSync(join(folder, 'a')), ['bb.0123456789ab.part'])
  })

  it('says why it cannot be used, and what to do', { timeout }, async (t) => {
    const { folder } = setup(t)
    writeFileSync(join(folder, 'file'), '')
    const store = new FolderStore(join(folder, 'file'))
    await assert.rejects(store.check(), {
      code: 'objects_refused',
      message: /cannot be kept in .*file: E.*--snapshots/s,
    })
  })
})

function setup(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), 'baseload-objects-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  return { store: new FolderStore(folder), folder }
}
