import assert from 'node:assert/strict'
import { duplexPair } from 'node:stream'
import { describe, it } from 'node:test'
import { refuse } from '../../../core/base/refusal.ts'
import { encodeExecFrame, EXEC_CHANNEL } from '../../../core/protocol/tunnel.ts'
import { EXIT } from '../shell/failure.ts'
import { FarExec, setupDeployments } from './deployment-kit.ts'
import { LogReader } from './log-reader.ts'

const TIMEOUT = { timeout: 20_000 }

/** A line at so many nanoseconds after noon. */
const line = (nanos: number, text: string): string =>
  `2027-03-01T12:00:00.${String(nanos).padStart(9, '0')}Z ${text}\n`

describe('baseload logs', TIMEOUT, () => {
  it('shows what was written, and asks for what was asked', TIMEOUT, async (t) => {
    const { run, deployed, onTunnel, leases } = await setupDeployments(t)
    await deployed()
    onTunnel((far) => {
      const log = new FarExec(far)
      log.out(line(1, 'one'))
      log.err(line(2, 'two'))
      far.end()
    })
    const { code, out } = await run(
      'logs',
      'shop',
      '--tail',
      '5',
      '--since',
      '2027-03-01T00:00:00Z',
    )
    assert.deepEqual([code, out], [EXIT.ok, 'one\ntwo\n'])
    assert.deepEqual(leases.wishes[0], {
      kind: 'logs',
      lease: 'lease_of_dep_1',
      service: 'web',
      replica: 0,
      follow: false,
      tailLines: 5,
      sinceMs: Date.parse('2027-03-01T00:00:00Z'),
      timestamps: true,
    })
    const stamped = await run('logs', 'shop', '--timestamps')
    assert.match(stamped.out, /^2027-03-01T12:00:00\.000000001Z one\n/)
    const json = await run('logs', 'shop', '--json')
    assert.deepEqual(JSON.parse(json.out.split('\n')[1] ?? ''), {
      service: 'web',
      replica: 0,
      stream: 'stderr',
      time: '2027-03-01T12:00:00.000000002Z',
      text: 'two',
    })
  })

  it('follows over a break of the way, losing no line and repeating none', TIMEOUT, async (t) => {
    const { run, deployed, onTunnel, leases, alice, breakTunnels, until, printed } =
      await setupDeployments(t)
    const id = await deployed()
    const kept: string[] = []
    for (let i = 0; i < 100; i++) kept.push(line(Math.floor(i / 3), `line ${i}`))
    let streams = 0
    onTunnel(async (far) => {
      const log = new FarExec(far)
      streams += 1
      // All that is kept, each time: what was told before, too. Three lines share each nanosecond.
      const told = kept.slice(0, streams === 1 ? 50 : 100)
      log.out(told.join(''))
      // The log of a lease that is closed has an end.
      if (streams === 3) far.end()
      if (streams > 1) return
      log.out('2027-03-01T12:00:00.000000016Z li') // half a line
      await until(() => printed().out.includes('line 49\n'))
      breakTunnels()
    })
    const running = run('logs', '-f', 'shop', '--tail', '50')
    await until(() => printed().out.includes('line 99\n'))
    await leases.close(alice.id, id)
    breakTunnels()
    const { code, out, err } = await running
    assert.equal(code, EXIT.ok, err)
    assert.deepEqual(
      out.trim().split('\n'),
      Array.from({ length: 100 }, (_, i) => `line ${i}`),
    )
    assert.match(err, /the gateway shuts down; trying again/)
    const again = leases.wishes[1]
    assert.ok(again?.kind === 'logs')
    assert.equal(again.tailLines, null)
    assert.equal(again.sinceMs, Date.parse('2027-03-01T12:00:00Z') - 2_000)
  })

  it('waits for a container that does not run yet', TIMEOUT, async (t) => {
    const { run, deployed, leases, interrupt, until, printed } = await setupDeployments(t)
    const id = await deployed()
    leases.set(id, { state: 'starting' })
    leases.tunnel = () => Promise.resolve(refuse('tunnel_refused', 'web does not run yet'))
    const running = run('logs', '-f', 'shop')
    await until(() => printed().err.includes('trying again'))
    interrupt()
    assert.equal((await running).code, EXIT.interrupted)
    leases.set(id, { state: 'running' })
  })

  it('does not wait for what will not come', TIMEOUT, async (t) => {
    const { run, deployed } = await setupDeployments(t)
    await deployed()
    const { code, err } = await run('logs', '-f', 'shop')
    assert.equal(code, EXIT.refused)
    assert.match(err, /The fake has no node/)
    for (const wrong of [
      ['--tail', 'x'],
      ['--since', 'x'],
      ['--replica', 'x'],
    ])
      assert.equal((await run('logs', 'shop', ...wrong)).code, EXIT.usage)
  })
})

describe('the lines of a log', TIMEOUT, () => {
  it('are the same however the stream is cut into pieces', TIMEOUT, async () => {
    const frames = Buffer.concat([
      encodeExecFrame(EXEC_CHANNEL.STDOUT, Buffer.from(line(1, 'α β').slice(0, 20))),
      encodeExecFrame(EXEC_CHANNEL.STDERR, Buffer.from(line(2, 'between'))),
      encodeExecFrame(EXEC_CHANNEL.STDOUT, Buffer.from(line(1, 'α β').slice(20))),
      encodeExecFrame(EXEC_CHANNEL.STDOUT, Buffer.from('no time at all\nno end')),
    ])
    for (const size of [1, 7, 1000]) {
      const [near, far] = duplexPair()
      const texts: string[] = []
      const reading = new LogReader().read(near, async ({ text }) => void texts.push(String(text)))
      for (let at = 0; at < frames.length; at += size) far.write(frames.subarray(at, at + size))
      far.end()
      await reading
      assert.deepEqual(texts, ['between', 'α β', 'no time at all', 'no end'])
    }
  })
})
