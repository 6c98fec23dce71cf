/**
 * UDP in a tunnel: `[u32 flow][u16 length][payload]`, big-endian, both ways. A flow is one peer at the tenant's end and one
 * socket at the node's, so that a service sees its peers apart. As with UDP, whatever cannot be taken now is dropped.
 */
import { FrameDecoder } from './frame-decoder.ts'

/** The largest payload that UDP over IPv4 has. An empty datagram is one, too. */
export const MAX_DATAGRAM_BYTES = 65_507
/** Flows of one tunnel, each a socket at the node. One more takes the place of the one that was quiet for longest. */
export const MAX_FLOWS_PER_TUNNEL = 256
/** A flow without a datagram either way is forgotten; what is sent later is another. Firewalls usually wait 30 to 180 s. */
export const FLOW_IDLE_MS = 60_000

const HEADER_BYTES = 6

/** Throws a RangeError on a payload over the limit: the writer's bug. */
export function encodeDatagram(flow: number, payload: Uint8Array): Uint8Array {
  if (payload.length > MAX_DATAGRAM_BYTES) throw new RangeError(`${payload.length} bytes`)
  const frame = new Uint8Array(HEADER_BYTES + payload.length)
  const view = new DataView(frame.buffer)
  view.setUint32(0, flow)
  view.setUint16(4, payload.length)
  frame.set(payload, HEADER_BYTES)
  return frame
}

/** `visit` gets a view that is only valid during the call. */
export class DatagramDecoder extends FrameDecoder {
  constructor(visit: (flow: number, payload: Uint8Array) => void) {
    super({ headerBytes: HEADER_BYTES, payloadBytes }, (header, payload) =>
      visit(header.getUint32(0), payload),
    )
  }
}

function payloadBytes(header: DataView): number | string {
  const length = header.getUint16(4)
  return length <= MAX_DATAGRAM_BYTES
    ? length
    : `a datagram of ${length} bytes, limit ${MAX_DATAGRAM_BYTES}`
}
