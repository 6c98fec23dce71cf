import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { splitOutput } from './output.ts'

describe('the two streams of a container', () => {
  it('are told apart, however the bytes come', { timeout: 5_000 }, async () => {
    const whole = Buffer.concat([
      piece(1, 'out'),
      piece(2, 'err'),
      piece(1, ''),
      piece(1, 'größer\n'),
    ])
    for (const size of [1, 2, 7, 9, whole.length]) {
      const chunks = []
      for (let from = 0; from < whole.length; from += size)
        chunks.push(whole.subarray(from, from + size))
      assert.deepEqual(await read(chunks), ['stdout: out', 'stderr: err', 'stdout: größer\n'])
    }
  })

  it('end with what was whole', { timeout: 5_000 }, async () => {
    assert.deepEqual(await read([piece(1, 'out'), piece(1, 'cut').subarray(0, 9)]), ['stdout: out'])
  })

  it('cannot announce more than memory should hold', { timeout: 5_000 }, async () => {
    const header = Buffer.alloc(8)
    header.writeUInt32BE(0xffff_ffff, 4)
    await assert.rejects(read([header]), { code: 'engine_failed' })
  })
})

function piece(stream: number, text: string): Buffer {
  const data = Buffer.from(text)
  const header = Buffer.alloc(8)
  header[0] = stream
  header.writeUInt32BE(data.length, 4)
  return Buffer.concat([header, data])
}

async function read(chunks: Iterable<Buffer>): Promise<string[]> {
  const pieces = []
  for await (const { stream, data } of splitOutput(chunks))
    pieces.push(`${stream}: ${data.toString()}`)
  return pieces
}
