/** Puts a REQUEST and its BODY parts together again: u32 header length, header JSON, body. */
import {
  attemptHeaderSchema,
  MAX_ATTEMPT_HEADER_BYTES,
  type AttemptHeader,
} from '../../core/protocol/link.ts'
import { MAX_BODY_BYTES } from '../../core/protocol/inference-request.ts'
import { readJson } from './json-payload.ts'

const LENGTH_BYTES = 4

export type WholeRequest = { readonly header: AttemptHeader; readonly body: Uint8Array }

export class BodyAssembly {
  #header: Filling | null = null
  #parsed: AttemptHeader | null = null
  #body: Filling | null = null

  /** Bytes set aside so far: what a session bounds over all of its streams. */
  get heldBytes(): number {
    return (this.#header?.bytes.length ?? 0) + (this.#body?.bytes.length ?? 0)
  }

  /** Takes the next part: the whole request when it is complete, null when more is due, an Error when malformed. */
  add(part: Uint8Array): WholeRequest | null | Error {
    let rest = part
    if (this.#header === null) {
      if (part.length < LENGTH_BYTES) return new Error(`REQUEST of ${part.length} bytes`)
      const length = new DataView(part.buffer, part.byteOffset).getUint32(0)
      if (length > MAX_ATTEMPT_HEADER_BYTES)
        return new Error(`attempt header of ${length} bytes, limit ${MAX_ATTEMPT_HEADER_BYTES}`)
      this.#header = new Filling(length)
      rest = part.subarray(LENGTH_BYTES)
    }
    rest = this.#header.take(rest)
    if (!this.#header.full) return null
    if (this.#parsed === null) {
      const problem = this.#beginBody(this.#header.bytes)
      if (problem !== null) return problem
    }
    return this.#fillBody(rest)
  }

  #beginBody(headerJson: Uint8Array): Error | null {
    const header = readJson(attemptHeaderSchema, headerJson)
    if (header instanceof Error) return new Error(`attempt header: ${header.message}`)
    if (header.bodyBytes > MAX_BODY_BYTES)
      return new Error(`body of ${header.bodyBytes} bytes, limit ${MAX_BODY_BYTES}`)
    this.#parsed = header
    this.#body = new Filling(header.bodyBytes)
    return null
  }

  #fillBody(part: Uint8Array): WholeRequest | null | Error {
    const header = this.#parsed
    const body = this.#body
    if (header === null || body === null) return null
    const surplus = body.take(part)
    if (surplus.length > 0)
      return new Error(`${surplus.length} bytes more than the body's ${header.bodyBytes}`)
    return body.full ? { header, body: body.bytes } : null
  }
}

/** A buffer that is filled part by part. Its memory is only touched as bytes come. */
class Filling {
  readonly bytes: Buffer
  #length = 0

  constructor(size: number) {
    this.bytes = Buffer.allocUnsafeSlow(size)
  }

  get full(): boolean {
    return this.#length === this.bytes.length
  }

  /** Copies what fits and returns the rest. */
  take(part: Uint8Array): Uint8Array {
    const fits = Math.min(part.length, this.bytes.length - this.#length)
    this.bytes.set(part.subarray(0, fits), this.#length)
    this.#length += fits
    return part.subarray(fits)
  }
}
