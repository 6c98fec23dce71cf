import assert from 'node:assert/strict'
import { chmod, mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { GIB } from './check-result.ts'
import { checkDisk, checkHomePermissions } from './home-checks.ts'

const timeout = 10_000

describe('checkDisk', () => {
  it('makes the folder, measures it, and leaves nothing behind', { timeout }, async (t) => {
    const home = join((await setup(t)).home, 'new')
    const result = await checkDisk(home)
    assert.ok(Number(result.details['fsyncMs']) > 0)
    assert.ok(Number(result.details['freeBytes']) > 0)
    assert.equal((await stat(home)).mode & 0o777, 0o700)
    assert.deepEqual(await readdir(home), [])
  })

  it('names a folder that cannot be one', { timeout }, async (t) => {
    const { key } = await setup(t)
    const result = await checkDisk(join(key, 'home'))
    assert.equal(result.status, 'fail')
    assert.match(result.cause ?? '', /ENOTDIR/)
    assert.match(result.fix ?? '', /--home/)
  })

  it('tells full, slow and filling disks apart', { timeout }, async () => {
    assert.equal((await judge(100 * GIB, 3)).status, 'ok')
    const full = await judge(0.1 * GIB, 3)
    assert.deepEqual([full.status, /receipts/.test(full.cause ?? '')], ['fail', true])
    const slow = await judge(100 * GIB, 80)
    assert.deepEqual([slow.status, /SSD/.test(slow.fix ?? '')], ['warn', true])
    const filling = await judge(GIB, 3)
    assert.deepEqual([filling.status, /make room/.test(filling.fix ?? '')], ['warn', true])
  })
})

describe('checkHomePermissions', () => {
  it('is fine with a private home, and with none yet', { timeout }, async (t) => {
    const { home, key } = await setup(t)
    await chmod(key, 0o600)
    assert.equal((await checkHomePermissions(home)).status, 'ok')
    assert.equal((await checkHomePermissions(join(home, 'missing'))).status, 'ok')
  })

  it(
    'fails when others can read a key, and prints the command that helps',
    { timeout },
    async (t) => {
      const { home, key } = await setup(t)
      await chmod(home, 0o755)
      const result = await checkHomePermissions(home)
      assert.equal(result.status, 'fail')
      assert.match(result.cause ?? '', /key/)
      assert.equal(result.fix, `chmod go= '${home}' '${key}'`)
      assert.equal((await checkHomePermissions(home, 'win32')).status, 'ok')
    },
  )

  it(
    'warns of an open key behind a closed folder, and of an open folder',
    { timeout },
    async (t) => {
      const { home, key } = await setup(t)
      const behind = await checkHomePermissions(home)
      assert.deepEqual([behind.status, behind.found], ['warn', `others may open ${key}`])
      await chmod(key, 0o600)
      await chmod(home, 0o750)
      const open = await checkHomePermissions(home)
      assert.deepEqual([open.status, open.found], ['warn', `others may open ${home}`])
    },
  )
})

const judge = (freeBytes: number, fsyncMs: number) =>
  checkDisk('home', () => Promise.resolve({ freeBytes, fsyncMs }))

/** A private home, and in it a node's key that anyone may read. */
async function setup(t: TestContext): Promise<{ home: string; key: string }> {
  const home = await mkdtemp(join(tmpdir(), 'baseload-home-'))
  t.after(() => rm(home, { recursive: true }))
  const key = join(home, 'nodes', '1', 'node.key')
  await mkdir(join(home, 'nodes', '1'), { recursive: true })
  await writeFile(key, 'not a key', { mode: 0o644 })
  return { home, key }
}
