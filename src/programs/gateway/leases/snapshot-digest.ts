/** The digest that a snapshot is known by: made while it is taken, checked while it is given to anybody. */
import { createHash } from 'node:crypto'
import { pipeline, Transform, type Readable } from 'node:stream'
import { Fault } from '../../../core/base/refusal.ts'

export type Tally = { readonly bytes: number; readonly sha256: string }

/** The same stream, counted. `seen` is called with each piece; `tally` is for when it has ended. */
export function tallied(
  source: Readable,
  seen: (bytes: number) => void,
): { readonly body: Readable; readonly tally: () => Tally } {
  const hash = createHash('sha256')
  let bytes = 0
  const body = new Transform({
    transform(piece: Buffer, _encoding, done) {
      hash.update(piece)
      bytes += piece.length
      seen(bytes)
      done(null, piece)
    },
  })
  // Either end that breaks takes the other with it; whoever reads `body` hears of it.
  pipeline(source, body, () => {})
  return { body, tally: () => ({ bytes, sha256: hash.digest('hex') }) }
}

/**
 * The same stream, which breaks with Fault `snapshot_corrupt` instead of ending where it is not what was written, so that
 * no reader takes it for whole.
 */
export function verified(source: Readable, written: Tally): Readable {
  const hash = createHash('sha256')
  let bytes = 0
  const body = new Transform({
    transform(piece: Buffer, _encoding, done) {
      bytes += piece.length
      hash.update(piece)
      done(bytes > written.bytes ? corrupt(`it has more than ${written.bytes} bytes`) : null, piece)
    },
    flush(done) {
      if (bytes !== written.bytes) done(corrupt(`it has ${bytes} of ${written.bytes} bytes`))
      else if (hash.digest('hex') !== written.sha256) done(corrupt('its digest is another'))
      else done()
    },
  })
  pipeline(source, body, () => {})
  return body
}

const corrupt = (why: string): Fault =>
  new Fault('snapshot_corrupt', `the snapshot is not what was written: ${why}`)
