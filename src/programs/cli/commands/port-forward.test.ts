import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { text as readAll } from 'node:stream/consumers'
import { describe, it, type TestContext } from 'node:test'
import {
  DatagramDecoder,
  encodeDatagram,
  MAX_DATAGRAM_BYTES,
} from '../../../core/protocol/datagram-frame.ts'
import { EXIT } from '../shell/failure.ts'
import { setupDeployments } from './deployment-kit.ts'

const TIMEOUT = { timeout: 20_000 }

describe('baseload port-forward', TIMEOUT, () => {
  it('carries connections both ways, each direction ended on its own', TIMEOUT, async (t) => {
    const { forward, onTunnel, leases } = await setupForward(t)
    onTunnel(async (far) => far.end(`got ${(await readToEnd(far)).length} bytes`))
    const { port, stop } = await forward('0:80')
    const answers = await Promise.all(
      [1, 100_000, 2_000_000].map(async (size) => {
        const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
        socket.end(Buffer.alloc(size))
        return readAll(socket)
      }),
    )
    assert.deepEqual(answers, ['got 1 bytes', 'got 100000 bytes', 'got 2000000 bytes'])
    const [wish] = leases.wishes
    assert.deepEqual(wish, {
      kind: 'tcp',
      lease: 'lease_of_dep_1',
      service: 'web',
      replica: 0,
      port: 80,
    })
    assert.equal((await stop()).code, EXIT.ok)
  })

  it('outlives a gateway that restarts: the next connection is served', TIMEOUT, async (t) => {
    const { forward, onTunnel, breakTunnels } = await setupForward(t)
    onTunnel((far) => far.pipe(far))
    const { port, stop } = await forward('0:80')
    const first = await opened(port)
    const broken = once(first, 'close')
    breakTunnels()
    await broken
    const second = await opened(port)
    second.destroy()
    await stop()
  })

  it('ends a connection that the node refuses, says why, and goes on', TIMEOUT, async (t) => {
    const { forward, printed, until } = await setupForward(t)
    const { port, stop } = await forward('0:80')
    const socket = connect({ port, host: '127.0.0.1' }).on('error', () => {})
    await once(socket, 'close')
    await until(() => printed().err !== '')
    assert.match(printed().err, /^✗ web:80: The fake has no node/)
    assert.equal((await stop()).code, EXIT.ok)
  })

  it('refuses what is no port', TIMEOUT, async (t) => {
    const { run } = await setupForward(t)
    for (const wrong of ['0', 'web', '1:2:3', '99999', '80:', '53/sctp', '/udp'])
      assert.equal((await run('port-forward', 'shop', wrong)).code, EXIT.usage, wrong)
  })
})

