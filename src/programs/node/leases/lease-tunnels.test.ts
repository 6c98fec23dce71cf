/** Tunnels over real links, into leases of a fake runtime. */
import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { PassThrough, type Duplex, type Readable } from 'node:stream'
import { describe, it, type TestContext } from 'node:test'
import {
  encodeExecFrame,
  encodeResize,
  EXEC_CHANNEL,
  ExecDecoder,
  type TunnelPurpose,
} from '../../../core/protocol/tunnel.ts'
import type { Exec, Output, TerminalSize } from '../../../io/runtime/runtime.ts'
import { startGateway, startNode } from '../../../io/link/test-kit.ts'
import { silentLogger } from '../../../io/telemetry/logger.ts'
import { textOf } from './fake-runtime.ts'
import { runOf, setupHost } from './host-kit.ts'
import { ExecSessions } from './exec-sessions.ts'
import { serveTunnel } from './lease-tunnels.ts'
import { GATEWAY, LEASE } from './test-kit.ts'

const timeout = 20_000
const AT = { lease: LEASE, epoch: 1, service: 'web', replica: 0 }
const TCP: TunnelPurpose = { kind: 'tcp', ...AT, port: 80 }
const SHELL: TunnelPurpose = {
  kind: 'exec',
  ...AT,
  command: ['sh'],
  stdin: true,
  session: null,
  terminal: null,
}

describe('a tunnel into a lease', { timeout }, () => {
  it('carries the bytes of a connection both ways, each direction ended on its own', async (t) => {
    const { runtime, open } = await setup(t)
    const [near, far] = await twoEnds(t)
    runtime.dialling = () => far
    const stream = await open(TCP)
    stream.end('GET /')
    assert.equal(await textOf(near), 'GET /')
    near.end('200 OK')
    assert.equal(await textOf(stream), '200 OK')
  })

  it('breaks with either side', async (t) => {
    const { runtime, open } = await setup(t)
    const [near, far] = await twoEnds(t)
    runtime.dialling = () => far
    const stream = await open(TCP)
    near.resume()
    stream.destroy()
    await once(near, 'end')
    const [, second] = await twoEnds(t)
    runtime.dialling = () => second
    const other = await open(TCP)
    second.destroy(new Error('connection reset'))
    await assert.rejects(textOf(other), /tunnel_failed|connection reset/)
  })

  it('is refused with the reason', async (t) => {
    const { runtime, open, restores } = await setup(t)
    const cases: [TunnelPurpose, string][] = [
      [{ ...TCP, lease: 'lease_2' }, 'lease_unknown'],
      [{ ...TCP, epoch: 2 }, 'lease_epoch_stale'],
      [{ ...TCP, service: 'db' }, 'service_unknown'],
      [{ ...TCP, replica: 1 }, 'service_unknown'],
      [SHELL, 'command_failed'],
      [{ kind: 'copy-out', ...AT, path: '/nowhere' }, 'path_not_found'],
      [{ kind: 'snapshot', ...AT, volume: 'nothing' }, 'volume_unknown'],
      [{ kind: 'restore', ...AT, volume: 'nothing' }, 'volume_unknown'],
    ]
    for (const [purpose, code] of cases)
      await assert.rejects(open(purpose), (error) => Reflect.get(Object(error), 'code') === code)
    runtime.dialling = () => {
      throw new Error('nothing listens')
    }
    await assert.rejects(open(TCP), { code: 'port_refused', message: 'nothing listens' })
    runtime.statuses.delete(LEASE)
    await assert.rejects(open(TCP), { code: 'service_not_running' })
    assert.equal(restores.isFilling(LEASE), false)
  })

  it('copies in and out, snapshots and restores as tar streams', async (t) => {
    const { runtime, open } = await setup(t)
    for (const purpose of [
      { kind: 'copy-out', ...AT, path: '/etc' },
      { kind: 'snapshot', ...AT, volume: 'default' },
    ] as const)
      assert.equal(await textOf(await open(purpose)), 'tar')
    for (const purpose of [
      { kind: 'copy-in', ...AT, path: '/tmp' },
      { kind: 'restore', ...AT, volume: 'default' },
    ] as const) {
      const stream = await open(purpose)
      stream.end('a tar')
      assert.equal(await textOf(stream), '')
    }
    assert.deepEqual(runtime.copiedIn, [
      { folder: '/tmp', tar: 'a tar' },
      { folder: '/data', tar: 'a tar' },
    ])
    const stream = await open({ kind: 'copy-in', ...AT, path: '/nowhere' })
    await assert.rejects(textOf(stream), /no folder \/nowhere/)
  })

  it('brings stats at once and after each pause, until it is enough', async (t) => {
    const { open } = await setup(t)
    const stream = await open({ kind: 'stats', ...AT, everyMs: 500 })
    const [line] = await once(stream, 'data')
    assert.equal(JSON.parse(String(line)).memoryBytes, 1)
    stream.end()
    await once(stream, 'end')
  })
})

