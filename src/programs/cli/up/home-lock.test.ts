import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { lockHome } from './home-lock.ts'
import { endLeftovers } from './leftovers.ts'
import { identify, isRunning } from './process-identity.ts'

const TIMEOUT = { timeout: 20_000 }

describe('the lock of a home', TIMEOUT, () => {
  it('lets one supervisor in, and says which', TIMEOUT, () => {
    const { home, close } = setup()
    const lock = lockHome(home)
    assert.throws(() => lockHome(home), new RegExp(`already runs from .*pid ${process.pid}`))
    lock.release()
    lockHome(home).release()
    close()
  })

  it('takes over from one that was killed, and finds its children', TIMEOUT, async () => {
    const { home, path, close } = setup()
    const orphan = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1e6)'], { detached: true })
    const lock = lockHome(home)
    lock.noteChildren([orphan.pid ?? 0])
    const text = JSON.parse(readFileSync(path, 'utf8'))
    const dead = { pid: spawnSync(process.execPath, ['-e', '']).pid, startedAt: 'then' }
    writeFileSync(path, JSON.stringify({ ...text, supervisor: dead }))

    const next = lockHome(home)
    assert.deepEqual(
      next.leftovers.map(({ pid }) => pid),
      [orphan.pid],
    )
    await endLeftovers(next.leftovers, 5_000)
    assert.equal(identify(orphan.pid ?? 0), null)
    next.release()
    assert.equal(existsSync(path), false)
    close()
  })

  it('does not touch a stranger who got the pid of an old child', TIMEOUT, async () => {
    const stranger = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1e6)'], {
      detached: true,
    })
    const old = { pid: stranger.pid ?? 0, startedAt: 'long ago' }
    assert.equal(isRunning(old), false)
    await endLeftovers([old], 50)
    assert.ok(identify(old.pid), 'it still runs')
    stranger.kill('SIGKILL')
  })

  it('does not trip over a torn file', TIMEOUT, () => {
    const { home, path, close } = setup()
    writeFileSync(path, '{"supervisor":')
    lockHome(home).release()
    close()
  })
})

function setup() {
  const home = mkdtempSync(join(tmpdir(), 'baseload-lock-'))
  return {
    home,
    path: join(home, 'supervisor.json'),
    close: () => rmSync(home, { recursive: true }),
  }
}
