import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { withDownloadLock } from './download-lock.ts'

const timeout = 20_000
const never = new AbortController().signal

describe('withDownloadLock', () => {
  it('lets one in at a time, and leaves nothing behind', { timeout }, async (t) => {
    const { folder, target } = await setup(t)
    let inside = 0
    const said: string[] = []
    const work = async () => {
      assert.equal(++inside, 1)
      await new Promise(setImmediate)
      inside -= 1
    }
    await Promise.all(
      [1, 2, 3].map(() => withDownloadLock(target, never, (line) => said.push(line), work)),
    )
    assert.equal(said.length, 2)
    assert.deepEqual(await readdir(folder), [])
  })

  it(
    "takes over a dead process's lock, and an earlier one of its own number",
    { timeout },
    async (t) => {
      const { target } = await setup(t)
      const dead = spawnSync(process.execPath, ['-e', '']).pid
      for (const pid of [dead, process.pid]) {
        await writeFile(`${target}.lock`, `${pid} x`)
        assert.equal(
          await withDownloadLock(target, never, assert.fail, () => Promise.resolve(7)),
          7,
        )
      }
    },
  )

  it('waits for a living process until told to stop', { timeout }, async (t) => {
    const { target } = await setup(t)
    await writeFile(`${target}.lock`, `${process.ppid} x`)
    const abort = new AbortController()
    const say = () => abort.abort(new Error('told to'))
    const waiting = withDownloadLock(target, abort.signal, say, () => Promise.resolve())
    await assert.rejects(waiting, { name: 'AbortError' })
  })
})

async function setup(t: TestContext) {
  const folder = await mkdtemp(join(tmpdir(), 'baseload-lock-'))
  t.after(() => rm(folder, { recursive: true }))
  return { folder, target: join(folder, 'model.gguf') }
}
