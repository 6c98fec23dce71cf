/** For tests: what a hostile or broken peer sends on the node link, drawn by fast-check from one seed. */
import fc from 'fast-check'
import { encodeFrame, FRAME } from '../../core/protocol/frame.ts'

/** Behind the frame's length. */
const TYPE_AT = 4

const payload = fc.oneof(
  fc.uint8Array({ maxLength: 64 }),
  fc.json({ maxDepth: 3 }).map((text) => Buffer.from(text)),
  fc
    .constantFrom(
      '{}',
      '[[[[',
      '{"code":1}',
      '\u0000',
      '{"finish":"stop"}',
      '{"free":[-1],"queued":[]}',
    )
    .map((text) => Buffer.from(text)),
)

/** A frame of any type, most of them on streams that may exist and with contents that nearly fit. */
const frame = fc
  .record({
    type: fc.oneof(fc.constantFrom(...Object.values(FRAME)), fc.nat(255)),
    stream: fc.oneof(fc.constantFrom(0, 1, 2), fc.nat(0xffff_ffff)),
    payload,
  })
  .map(({ type, stream, payload: bytes }) => {
    const whole = encodeFrame(FRAME.TOKENS, stream, bytes)
    whole[TYPE_AT] = type
    return whole
  })

/** Messages of the node link: whole frames, cut ones, lying lengths, noise. */
export const message: fc.Arbitrary<Uint8Array> = fc.oneof(
  fc.array(frame, { minLength: 1, maxLength: 6 }).map((frames) => Buffer.concat(frames)),
  fc
    .tuple(frame, fc.nat(20))
    .map(([whole, cut]) => whole.subarray(0, Math.max(0, whole.length - cut))),
  fc.tuple(frame, fc.nat(0xffff_ffff)).map(([whole, length]) => {
    const lying = Buffer.from(whole)
    lying.writeUInt32BE(length, 0)
    return lying
  }),
  fc.uint8Array({ maxLength: 200 }),
)