describe('a shell in a lease', { timeout }, () => {
  it('has input, output, errors, a size and an exit code', async (t) => {
    const { runtime, open } = await setup(t)
    const shell = fakeShell()
    runtime.executing = () => shell.exec
    const stream = await open(SHELL)
    stream.write(encodeResize(120, 40))
    stream.write(encodeExecFrame(EXEC_CHANNEL.STDIN, Buffer.from('ls\n')))
    stream.write(encodeExecFrame(EXEC_CHANNEL.STDIN, Buffer.alloc(0)))
    assert.equal(await textOf(shell.stdin), 'ls\n')
    assert.deepEqual(shell.sizes, [{ columns: 120, rows: 40 }])
    shell.output.write({ stream: 'stdout', data: Buffer.alloc(100_000, 'x') })
    shell.output.write({ stream: 'stderr', data: Buffer.from('oops') })
    shell.exit(3)
    assert.deepEqual(await framesOf(stream), [
      'stdout 65536',
      'stdout 34464',
      'stderr 4',
      'exit {"code":3,"reason":null}',
    ])
    assert.deepEqual(shell.signals, [])
  })

  it('waits for who does not read', async (t) => {
    const { runtime, open } = await setup(t)
    const shell = fakeShell()
    runtime.executing = () => shell.exec
    const stream = await open(SHELL)
    let written = 0
    const chunk = { stream: 'stdout', data: Buffer.alloc(64 * 1024) } as const
    while (written < 4000 && shell.output.write(chunk)) {
      written += 1
      await new Promise((resolve) => void setImmediate(resolve))
    }
    assert.ok(written < 4000, 'a quarter of a gigabyte went nowhere')
    stream.destroy()
  })

  it('hears the signals that its tenant sends, and nothing that is none', async (t) => {
    const { runtime, open } = await setup(t)
    const shell = fakeShell()
    runtime.executing = () => shell.exec
    const stream = await open(SHELL)
    for (const name of ['SIGNONE', 'kill -9 1', 'SIGINT'])
      stream.write(encodeExecFrame(EXEC_CHANNEL.SIGNAL, Buffer.from(name)))
    assert.deepEqual(await framesOf(stream), ['exit {"code":129,"reason":null}'])
    assert.deepEqual(shell.signals, ['SIGINT'])
  })

  it('is come back to by its secret, and is nobody else’s', async (t) => {
    const { runtime, open } = await setup(t)
    const shell = fakeShell()
    runtime.executing = () => shell.exec
    const secret = 's'.repeat(43)
    const first = await open({ ...SHELL, session: { secret, taken: null } })
    shell.output.write({ stream: 'stdout', data: Buffer.from('heard') })
    await once(first, 'data')
    first.destroy()
    shell.output.write({ stream: 'stdout', data: Buffer.from('not heard') })
    for (const session of [
      { secret: 't'.repeat(43), taken: 0 },
      { secret, taken: 3 },
    ])
      await assert.rejects(open({ ...SHELL, session }), { code: 'session_unknown' })
    // The container's end takes its command with it, and not how that ended.
    shell.exit(3)
    runtime.statuses.set(LEASE, [])
    const again = await open({ ...SHELL, session: { secret, taken: 1 } })
    const frames = framesOf(again)
    again.end()
    assert.deepEqual(await frames, ['undefined 8', 'stdout 9', 'exit {"code":3,"reason":null}'])
    assert.deepEqual(shell.signals, [])
  })

  it('is hung up when the tunnel breaks off', async (t) => {
    const { runtime, open } = await setup(t)
    const shell = fakeShell()
    runtime.executing = () => shell.exec
    const stream = await open(SHELL)
    stream.destroy()
    await shell.hungUp
    assert.deepEqual(shell.signals, ['SIGHUP'])
  })
})

describe('logs of a lease', { timeout }, () => {
  it('come in frames, and end with the tunnel', async (t) => {
    const { runtime, open } = await setup(t)
    let asked: unknown = null
    runtime.logging = async function* (query, signal) {
      asked = query
      yield { stream: 'stdout', data: Buffer.from('one\n') }
      if (query.follow === true) await once(signal, 'abort')
    }
    const logs = {
      kind: 'logs',
      ...AT,
      follow: false,
      tailLines: 5,
      sinceMs: null,
      timestamps: true,
    } as const
    assert.deepEqual(await framesOf(await open(logs)), ['stdout 4'])
    assert.deepEqual(asked, { follow: false, timestamps: true, tail: 5 })
    const stream = await open({ ...logs, follow: true })
    await once(stream, 'data')
    stream.destroy()
  })
})

