/**
 * Everything bad at once: the built gateway takes malformed bodies and frames, slow connections and a body of
 * 1 GB, while a tenant goes on asking. It must not notice.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { describe, it, type TestContext } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import fc from 'fast-check'
import { FRAME } from '../../src/core/protocol/frame.ts'
import { ephemeralIdentity } from '../../src/io/keys/identity.ts'
import { dialRaw, helloRaw } from '../../src/io/link/test-kit.ts'
import { message } from '../../src/io/link/test-messages.ts'
import { garbage, requestOf } from '../support/malformed.ts'
import { RawConnection, type RawAnswer } from '../support/raw-http.ts'
import { hostileSite, RIVER, type HostileSite } from '../support/hostile-site.ts'

const limit = { timeout: 180_000 }

/** 1 for the long form, 100,000 malformed things in all. */
const SCALE = Number(process.env['TEST_HOSTILE_SCALE'] ?? 0.2)
const BODIES = 76_000 * SCALE
const GARBAGE = 4_000 * SCALE
const FRAMES_OF_STRANGERS = 12_000 * SCALE
const FRAMES_OF_NODES = 8_000 * SCALE

const SLOW_HEADERS = 1_000
const SLOW_BODIES = 980
/** Each keeps some megabytes of the kernel's memory, and what it was given in the gateway's. */
const SLOW_READERS = 20
const GB = 1024 ** 3
/** 32 bodies and 2,000 connections at a time, streams that nobody reads, and a heap that V8 is in no hurry to tidy. */
const MAX_GROWTH_MIB = 400

const seed = Date.now() >>> 0

describe('hostile traffic', limit, () => {
  it('harms nobody', limit, async (t) => {
    const files = openFilesLimit()
    if (files < 8_000)
      return t.skip(`2,000 slow connections need 8,000 open files; ulimit -n is ${files}`)
    t.diagnostic(`seed ${seed}`)
    const site = await hostileSite(t)
    const good = site.trickle()
    await pause(3_000)
    const calmMiB = site.memoryMiB()

    const slow = slowConnections(t, site)
    await t.test('malformed HTTP bodies', limit, (sub) => malformedBodies(sub, site))
    await t.test('what is not HTTP', limit, (sub) => notHttp(sub, site))
    await t.test('malformed frames', limit, (sub) => malformedFrames(sub, site))
    await t.test('a body of 1 GB', limit, (sub) => hugeBodies(sub, site))
    await t.test('slow connections', limit, (sub) => slow(sub))

    const { n, slowestMs, medianMs, failures } = await good.stop()
    t.diagnostic(`good traffic: n = ${n}, median ${medianMs} ms, slowest ${slowestMs} ms`)
    assert.deepEqual(failures, [])
    assert.ok(n > 100, `only ${n} good requests`)
    const grownMiB = site.peakMiB() - calmMiB
    t.diagnostic(`memory: ${calmMiB} MiB before, grown by ${grownMiB} MiB at most`)
    assert.ok(grownMiB < MAX_GROWTH_MIB, `memory grew by ${grownMiB} MiB`)
    await site.healthy()
  })
})

/** Each well-formed HTTP request with a malformed body gets its answer, in order, on a connection that stays open. */
async function malformedBodies(t: TestContext, { port, key }: HostileSite): Promise<void> {
  const statuses = new Map<number, number>()
  const draw = drawing(requestOf(key), BODIES)
  const lane = async (): Promise<void> => {
    let connection = new RawConnection(port)
    for (;;) {
      const requests = draw(4)
      if (requests.length === 0) break
      const answers = await Promise.all(requests.map((request) => connection.ask(request)))
      for (const [i, answer] of answers.entries()) {
        assert.ok(answer, `no answer to ${requests[i]?.toString().slice(0, 400)}`)
        count(statuses, answer, requests[i])
      }
      if (!connection.open) connection = new RawConnection(port)
    }
    connection.socket.destroy()
  }
  await Promise.all(Array.from({ length: 8 }, lane))
  t.diagnostic(`malformed bodies: n = ${BODIES}, answers ${show(statuses)}`)
}

