/**
 * The node link's frames: how bytes on one WebSocket become many streams.
 *
 *   [u32 length of what follows][u8 type][u32 stream][payload]      all big-endian
 *
 * One WebSocket message holds any number of whole frames. Stream 0 is the link itself; the gateway numbers
 * the streams it opens. docs/protocol.md says what each payload holds.
 */
export const FRAME = {
  // Stream 0: the link.
  CHALLENGE: 1, // gateway → node, JSON `Challenge`
  HELLO: 2, // node → gateway, JSON `Hello`
  WELCOME: 3, // gateway → node, JSON `Welcome`
  OFFER: 4, // node → gateway, JSON `SignedOffer`: replaces the standing offer
  HEARTBEAT: 5, // node → gateway, JSON `Heartbeat`
  PING: 6, // either way, 8 opaque bytes
  PONG: 7, // the same bytes back
  RECEIPTS: 8, // node → gateway, lines: a `ReceiptBatch`
  RECEIPTS_ACK: 9, // gateway → node, JSON `ReceiptsAck`
  DRAIN: 10, // node → gateway: finish what runs, send nothing new
  REFUSED: 11, // either way, JSON `LinkRefusal`: why the link is closed, just before it is
  OPEN_TUNNEL: 12, // gateway → node, JSON `OpenTunnel`: dial a tunnel for this purpose
  TUNNEL_REFUSED: 13, // node → gateway, JSON `TunnelRefused`: no tunnel will be dialled, and why
  LEASE: 14, // gateway → node, JSON `LeaseCommand`
  LEASE_STATE: 15, // node → gateway, JSON `LeaseReport`
  IOU: 26, // gateway → node, JSON `PayoutNews`
  REGION: 27, // gateway → node, JSON `RegionNews`
  // Streams: one attempt each.
  REQUEST: 16, // gateway → node: u32 header length, JSON `AttemptHeader`, then the tenant's body; its first 64 KiB or all
  BODY: 17, // gateway → node: the next part of what REQUEST began; the lengths said how much comes in all
  ACCEPT: 18, // node → gateway: the attempt has a slot
  BUSY: 19, // node → gateway, JSON `AttemptError`: no slot; nothing was done
  TOKENS: 20, // node → gateway: `TokenChunk`s
  VECTOR: 21, // node → gateway: u32 index, then little-endian f32s: one embedding
  END: 22, // node → gateway, JSON `AttemptEnd`
  ERROR: 23, // node → gateway, JSON `AttemptError`: the attempt is over without an END
  CANCEL: 24, // gateway → node: stop now; an END with finish 'cancelled' or an ERROR follows
  CREDIT: 25, // gateway → node, u32: so many more bytes may be sent, of TOKENS payloads and of VECTORs' f32s
} as const

export type FrameType = (typeof FRAME)[keyof typeof FRAME]

export const FRAME_HEADER_BYTES = 9

/** A frame's payload limit: one stream's large body is split so that it never blocks the others. */
export const MAX_FRAME_PAYLOAD_BYTES = 64 * 1024
/** Receipts and offers may be larger than a chunk of a stream, but not without end. */
export const MAX_CONTROL_PAYLOAD_BYTES = 1024 * 1024
/** A WebSocket message: many frames of one event-loop turn. */
export const MAX_MESSAGE_BYTES = 4 * 1024 * 1024
/** What a node may send on one stream before the gateway grants more. */
export const INITIAL_CREDIT_BYTES = 256 * 1024

/** Writes a whole frame. Throws a RangeError on a payload over the limit: the writer's bug. */
export function encodeFrame(type: FrameType, stream: number, payload: Uint8Array): Uint8Array {
  if (payload.length > payloadLimit(type))
    throw new RangeError(`frame ${type}: ${payload.length} bytes`)
  const frame = new Uint8Array(FRAME_HEADER_BYTES + payload.length)
  const view = new DataView(frame.buffer)
  view.setUint32(0, payload.length + 5)
  frame[4] = type
  view.setUint32(5, stream)
  frame.set(payload, FRAME_HEADER_BYTES)
  return frame
}

export function payloadLimit(type: number): number {
  return type < FRAME.REQUEST ? MAX_CONTROL_PAYLOAD_BYTES : MAX_FRAME_PAYLOAD_BYTES
}

/** What a reader does with each frame; `payload` is a view that is only valid during the call. */
export type FrameVisitor = (type: number, stream: number, payload: Uint8Array) => void

/**
 * Visits each frame of one message. Returns null, or what is malformed: a length that disagrees with the
 * message, or a payload over its limit. Unknown types are visited too: the visitor ignores them.
 */
export function readFrames(message: Uint8Array, visit: FrameVisitor): string | null {
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength)
  let at = 0
  while (at < message.length) {
    if (message.length - at < FRAME_HEADER_BYTES) return `truncated frame header at byte ${at}`
    const length = view.getUint32(at)
    const type = view.getUint8(at + 4)
    if (length < 5) return `frame length ${length} at byte ${at} is below 5`
    const end = at + 4 + length
    if (end > message.length)
      return `frame at byte ${at} says ${length} bytes, ${message.length - at - 4} are there`
    if (length - 5 > payloadLimit(type))
      return `frame type ${type} carries ${length - 5} bytes, limit ${payloadLimit(type)}`
    visit(type, view.getUint32(at + 5), message.subarray(at + FRAME_HEADER_BYTES, end))
    at = end
  }
  return null
}
