import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import {
  decodeResize,
  encodeExecFrame,
  encodeResize,
  EXEC_CHANNEL,
  ExecDecoder,
  execExitSchema,
  MAX_EXEC_PAYLOAD_BYTES,
  parsePurpose,
} from './tunnel.ts'

describe('tunnel purposes', () => {
  const place = { lease: 'lease_1', epoch: 3, service: 'web', replica: 0 }

  it('reads each kind, and drops fields that a later software added', () => {
    const tcp = { kind: 'tcp', ...place, port: 80 }
    assert.deepEqual(parsePurpose({ ...tcp, later: true }), tcp)
    const exec = {
      kind: 'exec',
      ...place,
      command: ['sh'],
      stdin: true,
      terminal: null,
      session: null,
    }
    const logs = { tailLines: 10, sinceMs: null, timestamps: false, follow: true }
    for (const purpose of [
      { kind: 'udp', ...place, port: 53 },
      exec,
      { ...exec, terminal: { columns: 80, rows: 25 } },
      { ...exec, session: { secret: 's'.repeat(43), taken: null } },
      { ...exec, session: { secret: 's'.repeat(43), taken: 0 } },
      { kind: 'logs', ...place, ...logs },
      { kind: 'copy-in', ...place, path: '/data' },
      { kind: 'copy-out', ...place, path: '/data' },
      { kind: 'snapshot', ...place, volume: 'data' },
      { kind: 'restore', ...place, volume: 'data' },
    ]) {
      assert.deepEqual(parsePurpose(purpose), purpose)
    }
  })

  it('knows a command of an older tenant, who has no session', () => {
    const exec = { kind: 'exec', ...place, command: ['sh'], stdin: true, terminal: null }
    assert.deepEqual(parsePurpose(exec), { ...exec, session: null })
  })

  it('knows none of another kind, or out of its limits', () => {
    const exec = { kind: 'exec', ...place, stdin: false, terminal: null }
    for (const purpose of [
      null,
      { kind: 'teleport', ...place },
      { kind: 'tcp', ...place, port: 0 },
      { kind: 'tcp', ...place, port: 65_536 },
      { kind: 'udp', ...place, port: 0 },
      { kind: 'tcp', ...place, replica: -1, port: 80 },
      { kind: 'copy-in', ...place, path: '/'.repeat(4097) },
      { ...exec, command: [] },
      { ...exec, command: ['sh'], session: { secret: 's'.repeat(42), taken: null } },
      { ...exec, command: ['sh'], session: { secret: 's'.repeat(43), taken: -1 } },
      { ...exec, command: ['x'.repeat(64 * 1024 + 1)] },
    ]) {
      assert.equal(parsePurpose(purpose), null, JSON.stringify(purpose).slice(0, 80))
    }
  })
})

describe('exec frames', () => {
  const frames = fc.array(
    fc.record(
      {
        channel: fc.constantFrom(...Object.values(EXEC_CHANNEL)),
        payload: fc.uint8Array({ maxLength: 40 }),
      },
      { noNullPrototype: true },
    ),
    { maxLength: 12 },
  )

  it('come out as they went in, however the bytes are cut', () => {
    fc.assert(
      fc.property(frames, fc.array(fc.integer({ min: 1, max: 50 })), (sent, cuts) => {
        const bytes = join(sent.map(({ channel, payload }) => encodeExecFrame(channel, payload)))
        const { heard, decoder } = setup()
        let at = 0
        for (const cut of [...cuts, bytes.length]) {
          assert.equal(decoder.push(bytes.subarray(at, at + cut)), null)
          at += cut
        }
        assert.deepEqual(heard, sent)
        assert.ok(decoder.atRest)
      }),
    )
  })

  it('are not at rest within a frame', () => {
    const { heard, decoder } = setup()
    assert.equal(
      decoder.push(encodeExecFrame(EXEC_CHANNEL.STDOUT, bytes('hello')).subarray(0, 7)),
      null,
    )
    assert.deepEqual(heard, [])
    assert.ok(!decoder.atRest)
  })

  it('carry the largest payload, and no larger one', () => {
    const largest = new Uint8Array(MAX_EXEC_PAYLOAD_BYTES).fill(7)
    const { heard, decoder } = setup()
    assert.equal(decoder.push(encodeExecFrame(EXEC_CHANNEL.STDOUT, largest)), null)
    assert.deepEqual(heard, [{ channel: EXEC_CHANNEL.STDOUT, payload: largest }])
    assert.throws(() => encodeExecFrame(EXEC_CHANNEL.STDOUT, new Uint8Array(65_537)), RangeError)
    const liar = new Uint8Array([1, 0xff, 0xff, 0xff, 0xff])
    assert.match(decoder.push(liar) ?? '', /4294967295 bytes, limit 65536/)
  })

  it('never crash on anything', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 64 }), { maxLength: 10 }), (pieces) => {
        const { decoder } = setup()
        for (const piece of pieces) if (decoder.push(piece) !== null) return
      }),
    )
  })

  it('resize a terminal', () => {
    const { heard, decoder } = setup()
    decoder.push(encodeResize(132, 43))
    assert.deepEqual(decodeResize(heard[0]?.payload ?? bytes('')), { columns: 132, rows: 43 })
    assert.equal(decodeResize(bytes('abc')), null)
    assert.equal(decodeResize(new Uint8Array(4)), null)
  })

  it('say how a command ended', () => {
    assert.ok(execExitSchema.safeParse({ code: 0, reason: null }).success)
    assert.ok(execExitSchema.safeParse({ code: null, reason: 'out of memory' }).success)
    assert.ok(!execExitSchema.safeParse({ code: 'zero', reason: null }).success)
  })
})

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

function join(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

function setup() {
  const heard: { channel: number; payload: Uint8Array }[] = []
  const decoder = new ExecDecoder((channel, payload) =>
    heard.push({ channel, payload: payload.slice() }),
  )
  return { heard, decoder }
}
