import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { runProgram, type ProgramTask } from './run-program.ts'

const timeout = 20_000

describe('a program of the provider’s', { timeout }, () => {
  it('is fed, and heard with its exit code, whatever language it is in', async (t) => {
    const { run } = setup(t)
    const shell = await run('#!/bin/sh\nread line\necho "got $line"\necho oops >&2\nexit 3\n')
    assert.deepEqual(shell, {
      exitCode: 3,
      stdout: 'got order\n',
      stderr: 'oops\n',
      timedOutMs: null,
    })
    const node = await run(
      `#!${process.execPath}\nprocess.stdin.on('data', (d) => process.stdout.write(String(d).toUpperCase()))\n`,
    )
    assert.equal(node.stdout, 'ORDER\n')
  })

  it('sees no more of the environment than it is given', async (t) => {
    const { run } = setup(t)
    process.env['BASELOAD_TEST_SECRET'] = 'hush'
    t.after(() => delete process.env['BASELOAD_TEST_SECRET'])
    const { stdout } = await run('#!/bin/sh\n/usr/bin/env\n', { env: { AKASH_OWNER: 'acct_1' } })
    assert.match(stdout, /^AKASH_OWNER=acct_1$/m)
    assert.doesNotMatch(stdout, /hush/)
  })

  it('is ended after its time, with what it started', async (t) => {
    const { run, folder } = setup(t)
    const pids = join(folder, 'pids')
    const slow = `#!/bin/sh\nsleep 600 &\necho $! $$ > ${pids}\nwait\n`
    const began = performance.now()
    const ended = await run(slow, { timeoutMs: 300 })
    assert.deepEqual([ended.exitCode, ended.timedOutMs], [null, 300])
    assert.ok(performance.now() - began < 5000)
    await untilGone(readFileSync(pids, 'utf8'))
  })

  it('leaves nothing behind when it ends by itself, and is not waited for', async (t) => {
    const { run, folder } = setup(t)
    const pids = join(folder, 'pids')
    const ended = await run(`#!/bin/sh\nsleep 600 &\necho $! > ${pids}\necho 7\n`)
    assert.deepEqual([ended.exitCode, ended.stdout], [0, '7\n'])
    await untilGone(readFileSync(pids, 'utf8'))
  })

  it('is not waited for either when a child has left its group and holds the pipes', async (t) => {
    const { run, folder } = setup(t)
    const pid = join(folder, 'pid')
    const began = performance.now()
    const ended = await run(
      `#!/bin/sh\nsetsid sh -c 'echo $$ > ${pid}; exec sleep 600' &\nwhile [ ! -s ${pid} ]; do sleep 0.01; done\necho 7\n`,
    )
    process.kill(Number(readFileSync(pid, 'utf8')), 'SIGKILL')
    assert.deepEqual([ended.exitCode, ended.stdout], [0, '7\n'])
    assert.ok(performance.now() - began < 5000)
  })

  it('is ended when it says too much, and as much is kept as was allowed, and one byte', async (t) => {
    const { run } = setup(t)
    const loud = await run('#!/bin/sh\nyes 12345678\n', { maxOutputBytes: 4096 })
    assert.deepEqual([loud.exitCode, loud.timedOutMs, loud.stdout.length], [null, null, 4097])
    const exact = await run("#!/bin/sh\nprintf '%04096d' 5\n", { maxOutputBytes: 4096 })
    assert.deepEqual([exact.exitCode, exact.stdout.length], [0, 4096])
    const grumbling = await run('#!/bin/sh\nhead -c 100000 /dev/zero >&2\necho 5\n')
    assert.deepEqual(
      [grumbling.exitCode, grumbling.stdout, grumbling.stderr.length],
      [0, '5\n', 4096],
    )
  })

  it('that does not read what it is told does no harm', async (t) => {
    const { run } = setup(t)
    const input = 'x'.repeat(1_000_000)
    assert.equal((await run('#!/bin/sh\nexec <&-\necho 5\n', { input })).stdout, '5\n')
  })

  it('is ended when nobody wants its answer any more', async (t) => {
    const { run } = setup(t)
    const stop = new AbortController()
    const ended = run('#!/bin/sh\nsleep 600\n', { signal: stop.signal })
    await sleep(50)
    stop.abort()
    assert.equal((await ended).exitCode, null)
  })

  it('that cannot be started is a fault that names it', async (t) => {
    const { run, folder } = setup(t)
    const path = join(folder, 'nothing-here')
    await assert.rejects(run(null, { path }), (error: Error & { code: string }) => {
      assert.equal(error.code, 'program_not_started')
      return error.message.includes(path)
    })
    writeFileSync(path, '#!/bin/sh\necho 5\n', { mode: 0o600 })
    await assert.rejects(run(null, { path }), /EACCES/)
  })
})

function setup(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), 'baseload-program-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  let count = 0
  const run = (script: string | null, more: Partial<ProgramTask> = {}) => {
    const path = join(folder, `program-${count++}`)
    if (script !== null) writeFileSync(path, script, { mode: 0o755 })
    return runProgram({
      path,
      input: 'order\n',
      env: { PATH: process.env['PATH'] ?? '' },
      timeoutMs: 15_000,
      maxOutputBytes: 4096,
      signal: new AbortController().signal,
      ...more,
    })
  }
  return { run, folder }
}

/** A killed process is gone a moment later, or waits as a zombie for init. */
async function untilGone(pids: string): Promise<void> {
  for (const pid of pids.trim().split(' ')) {
    const isThere = () => {
      if (!existsSync(`/proc/${pid}/stat`)) return false
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
      return !/\) [ZX] /.test(stat)
    }
    for (let tries = 0; tries < 200 && isThere(); tries++) await sleep(10)
    assert.equal(isThere(), false, `process ${pid} lives on`)
  }
}
