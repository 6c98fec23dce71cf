import assert from 'node:assert/strict'
import { createServer, connect, type AddressInfo, type Socket } from 'node:net'
import { describe, it } from 'node:test'
import { Journal, startGateway, startNode } from '../../src/io/link/test-kit.ts'
import { startFaultProxy } from './fault-proxy.ts'

const timeout = 60_000

describe('fault proxy', { timeout }, () => {
  it('passes bytes both ways, and the end', async (t) => {
    const { dial } = await setup(t)
    const peer = dial()
    peer.socket.end('hello')
    await peer.heard('hello')
    await peer.closed
  })

  it('delays in order, whatever the jitter', async (t) => {
    const { proxy, dial } = await setup(t)
    proxy.set({ kind: 'delay', delayMs: 20, jitterMs: 30 })
    const peer = dial()
    const startedAt = performance.now()
    const text = Array.from({ length: 50 }, (_, i) => `${i};`)
    for (const piece of text) peer.socket.write(piece)
    await peer.heard(text.join(''))
    assert.ok(performance.now() - startedAt >= 35, 'twice 20 ms, but for timer rounding')
  })

  it('holds everything and loses nothing', async (t) => {
    const { proxy, dial } = await setup(t)
    const peer = dial()
    peer.socket.write('a')
    await peer.heard('a')
    proxy.set({ kind: 'hold' })
    peer.socket.write('b')
    await pause(20)
    assert.equal(peer.text(), 'a')
    proxy.set({ kind: 'pass' })
    await peer.heard('ab')
  })

  it('swallows: the connection stands, nothing comes, ever again', async (t) => {
    const { proxy, dial } = await setup(t)
    const peer = dial()
    peer.socket.write('a')
    await peer.heard('a')
    proxy.set({ kind: 'swallow' })
    peer.socket.write('b')
    await pause(20)
    proxy.set({ kind: 'pass' })
    peer.socket.write('c')
    await pause(20)
    assert.equal(peer.text(), 'a')
    assert.equal(peer.socket.destroyed, false)
    const fresh = dial()
    fresh.socket.write('d')
    await fresh.heard('d')
  })

  it('drips and throttles', async (t) => {
    const { proxy, dial } = await setup(t)
    proxy.set({ kind: 'drip', bytes: 1, everyMs: 2 })
    const peer = dial()
    peer.socket.write('0123456789')
    await peer.heard('0123456789')
    assert.ok(peer.pieces() >= 5, `${peer.pieces()} pieces`)
    proxy.set({ kind: 'throttle', bytesPerSecond: 100_000 })
    const startedAt = performance.now()
    peer.socket.write('x'.repeat(10_000))
    await peer.heard(`0123456789${'x'.repeat(10_000)}`)
    assert.ok(performance.now() - startedAt >= 60, 'a tenth of a second, but for its first tick')
  })

  it('cuts with a reset, refuses new ones, and says so at once', async (t) => {
    const { proxy, dial } = await setup(t)
    const peer = dial()
    peer.socket.write('a')
    await peer.heard('a')
    assert.equal(proxy.cutAll(), 1)
    assert.equal(await peer.closed, 'ECONNRESET')
    proxy.set({ kind: 'refuse' })
    assert.equal(await dial().closed, 'ECONNRESET')
  })

  it('gives a node and its gateway a bad day that they survive', async (t) => {
    const gateway = await startGateway({ limits: { heartbeatMs: 100 } })
    const proxy = await startFaultProxy({ targetPort: gateway.port })
    const node = startNode(`http://127.0.0.1:${proxy.port}`, { random: () => 0 })
    t.after(async () => {
      await node.client.close()
      await proxy.close()
      await gateway.close()
    })
    await node.linked.count(1)
    proxy.cutAll()
    await node.linked.count(2)
    assert.match(node.unlinked.all[0]?.reason ?? '', /^link_lost: /)
    proxy.set({ kind: 'swallow' })
    // Both ends find out for themselves that the line is dead.
    await node.unlinked.find(({ reason }) => reason.startsWith('link_timeout: '))
    await gateway.events.find(
      ({ kind, detail }) => kind === 'unlinked' && String(detail).startsWith('link_timeout: '),
    )
    proxy.set({ kind: 'drip', bytes: 50, everyMs: 1 })
    proxy.cutAll() // a handshake that was swallowed would take ten seconds to give up
    await node.linked.count(3)
  })
})

const pause = (ms: number) =>
  new Promise<void>((resolve) => {
    setTimeout(resolve, ms)
  })

/** An echo server behind a proxy. */
async function setup(t: { after(fn: () => Promise<void>): void }) {
  const sockets = new Set<Socket>()
  const echo = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.pipe(socket)
  })
  await new Promise<void>((resolve) => {
    echo.listen(0, '127.0.0.1', () => resolve())
  })
  const { port } = echo.address() as AddressInfo
  const proxy = await startFaultProxy({ targetPort: port })
  const dial = () => {
    const socket = connect(proxy.port, '127.0.0.1')
    sockets.add(socket)
    const heard = new Journal<string>()
    let code = ''
    socket.on('data', (bytes) => heard.add(bytes.toString()))
    socket.on('error', (error: NodeJS.ErrnoException) => {
      code = error.code ?? ''
    })
    const closed = new Promise<string>((resolve) => {
      socket.on('close', () => resolve(code))
    })
    return {
      socket,
      closed,
      text: () => heard.all.join(''),
      pieces: () => heard.all.length,
      heard: (text: string) => heard.find(() => heard.all.join('') === text),
    }
  }
  t.after(async () => {
    for (const socket of sockets) socket.destroy()
    await proxy.close()
    await new Promise((resolve) => echo.close(resolve))
  })
  return { proxy, dial }
}
