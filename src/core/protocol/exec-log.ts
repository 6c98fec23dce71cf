/**
 * How a command outlives its tunnel: each end counts the frames that it sends, and keeps them until the other end says
 * that it has taken so many. On another tunnel it begins where the other end stands; so no frame is lost, and none doubled.
 */
import { encodeExecFrame, EXEC_CHANNEL, MAX_EXEC_PAYLOAD_BYTES } from './tunnel.ts'

/** A command waits so long for its tenant to come back; then it is hung up. A gateway restarts in seconds. */
export const EXEC_AWAY_MS = 60_000
/** Kept for each direction of a session. When it is full its writer waits: the command, or standard input. */
export const EXEC_LOG_BYTES = 1024 * 1024
/** A frame costs no less, so that a million frames of a byte are no million objects. */
const MIN_FRAME_BYTES = 256
const HEADER_BYTES = 5
const MAX_FRAME_BYTES = HEADER_BYTES + MAX_EXEC_PAYLOAD_BYTES
/** Each may hold a full log at the node. */
export const MAX_EXEC_SESSIONS_PER_LEASE = 32
export const MAX_EXEC_SESSIONS_PER_NODE = 512

/** RESIZE tells how things are, and is told anew on each tunnel; TAKEN is the count itself; what is unknown may be either. */
const COUNTED: ReadonlySet<number> = new Set([
  EXEC_CHANNEL.STDIN,
  EXEC_CHANNEL.STDOUT,
  EXEC_CHANNEL.STDERR,
  EXEC_CHANNEL.EXIT,
  EXEC_CHANNEL.SIGNAL,
])
export const isCounted = (channel: number): boolean => COUNTED.has(channel)

export function encodeTaken(frames: number): Uint8Array {
  const payload = new Uint8Array(8)
  new DataView(payload.buffer).setBigUint64(0, BigInt(frames))
  return encodeExecFrame(EXEC_CHANNEL.TAKEN, payload)
}

/** A TAKEN frame's payload; null when it is malformed. */
export function decodeTaken(payload: Uint8Array): number | null {
  if (payload.length !== 8) return null
  const frames = Number(new DataView(payload.buffer, payload.byteOffset).getBigUint64(0))
  return Number.isSafeInteger(frames) ? frames : null
}

/** The counted frames of one end that the other may still need. */
export class ExecLog {
  #frames: Uint8Array[] = []
  #start = 0
  #bytes = 0

  /** How many frames there ever were: the number of the next one. */
  get end(): number {
    return this.#start + this.#frames.length
  }

  /** What is kept costs so much. */
  get bytes(): number {
    return this.#bytes
  }

  /** A frame of any size might not fit. */
  get isFull(): boolean {
    return this.#bytes + MAX_FRAME_BYTES > EXEC_LOG_BYTES
  }

  /** Whether somebody who has taken so many can be told the rest. */
  has(taken: number): boolean {
    return taken >= this.#start && taken <= this.end
  }

  add(frame: Uint8Array): void {
    this.#frames.push(frame)
    this.#bytes += costOf(frame)
  }

  /** By its number from 0; undefined: not yet, or no more. */
  at(number: number): Uint8Array | undefined {
    return this.#frames[number - this.#start]
  }

  /** The other end has taken so many. */
  release(taken: number): void {
    const gone = this.#frames.splice(0, Math.max(0, taken - this.#start))
    this.#start += gone.length
    for (const frame of gone) this.#bytes -= costOf(frame)
  }
}

const costOf = (frame: Uint8Array): number => Math.max(frame.length, MIN_FRAME_BYTES)
