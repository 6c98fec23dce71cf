/** What every object store holds to: one suite, run over each of them. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { buffer, text } from 'node:stream/consumers'
import { describe, it, type TestContext } from 'node:test'
import { fakeS3 } from './fake-s3.ts'
import { FolderStore } from './folder-store.ts'
import type { ObjectStore } from './object-store.ts'
import { S3Store } from './s3-store.ts'

const timeout = 30_000
const MIB = 2 ** 20

describe('a folder holds objects', () => holdsObjects(aFolder))
describe('a bucket holds objects', () => holdsObjects(aBucket))

type Setup = (t: TestContext) => Promise<{
  readonly store: ObjectStore
  /** What lies there by other means than the store's: nothing is left where nothing should be. */
  readonly leftovers: () => Promise<readonly string[]> | readonly string[]
}>

function holdsObjects(setup: Setup): void {
  it('keeps what it is given, and replaces it whole', { timeout }, async (t) => {
    const { store } = await setup(t)
    assert.equal(await store.put('a/b.tar', Readable.from(['one']), 100), 3)
    await store.put('a/b.tar', Readable.from(['another']), 100)
    assert.equal(await text(await there(store, 'a/b.tar')), 'another')
    await store.put('empty', Readable.from([]), 100)
    assert.equal(await text(await there(store, 'empty')), '')
    assert.equal(await store.get('a/c'), null)
    assert.equal(await store.get('a'), null)
  })

  it('gives back each byte of what is larger than any of its parts', { timeout }, async (t) => {
    const { store } = await setup(t)
    for (const size of [5 * MIB - 1, 5 * MIB, 5 * MIB + 1, 13 * MIB]) {
      const bytes = randomBytes(size)
      assert.equal(await store.put('large', Readable.from(pieces(bytes)), size), size)
      const back = await buffer(await there(store, 'large'))
      assert.ok(back.equals(bytes), `${size} bytes`)
    }
  })

  it(
    'leaves what was there when the new one is too large, or breaks off',
    { timeout },
    async (t) => {
      const { store, leftovers } = await setup(t)
      await store.put('a/b', Readable.from(['old']), 100)
      await assert.rejects(store.put('a/b', Readable.from(['far ', 'too large']), 5), /limit of 5/)
      await assert.rejects(store.put('a/b', Readable.from(brokenOff(10)), 100), /broke off/)
      const long = Readable.from(brokenOff(12 * MIB))
      await assert.rejects(store.put('a/b', long, 100 * MIB), /broke off/)
      const more = Readable.from(pieces(randomBytes(12 * MIB)))
      await assert.rejects(store.put('a/b', more, 12 * MIB - 1), /over its limit/)
      assert.equal(await text(await there(store, 'a/b')), 'old')
      assert.deepEqual(await leftovers(), ['a/b'])
    },
  )

  it('takes exactly as much as the limit says', { timeout }, async (t) => {
    const { store } = await setup(t)
    assert.equal(await store.put('a', Readable.from(['12345']), 5), 5)
    await assert.rejects(store.put('a', Readable.from(['123456']), 5), { code: 'object_too_large' })
  })

  it('ends the stream that it does not want whole', { timeout }, async (t) => {
    const { store } = await setup(t)
    const body = Readable.from(pieces(randomBytes(12 * MIB)))
    await assert.rejects(store.put('a', body, 10))
    assert.ok(body.destroyed)
  })

  it('lists by whole parts of a name, in order', { timeout }, async (t) => {
    const { store } = await setup(t)
    for (const name of ['a/2', 'a/1/x', 'ab/3', 'b', 'a/1/y', 'a/10'])
      await store.put(name, Readable.from([name]), 100)
    assert.deepEqual(await store.list('a'), [
      { name: 'a/1/x', bytes: 5 },
      { name: 'a/1/y', bytes: 5 },
      { name: 'a/10', bytes: 4 },
      { name: 'a/2', bytes: 3 },
    ])
    assert.deepEqual(await store.list('b'), [{ name: 'b', bytes: 1 }])
    assert.deepEqual(await store.list('c'), [])
  })

  it('removes one and no other; twice is fine', { timeout }, async (t) => {
    const { store } = await setup(t)
    await store.put('a/1', Readable.from(['1']), 100)
    await store.put('a/11', Readable.from(['11']), 100)
    await store.remove('a/1')
    await store.remove('a/1')
    assert.equal(await store.get('a/1'), null)
    assert.equal(await text(await there(store, 'a/11')), '11')
  })

  it('can be checked, and leaves nothing of that', { timeout }, async (t) => {
    const { store, leftovers } = await setup(t)
    await store.check()
    assert.deepEqual(await leftovers(), [])
  })

  it('never leaves its place', { timeout }, async (t) => {
    const { store } = await setup(t)
    for (const name of [
      '../x',
      'a/../../x',
      '/etc/passwd',
      '',
      'a//b',
      '.hidden',
      'a b',
      'a/',
      'ä',
    ]) {
      await assert.rejects(async () => await store.get(name), RangeError, name)
      await assert.rejects(async () => await store.put(name, Readable.from(['x']), 9), RangeError)
      await assert.rejects(async () => await store.remove(name), RangeError)
      await assert.rejects(async () => await store.list(name), RangeError)
    }
  })
}

async function there(store: ObjectStore, name: string): Promise<Readable> {
  const found = await store.get(name)
  assert.ok(found, `${name} is there`)
  return found
}

/** As a network cuts them: never in the sizes that a reader would like. */
function* pieces(bytes: Buffer): Generator<Buffer> {
  for (let at = 0, size = 1; at < bytes.length; at += size, size = (size * 7) % 65_521)
    yield bytes.subarray(at, at + size)
}

async function* brokenOff(after: number): AsyncGenerator<Buffer> {
  for (let sent = 0; sent < after; sent += 64 * 1024) yield Buffer.alloc(Math.min(64 * 1024, after))
  await Promise.resolve()
  throw new Error('it broke off')
}

function aFolder(t: TestContext): ReturnType<Setup> {
  const folder = mkdtempSync(join(tmpdir(), 'baseload-objects-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const leftovers = () =>
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map(({ parentPath, name }) => join(parentPath, name).slice(folder.length + 1))
  return Promise.resolve({ store: new FolderStore(folder), leftovers })
}

/** As strict as Amazon's about parts, and with small pages. */
async function aBucket(t: TestContext): ReturnType<Setup> {
  const s3 = await fakeS3({ minPartBytes: 5 * MIB, page: 2 })
  t.after(s3.close)
  const { settings, endpoint } = s3
  const store = new S3Store({ ...settings, endpoint, prefix: 'net', pathStyle: true, pauseMs: 1 })
  const leftovers = () => [
    ...[...s3.objects.keys()].map((key) => key.replace(/^net\//, '')),
    ...s3.uploads.keys(),
  ]
  return { store, leftovers }
}
