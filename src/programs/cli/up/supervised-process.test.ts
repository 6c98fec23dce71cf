import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { identify } from './process-identity.ts'
import { supervise } from './supervised-process.ts'

const TIMEOUT = { timeout: 20_000 }
/** Children that say they are ready and then wait; they end with the supervisor's channel. */
const READY = "process.send('ready'); process.on('disconnect', () => process.exit())"

describe('a supervised process', TIMEOUT, () => {
  it('runs, reports, and is gone after stop', TIMEOUT, async () => {
    const { child, next, close } = setup(READY)
    assert.equal(await next('message'), 'ready')
    const pid = child.pid ?? 0
    assert.ok(identify(pid))
    await child.stop(5_000)
    assert.equal(identify(pid), null)
    assert.equal(child.pid, null)
    close()
  })

  it('is started again when it is killed, at once, however often', TIMEOUT, async () => {
    const { child, next, close } = setup(READY)
    for (let kills = 0; kills < 3; kills++) {
      await next('message')
      const pid = child.pid ?? 0
      process.kill(pid, 'SIGKILL')
      assert.deepEqual(await next('failed'), ['SIGKILL', 20])
      assert.notEqual(await next('started'), pid)
    }
    await child.stop(5_000)
    close()
  })

  it('waits longer each time for a program that cannot stay up', TIMEOUT, async () => {
    const { child, next, close } = setup('process.exit(3)')
    const waits = []
    for (let n = 0; n < 5; n++) waits.push(await next('failed'))
    assert.deepEqual(
      waits,
      [20, 40, 80, 100, 100].map((ms) => ['exit code 3', ms]),
    )
    await child.stop(5_000)
    close()
  })

  it('does not bring back one that left on purpose', TIMEOUT, async () => {
    const { child, next, seen, close } = setup(
      "process.on('SIGTERM', () => process.exit(0)); setInterval(() => {}, 1e6); process.send('ready')",
    )
    await next('message')
    process.kill(child.pid ?? 0, 'SIGTERM')
    await next('left')
    assert.equal(child.pid, null)
    assert.equal(seen('failed'), 0)
    close()
  })

  it('kills one that does not listen, and what it started', TIMEOUT, async () => {
    const { child, next, close } = setup(
      "process.on('SIGTERM', () => {}); setInterval(() => {}, 1e6);" +
        "const grandchild = require('node:child_process').spawn('sleep', ['600']); process.send(grandchild.pid)",
    )
    const grandchild = Number(await next('message'))
    const pid = child.pid ?? 0
    await child.stop(50)
    assert.equal(identify(pid), null)
    while (identify(grandchild) !== null) await new Promise(setImmediate)
    close()
  })

  it('keeps what the process writes: lines to us, errors to its log', TIMEOUT, async () => {
    const { child, next, log, close } = setup(
      "console.log('one'); console.error('two'); process.send('ready'); setInterval(() => {}, 1e6)",
    )
    assert.equal(await next('line'), 'one')
    await next('message')
    assert.match(readFileSync(log, 'utf8'), /two/)
    await child.stop(5_000)
    close()
  })

  it('says so when the program cannot be started at all', TIMEOUT, async () => {
    const { child, next, close } = setup('', '/does/not/exist')
    const [how] = [await next('failed')].flat()
    assert.match(String(how), /ENOENT/)
    await child.stop(5_000)
    close()
  })
})

/** Runs `script` with Node under supervision; `next` waits for the next event of a name, in order. */
function setup(script: string, command = process.execPath) {
  const folder = mkdtempSync(join(tmpdir(), 'baseload-supervise-'))
  const log = join(folder, 'child.log')
  const bus = new EventEmitter()
  const queues = new Map<string, unknown[]>()
  const tell = (name: string) => (value?: unknown) => {
    queues.set(name, [...(queues.get(name) ?? []), value])
    bus.emit(name)
  }
  const child = supervise(
    { command, args: ['-e', script], env: process.env, logFile: log },
    {
      started: tell('started'),
      message: tell('message'),
      line: tell('line'),
      failed: (how, againInMs) => tell('failed')([how, againInMs]),
      left: tell('left'),
    },
    { firstMs: 20, maxMs: 100, healthyMs: 1_000_000 },
  )
  queues.delete('started')
  return {
    child,
    log,
    seen: (name: string) => queues.get(name)?.length ?? 0,
    next: async (name: string): Promise<unknown> => {
      while (!queues.get(name)?.length) await once(bus, name)
      return queues.get(name)?.shift()
    },
    close: () => existsSync(folder) && rmSync(folder, { recursive: true }),
  }
}
