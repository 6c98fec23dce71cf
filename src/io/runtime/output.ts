/** Takes an engine's stream of two streams apart: a header of eight bytes before each piece says whose it is. */
import { Fault } from '../../core/base/refusal.ts'
import type { Output } from './runtime.ts'

const HEADER_BYTES = 8
const STDERR = 2

/** A piece is a line, or a read; anything longer is no header. */
const MAX_PIECE_BYTES = 16 << 20

/** Reads no more than is taken, so a slow reader slows the writer down. */
export async function* splitOutput(
  stream: AsyncIterable<Buffer> | Iterable<Buffer>,
): AsyncGenerator<Output, void, void> {
  let rest: Buffer = Buffer.alloc(0)
  for await (const chunk of stream) {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    while (rest.length >= HEADER_BYTES) {
      const end = HEADER_BYTES + rest.readUInt32BE(4)
      if (end > MAX_PIECE_BYTES)
        throw new Fault('engine_failed', `The engine announced a piece of ${end} bytes of output.`)
      if (rest.length < end) break
      const data = rest.subarray(HEADER_BYTES, end)
      if (data.length > 0) yield { stream: rest[0] === STDERR ? 'stderr' : 'stdout', data }
      rest = rest.subarray(end)
    }
  }
}

/** Of a terminal there is only one stream. */
export async function* plainOutput(
  stream: AsyncIterable<Buffer>,
): AsyncGenerator<Output, void, void> {
  for await (const data of stream) yield { stream: 'stdout', data }
}