describe('baseload port-forward of UDP', TIMEOUT, () => {
  it('carries datagrams of several peers apart, of any size that UDP has', TIMEOUT, async (t) => {
    const { forward, onTunnel, leases } = await setupForward(t)
    onTunnel((far) => answerDatagrams(far, (payload) => [payload]))
    const { port, stop } = await forward('0:53/udp')
    const peers = [await peerOf(t, port), await peerOf(t, port)]
    const sizes = [0, 1, 1_500, MAX_DATAGRAM_BYTES]
    for (const [i, peer] of peers.entries())
      for (const size of sizes) {
        const answer = await peer.ask(Buffer.alloc(size, i))
        assert.deepEqual(answer, Buffer.alloc(size, i))
      }
    const wish = { kind: 'udp', lease: 'lease_of_dep_1', service: 'web', replica: 0, port: 53 }
    assert.deepEqual(leases.wishes, [wish], 'all share a tunnel')
    assert.equal((await stop()).code, EXIT.ok)
  })

  it('outlives a gateway that restarts: what is sent next dials anew', TIMEOUT, async (t) => {
    const { forward, onTunnel, breakTunnels, leases } = await setupForward(t)
    onTunnel((far) => answerDatagrams(far, (payload) => [payload]))
    const { port, stop } = await forward('0:53/udp')
    const peer = await peerOf(t, port)
    await peer.ask(Buffer.from('one'))
    breakTunnels()
    // What was on its way with the old tunnel is lost, as datagrams may be.
    assert.equal(String(await peer.insist(Buffer.from('two'))), 'two')
    assert.equal(leases.wishes.length, 2)
    await stop()
  })

  it('drops what a tunnel does not take, and goes on with what comes then', TIMEOUT, async (t) => {
    const { forward, onTunnel, until } = await setupForward(t)
    let far: Duplex | null = null
    onTunnel((stream) => (far = stream))
    const { port, stop } = await forward('0:53/udp')
    const peer = await peerOf(t, port)
    const before = process.memoryUsage().arrayBuffers
    for (let i = 0; i < 4_000; i++) {
      peer.send(Buffer.alloc(60_000))
      if (i % 20 === 0) await new Promise((resolve) => void setImmediate(resolve))
    }
    const held = process.memoryUsage().arrayBuffers - before
    assert.ok(held < 60_000_000, `${held} bytes are kept of 240,000,000`)
    await until(() => far !== null)
    answerDatagrams(far, (payload) => (payload.length < 10 ? [payload] : []))
    assert.equal(String(await peer.insist(Buffer.from('now'))), 'now')
    await stop()
  })

  it('says what is refused, and does not ask for it with each datagram', TIMEOUT, async (t) => {
    const { forward, printed, until, leases } = await setupForward(t)
    const { port, stop } = await forward('0:53/udp')
    const peer = await peerOf(t, port)
    peer.send(Buffer.from('one'))
    await until(() => printed().err !== '')
    for (let i = 0; i < 100; i++) peer.send(Buffer.from('again'))
    await new Promise((resolve) => setTimeout(resolve, 100))
    assert.match(printed().err, /^✗ web:53\/udp: The fake has no node[^\n]*\n$/)
    assert.equal(leases.wishes.length, 1)
    await stop()
  })
})

async function setupForward(t: TestContext) {
  const kit = await setupDeployments(t)
  await kit.deployed()
  return {
    ...kit,
    forward: async (ports: string) => {
      const running = kit.run('port-forward', 'shop', ports, '--json')
      await kit.until(() => kit.printed().out.includes('\n'))
      const { listening } = JSON.parse(kit.printed().out)
      const port = Number(/:(\d+)$/.exec(listening)?.[1])
      return {
        port,
        stop: () => {
          kit.interrupt()
          return running
        },
      }
    },
  }
}

/** A connection that has carried something. */
async function opened(port: number): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1' }).on('error', () => {})
  socket.write('ping')
  const [echo] = await once(socket, 'data')
  assert.equal(String(echo), 'ping')
  return socket
}

/** To the end of its direction; the other stays open. */
async function readToEnd(stream: NodeJS.ReadableStream): Promise<Buffer> {
  const chunks: Buffer[] = []
  stream.on('data', (chunk: Buffer) => chunks.push(chunk))
  await once(stream, 'end')
  return Buffer.concat(chunks)
}

/** A node's end: answers each datagram with these. */
function answerDatagrams(far: Duplex | null, answer: (payload: Buffer) => Buffer[]): void {
  assert.ok(far)
  const stream = far
  const decoder = new DatagramDecoder((flow, payload) => {
    for (const one of answer(Buffer.from(payload))) stream.write(encodeDatagram(flow, one))
  })
  stream.on('data', (bytes: Buffer) => assert.equal(decoder.push(bytes), null))
}

async function peerOf(t: TestContext, port: number) {
  const socket = createSocket('udp4')
  socket.connect(port, '127.0.0.1')
  await once(socket, 'connect')
  t.after(() => socket.close())
  const send = (payload: Buffer): void => socket.send(payload, () => {})
  const answer = async (signal?: AbortSignal): Promise<Buffer> => {
    const [message] = await once(socket, 'message', signal ? { signal } : {})
    return message
  }
  return {
    send,
    ask: async (payload: Buffer) => {
      send(payload)
      return await answer()
    },
    /** Until there is an answer: datagrams may be lost. */
    insist: async (payload: Buffer): Promise<Buffer> => {
      for (;;) {
        send(payload)
        const heard = await answer(AbortSignal.timeout(100)).catch(() => null)
        if (heard !== null) return heard
      }
    },
  }
}
