/**
 * Reads request bodies on the hot path: plain callbacks, no promise a chunk, no copy when a body comes in one
 * piece. One reader serves a whole server and bounds what all its unfinished bodies hold together.
 */
import type { IncomingMessage } from 'node:http'
import { refuse, type Refusal } from '../../core/base/refusal.ts'

/** Without it, a few hundred connections that each stop short of the limit could fill the memory. */
export const MAX_HELD_BYTES = 256 * 1024 * 1024

/** `done` is called once: with the body, with why it was refused, or with null when the tenant went away. */
export type ReadBody = (
  req: IncomingMessage,
  limitBytes: number,
  done: (body: Buffer | Refusal | null) => void,
) => void

export function createBodyReader(maxHeldBytes = MAX_HELD_BYTES): ReadBody {
  let held = 0
  return (req, limitBytes, done) => {
    const declared = Number(req.headers['content-length'] ?? 0)
    // Refused before a byte is read.
    if (declared > limitBytes) return done(tooLarge(limitBytes, declared))
    if (req.destroyed) return done(null)
    const chunks: Buffer[] = []
    let bytes = 0
    const finish = (body: Buffer | Refusal | null): void => {
      req.off('data', onData).off('end', onEnd).off('close', onClose)
      held -= bytes
      done(body)
    }
    const onData = (chunk: Buffer): void => {
      bytes += chunk.length
      held += chunk.length
      chunks.push(chunk)
      if (bytes > limitBytes) finish(tooLarge(limitBytes, null))
      else if (held > maxHeldBytes) finish(tooMany())
    }
    const onEnd = (): void => finish(chunks.length === 1 ? first(chunks) : Buffer.concat(chunks))
    const onClose = (): void => finish(null)
    req.on('data', onData).on('end', onEnd).on('close', onClose)
  }
}

const EMPTY = Buffer.alloc(0)
const first = (chunks: readonly Buffer[]): Buffer => chunks[0] ?? EMPTY

function tooLarge(limitBytes: number, declared: number | null): Refusal {
  const size = declared === null ? 'larger' : `${declared} bytes`
  return refuse(
    'request_too_large',
    `The request body is ${size}; the limit is ${limitBytes} bytes. Send less, or split it.`,
    { details: { limitBytes } },
  )
}

const tooMany = (): Refusal =>
  refuse('queue_full', 'The gateway is reading as many request bodies as it can hold. Try again.', {
    retryAfterS: 1,
  })
