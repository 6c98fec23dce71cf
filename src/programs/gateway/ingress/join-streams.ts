/** Two connections become one. */
import type { Duplex } from 'node:stream'

/** Bytes both ways; each direction ends on its own, and when one connection breaks so does the other. */
export function joinStreams(a: Duplex, b: Duplex): void {
  a.pipe(b)
  b.pipe(a)
  breakWith(a, b)
  breakWith(b, a)
}

function breakWith(one: Duplex, other: Duplex): void {
  one.once('close', () => {
    // When both of its directions have ended, so will the other's: its last bytes may still be on their way.
    const orderly = one.errored === null && one.readableEnded && one.writableFinished
    if (!orderly) other.destroy()
  })
}