/** Nobody who says something is left without an answer. */
async function notHttp(t: TestContext, { port }: HostileSite): Promise<void> {
  const statuses = new Map<number, number>()
  const draw = drawing(garbage, GARBAGE)
  const lane = async (): Promise<void> => {
    for (let [bytes] = draw(1); bytes; [bytes] = draw(1)) {
      const connection = new RawConnection(port)
      const answer = connection.answer()
      connection.socket.end(bytes)
      const first = await answer
      assert.ok(first, `no answer to ${JSON.stringify(bytes.toString('latin1').slice(0, 200))}`)
      count(statuses, first, bytes)
      connection.socket.destroy()
    }
  }
  await Promise.all(Array.from({ length: 32 }, lane))
  t.diagnostic(`not HTTP: n = ${GARBAGE}, answers ${show(statuses)}`)
}

/** Strangers hear a reason and are closed; nodes that proved their key as well, or what they say changes nothing. */
async function malformedFrames(t: TestContext, { port }: HostileSite): Promise<void> {
  const closes = new Map<string, number>()
  const fromStrangers = drawing(message, FRAMES_OF_STRANGERS)
  const fromNodes = drawing(message, FRAMES_OF_NODES)
  const stranger = async (): Promise<void> => {
    for (let frames = fromStrangers(8); frames.length > 0; frames = fromStrangers(8)) {
      const peer = dialRaw({ port })
      await peer.frames.count(1)
      await sayAndHear(peer, frames, closes)
    }
  }
  const node = async (): Promise<void> => {
    for (let frames = fromNodes(16); frames.length > 0; frames = fromNodes(16)) {
      const peer = await helloRaw({ port }, ephemeralIdentity('node'))
      await peer.frames.find(({ type }) => type === FRAME.WELCOME)
      await sayAndHear(peer, frames, closes)
    }
  }
  await Promise.all([...Array.from({ length: 16 }, stranger), ...Array.from({ length: 8 }, node)])
  t.diagnostic(
    `malformed frames: n = ${FRAMES_OF_STRANGERS} of strangers, ${FRAMES_OF_NODES} of nodes, closed ${show(closes)}`,
  )
}

async function sayAndHear(
  peer: ReturnType<typeof dialRaw>,
  frames: readonly Uint8Array[],
  closes: Map<string, number>,
): Promise<void> {
  for (const frame of frames) peer.ws.send(frame)
  peer.ws.close(1000)
  const { status, text } = await peer.closed
  const reason = text.replace(/:.*/s, '') || String(status)
  assert.match(
    reason,
    /^(1000|1005|1006|link_malformed_frame|link_bad_offer|link_version_unsupported)$/,
  )
  closes.set(reason, (closes.get(reason) ?? 0) + 1)
}

async function hugeBodies(t: TestContext, { port, key }: HostileSite): Promise<void> {
  const head = `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${key}\r\n`
  const piece = Buffer.alloc(1024 * 1024, ' ')
  const chunk = Buffer.concat([Buffer.from('100000\r\n'), piece, Buffer.from('\r\n')])
  const ways = [
    [`${head}content-length: ${GB}\r\n\r\n`, piece],
    [`${head}transfer-encoding: chunked\r\n\r\n`, chunk],
  ] as const
  for (const [begin, more] of ways) {
    const connection = new RawConnection(port)
    const answer = connection.ask(begin)
    let sentBytes = 0
    while (connection.open && sentBytes < GB) {
      sentBytes += piece.length
      if (!connection.socket.write(more)) await drained(connection)
    }
    const { status, body } = (await answer) ?? { status: 0, body: '' }
    assert.equal(status, 413, body)
    assert.match(body, /"code":"request_too_large"/)
    await connection.closed
    t.diagnostic(
      `1 GB body: ${status} and closed, ${Math.round(sentBytes / 1024 ** 2)} MiB were sent`,
    )
  }
}

/** Resolves when the connection takes more, or is gone. */
const drained = ({ socket, closed }: RawConnection): Promise<unknown> =>
  Promise.race([new Promise((resolve) => socket.once('drain', resolve)), closed])

