/** Real sockets on this machine, and a tunnel that is a pair of streams. */
import assert from 'node:assert/strict'
import { createSocket, type Socket as DatagramSocket } from 'node:dgram'
import { once } from 'node:events'
import { duplexPair, type Duplex } from 'node:stream'
import { describe, it, type TestContext } from 'node:test'
import {
  DatagramDecoder,
  encodeDatagram,
  MAX_DATAGRAM_BYTES,
} from '../../../core/protocol/datagram-frame.ts'
import { carryDatagrams } from './datagram-sockets.ts'

const timeout = 20_000

describe('datagrams of a tunnel', { timeout }, () => {
  it('reach the service from a socket for each flow, and its answers come back', async (t) => {
    const { send, next, echo } = await setup(t)
    send(1, Buffer.from('one'))
    send(2, Buffer.from('two'))
    send(1, Buffer.alloc(MAX_DATAGRAM_BYTES, 'x'))
    send(2, Buffer.alloc(0))
    const answers = [await next(), await next(), await next(), await next()]
    const of = (wanted: number) =>
      answers.flatMap(({ flow, payload }) => (flow === wanted ? [payload.length] : []))
    assert.deepEqual(
      [of(1), of(2)],
      [
        [3, MAX_DATAGRAM_BYTES],
        [3, 0],
      ],
    )
    assert.equal(echo.peers.size, 2, 'the service sees two peers')
  })

  it('holds only so many sockets; one that was quiet makes room', async (t) => {
    const { send, next, open } = await setup(t, { max: 3, idleMs: 60_000 })
    for (const flow of [1, 2, 3, 4, 5]) {
      send(flow, Buffer.from('x'))
      assert.equal((await next()).flow, flow)
      assert.ok(open.size <= 3, `${open.size} sockets`)
    }
    send(1, Buffer.from('again'))
    assert.equal(String((await next()).payload), 'again')
  })

  it('closes a socket that is idle, and all of them with the tunnel', async (t) => {
    const { send, next, open, near, over } = await setup(t, { max: 3, idleMs: 50 })
    send(1, Buffer.from('x'))
    await next()
    const [socket] = open
    assert.ok(socket)
    await once(socket, 'close')
    send(1, Buffer.from('y'))
    await next()
    assert.equal(open.size, 1)
    const [second] = open
    assert.ok(second)
    near.end()
    await Promise.all([over, once(second, 'close')])
    assert.equal(open.size, 0)
  })

  it('loses what nobody takes, and looks for the service anew', async (t) => {
    const { send, next, fail } = await setup(t)
    fail(true)
    send(1, Buffer.from('lost'))
    await new Promise((resolve) => void setImmediate(resolve))
    fail(false)
    send(1, Buffer.from('found'))
    assert.equal(String((await next()).payload), 'found')
  })

  it('goes on after a socket that broke: the container may have another address', async (t) => {
    const { send, next, open } = await setup(t)
    send(1, Buffer.from('x'))
    await next()
    const [socket] = open
    socket?.emit('error', new Error('recv ECONNREFUSED'))
    send(1, Buffer.from('y'))
    assert.equal(String((await next()).payload), 'y')
    assert.deepEqual([open.size, open.has(socket ?? createSocket('udp4'))], [1, false])
  })

  it('drops answers while nobody reads them', async (t) => {
    const { send, near, far, echo } = await setup(t)
    near.pause()
    for (let i = 0; i < 500; i++) {
      send(1, Buffer.alloc(50_000))
      await new Promise((resolve) => void setImmediate(resolve))
    }
    assert.ok(echo.heard > 10, 'the service heard of it')
    assert.ok(far.writableLength < 200_000, `${far.writableLength} bytes wait`)
  })

  it('ends a tunnel whose bytes are no datagrams', async (t) => {
    const { near, over } = await setup(t)
    near.write(Uint8Array.of(0, 0, 0, 1, 0xff, 0xff))
    await assert.rejects(over, { code: 'tunnel_malformed' })
  })
})

async function setup(t: TestContext, limits?: { max: number; idleMs: number }) {
  const service = createSocket('udp4')
  const echo = { peers: new Set<number>(), heard: 0 }
  service.on('message', (payload, { port, address }) => {
    echo.peers.add(port)
    echo.heard += 1
    service.send(payload, port, address)
  })
  service.bind(0, '127.0.0.1')
  await once(service, 'listening')
  const { port } = service.address()
  const open = new Set<DatagramSocket>()
  let failing = false
  const dial = async (): Promise<DatagramSocket> => {
    if (failing) throw new Error('nobody runs')
    const socket = createSocket('udp4')
    socket.connect(port, '127.0.0.1')
    await once(socket, 'connect')
    open.add(socket)
    return socket.once('close', () => open.delete(socket))
  }
  const [near, far] = duplexPair()
  const over = carryDatagrams(far, { open: dial, now: Date.now, ...(limits && { limits }) })
  over.catch(() => {})
  t.after(async () => {
    near.destroy()
    far.destroy()
    await over.catch(() => {})
    service.close()
  })
  return { near, far, over, open, echo, ...framesOf(near), fail: (now: boolean) => (failing = now) }
}

function framesOf(near: Duplex) {
  const heard: { flow: number; payload: Buffer }[] = []
  const decoder = new DatagramDecoder((flow, payload) =>
    heard.push({ flow, payload: Buffer.from(payload) }),
  )
  near.on('data', (bytes: Buffer) => assert.equal(decoder.push(bytes), null))
  return {
    send: (flow: number, payload: Buffer) => near.write(encodeDatagram(flow, payload)),
    next: async () => {
      for (;;) {
        const first = heard.shift()
        if (first !== undefined) return first
        await once(near, 'data')
      }
    },
  }
}
