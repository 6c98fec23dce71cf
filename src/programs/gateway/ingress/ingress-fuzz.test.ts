/** Spoiled bytes from visitors and services: whatever comes, the ingress goes on. */
import assert from 'node:assert/strict'
import { createServer, type Socket } from 'node:net'
import { describe, it } from 'node:test'
import { seededRandom, type Random } from '../../../core/base/random.ts'
import { HOST, setupIngress } from './ingress-kit.ts'

const timeout = 120_000
const ROUNDS = 300
const SEED = 20_261_123

describe(`the ingress under spoiled bytes, seed ${SEED}`, { timeout }, () => {
  it('goes on whatever services answer', async (t) => {
    const random = seededRandom(SEED)
    let good = false
    const service = createServer((socket) => {
      socket.on('error', () => {})
      socket.once('data', () => socket.end(good ? FINE : spoil(pick(ANSWERS, random), random)))
    })
    const { dial } = await setupIngress(t, [service], { http: { readTimeoutMs: 1000 } })
    const answered = await inTurn((i) => ask(dial(), i % 3 === 0 ? UPGRADE : GET))
    assert.ok(answered > ROUNDS / 2, `${answered} of ${ROUNDS} were answered`)
    good = true
    assert.match(await ask(dial(), GET), /^HTTP\/1\.1 200 [^]*hello/)
  })

  it('goes on whatever visitors ask', async (t) => {
    const random = seededRandom(SEED)
    const service = createServer((socket) => {
      socket.on('error', () => {})
      socket.once('data', () => socket.end(FINE))
    })
    const { dial } = await setupIngress(t, [service], { http: { readTimeoutMs: 1000 } })
    const answered = await inTurn(() => ask(dial(), spoil(pick(ASKED, random), random)))
    assert.ok(answered > ROUNDS / 2, `${answered} of ${ROUNDS} were answered`)
    assert.match(await ask(dial(), GET), /^HTTP\/1\.1 200 [^]*hello/)
  })
})

const request = (line: string, ...headers: string[]): string =>
  [line, `host: ${HOST}`, ...headers, '', ''].join('\r\n')
const GET = request('GET / HTTP/1.1', 'connection: close')
const UPGRADE = request('GET / HTTP/1.1', 'connection: upgrade', 'upgrade: websocket')
const ASKED = [
  GET,
  UPGRADE,
  `${request('POST /a?b HTTP/1.1', 'connection: close', 'content-length: 5')}hello`,
  `${request('PUT / HTTP/1.1', 'connection: close', 'transfer-encoding: chunked')}5\r\nhello\r\n0\r\n\r\n`,
]
const FINE = 'HTTP/1.1 200 OK\r\ncontent-length: 5\r\nx: y\r\n\r\nhello'
const ANSWERS = [
  FINE,
  'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
  'HTTP/1.1 101 Go\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nhello',
  'HTTP/1.1 304 Same\r\netag: "1"\r\n\r\n',
  'HTTP/1.0 200 OK\r\n\r\nhello',
]

const pick = (from: readonly string[], random: Random): string =>
  from[Math.floor(random() * from.length)] ?? ''

/** One to three bytes changed, taken out, or said twice. */
function spoil(text: string, random: Random): Buffer {
  let bytes = Buffer.from(text, 'latin1')
  for (let left = 1 + Math.floor(random() * 3); left > 0; left--) {
    const at = Math.floor(random() * bytes.length)
    const kind = random()
    const [before, after] = [bytes.subarray(0, at), bytes.subarray(at)]
    if (kind < 0.5) bytes = Buffer.concat([before, Buffer.of(random() * 256), after.subarray(1)])
    else if (kind < 0.75) bytes = Buffer.concat([before, after.subarray(1 + random() * 8)])
    else bytes = Buffer.concat([before, after.subarray(0, random() * 16), after])
  }
  return bytes
}

/** Everything that is said until the connection ends, or half a second passes: a spoiled length waits for more. */
function ask(socket: Socket, bytes: string | Uint8Array): Promise<string> {
  return new Promise((resolve) => {
    let said = ''
    const timer = setTimeout(() => socket.destroy(), 500)
    socket.setEncoding('latin1').on('data', (piece) => (said += piece))
    socket.on('error', () => {})
    socket.once('close', () => {
      clearTimeout(timer)
      resolve(said)
    })
    socket.write(bytes)
  })
}

/** How many of the rounds were answered with a status line, ten at a time. */
async function inTurn(round: (i: number) => Promise<string>): Promise<number> {
  let answered = 0
  let next = 0
  const lane = async (): Promise<void> => {
    while (next < ROUNDS) if (/^HTTP\/1\.1 \d{3} /.test(await round(next++))) answered += 1
  }
  await Promise.all(Array.from({ length: 10 }, lane))
  return answered
}