/** Opens all of them; what it returns waits until the gateway has ended each that deserves it. */
function slowConnections(
  t: TestContext,
  { port, key }: HostileSite,
): (t: TestContext) => Promise<void> {
  const head = `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${key}\r\n`
  const drip = (begin: string, everyMs: number): Promise<RawAnswer | null> => {
    const connection = new RawConnection(port)
    const answer = connection.ask(begin)
    const timer = setInterval(() => void (connection.open && connection.socket.write('x')), everyMs)
    void connection.closed.then(() => clearInterval(timer))
    return answer
  }
  const headers = Array.from({ length: SLOW_HEADERS }, () => drip('POST /v1/ch', 2_000))
  const bodies = Array.from({ length: SLOW_BODIES }, () =>
    drip(`${head}content-length: 10000\r\n\r\n{`, 5_000),
  )
  const readers = Array.from({ length: SLOW_READERS }, () => slowReader(port, head))
  t.after(() => readers.forEach(({ socket }) => socket.destroy()))
  return async (sub) => {
    for (const [what, answers] of [
      ['headers', headers],
      ['bodies', bodies],
    ] as const) {
      for (const answer of await Promise.all(answers)) {
        assert.equal(answer?.status, 408, what)
        assert.match(answer.body, /"code":"request_timeout"/)
      }
      sub.diagnostic(`slow ${what}: n = ${answers.length}, each 408`)
    }
    const ends = await Promise.all(readers.map((reader) => reader.readOn()))
    for (const { tokens, tail } of ends) {
      assert.equal(tokens, RIVER.ask.max_tokens)
      assert.match(tail, /data: \[DONE\]/)
    }
    sub.diagnostic(`slow readers of streams: n = ${ends.length}, each got all when it read at last`)
  }
}

/** Asks for a stream and leaves it in the kernel's buffers, until told to read on. */
function slowReader(port: number, head: string) {
  const socket = connect({ port, host: '127.0.0.1' }).pause().setEncoding('latin1')
  socket.on('error', () => {})
  const wish = JSON.stringify({ ...RIVER.ask, stream: true })
  socket.write(`${head}connection: close\r\ncontent-length: ${wish.length}\r\n\r\n${wish}`)
  return {
    socket,
    async readOn(): Promise<{ tokens: number; tail: string }> {
      let tokens = 0
      let tail = ''
      socket.on('data', (text: string) => {
        const seen = tail + text
        // An event may come in two parts: what is before the last line's end is counted once.
        const whole = seen.lastIndexOf('\n') + 1
        tokens += seen.slice(0, whole).split('"content":" drop"').length - 1
        tail = seen.slice(whole)
        if (seen.includes('[DONE]')) tail = seen.slice(-100)
      })
      socket.resume()
      await once(socket, 'close')
      return { tokens, tail }
    },
  }
}

/** Draws so many of them, in parts, the same for the same seed. */
function drawing<T>(of: fc.Arbitrary<T>, n: number): (atMost: number) => T[] {
  const PART = 500
  let drawn = 0
  let part: T[] = []
  return (atMost) => {
    if (part.length === 0 && drawn < n) {
      part = fc.sample(of, { seed: seed + drawn, numRuns: Math.min(PART, n - drawn) })
      drawn += part.length
    }
    return part.splice(0, atMost)
  }
}

/** A clear 4xx; a request that came out right after all may be served. */
function count(statuses: Map<number, number>, answer: RawAnswer, request?: Uint8Array): void {
  const { status, head, body } = answer
  statuses.set(status, (statuses.get(status) ?? 0) + 1)
  if (status === 200) return
  const shown = JSON.stringify(
    Buffer.from(request ?? [])
      .toString('latin1')
      .slice(0, 400),
  )
  assert.ok(status >= 400 && status < 500, `${head}\n${body}\nto ${shown}`)
  // The WebSocket library says it in a sentence of its own.
  assert.match(body, /^(\{"error":\{"message":"[^"]|\w+ )/, `${head}\n${body}\nto ${shown}`)
}

const show = (counts: ReadonlyMap<unknown, number>): string =>
  [...counts].map(([what, n]) => `${String(what)} × ${n}`).join(', ')

function openFilesLimit(): number {
  try {
    const soft = /Max open files\s+(\d+)/.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1]
    return Number(soft)
  } catch {
    return Infinity // not Linux: whoever runs it will see
  }
}
