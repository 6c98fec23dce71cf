import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { decodeTaken, encodeTaken, EXEC_LOG_BYTES, ExecLog, isCounted } from './exec-log.ts'
import { encodeExecFrame, EXEC_CHANNEL, ExecDecoder, MAX_EXEC_PAYLOAD_BYTES } from './tunnel.ts'

const LARGEST = encodeExecFrame(EXEC_CHANNEL.STDOUT, new Uint8Array(MAX_EXEC_PAYLOAD_BYTES))
const SMALLEST = encodeExecFrame(EXEC_CHANNEL.STDOUT, new Uint8Array(1))

describe('the log of a session', () => {
  it('keeps what is not taken, by its number', () => {
    const log = new ExecLog()
    for (const byte of [0, 1, 2]) log.add(Uint8Array.of(byte))
    assert.equal(log.end, 3)
    log.release(2)
    assert.deepEqual(
      [0, 1, 2, 3].map((n) => log.at(n)?.[0]),
      [undefined, undefined, 2, undefined],
    )
    assert.deepEqual(
      [1, 2, 3, 4].map((n) => log.has(n)),
      [false, true, true, false],
    )
    log.release(1)
    assert.equal(log.at(2)?.[0], 2, 'what was taken once stays taken')
    log.release(3)
    assert.deepEqual([log.end, log.bytes], [3, 0])
  })

  it('is full before a frame of any size would be over its limit', () => {
    for (const frame of [LARGEST, SMALLEST]) {
      const log = new ExecLog()
      while (!log.isFull) log.add(frame)
      assert.ok(log.bytes <= EXEC_LOG_BYTES)
      assert.ok(log.bytes + LARGEST.length > EXEC_LOG_BYTES)
      log.release(1)
      assert.equal(log.isFull, frame === SMALLEST && log.bytes + LARGEST.length > EXEC_LOG_BYTES)
    }
  })

  it('does not keep a million small frames', () => {
    const log = new ExecLog()
    while (!log.isFull) log.add(SMALLEST)
    assert.ok(log.end <= 4096 && log.end > 3800, String(log.end))
  })
})

describe('the count of a session', () => {
  it('comes out as it went in', () => {
    for (const frames of [0, 1, 2 ** 32, Number.MAX_SAFE_INTEGER]) {
      const heard: (number | null)[] = []
      const decoder = new ExecDecoder((channel, payload) => {
        assert.equal(channel, EXEC_CHANNEL.TAKEN)
        heard.push(decodeTaken(payload))
      })
      assert.equal(decoder.push(encodeTaken(frames)), null)
      assert.deepEqual(heard, [frames])
    }
  })

  it('is no number of frames beyond what numbers can tell, or of another length', () => {
    assert.equal(decodeTaken(new Uint8Array(8).fill(255)), null)
    assert.equal(decodeTaken(new Uint8Array(7)), null)
  })

  it('is of what must arrive once: not of sizes, nor of itself', () => {
    const { RESIZE, TAKEN } = EXEC_CHANNEL
    for (const channel of Object.values(EXEC_CHANNEL))
      assert.equal(isCounted(channel), channel !== RESIZE && channel !== TAKEN)
    assert.ok(!isCounted(200))
  })
})