describe('a snapshot that comes before its lease starts', { timeout }, () => {
  it('waits on disk until the volume is made, and goes when the lease runs', async (t) => {
    const { host, runtime, gateway, open, askFor, restores } = await setup(t)
    const at = { lease: 'lease_2', epoch: 1 }
    const ask = askFor({ volumes: [['default', 1000]] }, { id: 'lease_2' })
    host.command(GATEWAY, ask)
    await gateway.heard('accepted', at)
    const stream = await open({ kind: 'restore', ...AT, ...at, volume: 'default' })
    stream.end('snapshot')
    assert.equal(await textOf(stream), '')
    let filled = ''
    runtime.running = async ({ restore }) => {
      const tar = await restore?.({ ...AT, ...at, volume: 'default' })
      filled = tar ? await textOf(tar) : 'nothing'
    }
    host.command(GATEWAY, runOf(ask))
    await gateway.heardPhase('running', at)
    assert.equal(filled, 'snapshot')
    assert.equal(await restores.take({ ...AT, ...at, volume: 'default' }), null)
  })

  it('may not be larger than its volume', async (t) => {
    const { host, gateway, open, askFor } = await setup(t)
    const at = { lease: 'lease_2', epoch: 1 }
    host.command(GATEWAY, askFor({ volumes: [['default', 1000]] }, { id: 'lease_2' }))
    await gateway.heard('accepted', at)
    const stream = await open({ kind: 'restore', ...AT, ...at, volume: 'default' })
    stream.end(Buffer.alloc(3000))
    await assert.rejects(textOf(stream), /does not fit volume default/)
  })
})

async function setup(t: TestContext) {
  const kit = await setupHost(t)
  await kit.lease()
  const { host, runtime, restores } = kit
  const parts = {
    host,
    runtime,
    restores,
    sessions: new ExecSessions(),
    now: Date.now,
    logger: silentLogger,
  }
  const server = await startGateway()
  t.after(() => server.close())
  const node = startNode(server.url, {
    onTunnel: (request) => void serveTunnel(parts, GATEWAY, request),
  })
  t.after(() => node.client.close())
  const link = await server.linked(node.identity.id)
  const open = async (purpose: TunnelPurpose): Promise<Duplex> => {
    const stream = await link.openTunnel(purpose)
    stream.on('error', () => {})
    return stream
  }
  return { ...kit, open }
}

/** Both ends of a connection. */
async function twoEnds(t: TestContext): Promise<[Socket, Socket]> {
  const server = createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  assert.ok(address !== null && typeof address === 'object')
  const far = connect({ host: '127.0.0.1', port: address.port, allowHalfOpen: true })
  const near = await new Promise<Socket>((resolve) => server.once('connection', resolve))
  server.close()
  for (const socket of [near, far]) socket.on('error', () => {})
  t.after(() => near.destroy())
  return [near, far]
}

/** A command that the test plays. */
function fakeShell() {
  const stdin = new PassThrough()
  const output = new PassThrough({ objectMode: true, highWaterMark: 2 })
  const sizes: TerminalSize[] = []
  const signals: string[] = []
  const events = new EventEmitter()
  const exitCode = once(events, 'exit').then(([code]) => Number(code))
  const hungUp = once(events, 'signal')
  const exit = (code: number) => {
    output.end()
    events.emit('exit', code)
  }
  const exec: Exec = {
    stdin,
    output: outputOf(output),
    resize: async (size) => void sizes.push(size),
    signal: async (name) => {
      signals.push(name)
      events.emit('signal')
      exit(129)
    },
    exitCode,
  }
  return { exec, stdin, output, sizes, signals, exit, hungUp }
}

async function* outputOf(stream: Readable): AsyncGenerator<Output, void, void> {
  for await (const output of stream) yield output
}

async function framesOf(stream: Duplex): Promise<string[]> {
  const frames: string[] = []
  const names = ['stdin', 'stdout', 'stderr', 'exit']
  const decoder = new ExecDecoder((channel, payload) => {
    const what = channel === EXEC_CHANNEL.EXIT ? Buffer.from(payload) : payload.length
    frames.push(`${names[channel]} ${String(what)}`)
  })
  for await (const chunk of stream) assert.equal(decoder.push(chunk), null)
  return frames
}
