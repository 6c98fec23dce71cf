/** A TCP proxy that misbehaves on demand: put it between a node and its gateway, and change it while they talk. */
import { createServer, connect, type AddressInfo, type Socket } from 'node:net'
import type { Random } from '../../src/core/base/random.ts'

export type FaultMode =
  | { readonly kind: 'pass' }
  /** Each piece waits so long, plus up to `jitterMs`; order is kept. */
  | { readonly kind: 'delay'; readonly delayMs: number; readonly jitterMs?: number }
  /** Passes nothing on and loses nothing: a peer that hangs, until the mode changes. */
  | { readonly kind: 'hold' }
  /** Half-open: takes bytes and drops them. A connection that lost bytes never passes any again. */
  | {
      readonly kind: 'swallow'
      /** Only what goes to the target (up) or comes from it (down); otherwise both. */
      readonly way?: 'up' | 'down' | 'both'
    }
  /** A few bytes now and then. */
  | { readonly kind: 'drip'; readonly bytes: number; readonly everyMs: number }
  | { readonly kind: 'throttle'; readonly bytesPerSecond: number }
  /** Resets new connections; those there are pass. */
  | { readonly kind: 'refuse' }

export type FaultProxy = {
  readonly port: number
  /** Applies at once, to connections there are and those to come. */
  set(mode: FaultMode): void
  /** Resets every connection (RST); returns how many. */
  cutAll(): number
  close(): Promise<void>
}

/** A sender is stopped when so much waits here, so that back-pressure stays real. */
const MAX_WAITING_BYTES = 1024 * 1024
const THROTTLE_TICK_MS = 20

export async function startFaultProxy(options: {
  targetPort: number
  /** Draws the jitter. */
  random?: Random
}): Promise<FaultProxy> {
  const random = options.random ?? Math.random
  const pairs = new Set<Pair>()
  let mode: FaultMode = { kind: 'pass' }
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (near) => {
    if (mode.kind === 'refuse') {
      near.resetAndDestroy()
      return
    }
    const pair = new Pair(near, options.targetPort, () => mode, random)
    pairs.add(pair)
    near.on('close', () => pairs.delete(pair))
  })
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve())
  })
  const cutAll = (): number => {
    const count = pairs.size
    for (const pair of pairs) pair.cut()
    return count
  }
  return {
    port: (server.address() as AddressInfo).port,
    set: (next) => {
      mode = next
      for (const pair of pairs) pair.wake()
    },
    cutAll,
    close: async () => {
      cutAll()
      await new Promise<void>((resolve) => {
        server.close(() => resolve())
      })
    },
  }
}

/** One proxied connection: a lane each way. */
class Pair {
  readonly #near: Socket
  readonly #far: Socket
  readonly #lanes: readonly Lane[]

  constructor(near: Socket, targetPort: number, mode: () => FaultMode, random: Random) {
    this.#near = near
    this.#far = connect({ port: targetPort, host: '127.0.0.1', allowHalfOpen: true, noDelay: true })
    const laneOf = (from: Socket, to: Socket, way: 'up' | 'down'): Lane =>
      new Lane(from, to, () => modeOf(mode(), way), random)
    this.#lanes = [laneOf(near, this.#far, 'up'), laneOf(this.#far, near, 'down')]
    for (const socket of [near, this.#far]) {
      socket.on('error', () => this.cut())
      socket.on('close', () => {
        for (const lane of this.#lanes) lane.stop()
        near.destroy()
        this.#far.destroy()
      })
    }
  }

  wake(): void {
    for (const lane of this.#lanes) lane.wake()
  }

  cut(): void {
    this.#near.resetAndDestroy()
    this.#far.resetAndDestroy()
  }
}

/** What the mode means for what goes this way. */
function modeOf(mode: FaultMode, way: 'up' | 'down'): FaultMode {
  const only = mode.kind === 'swallow' ? (mode.way ?? 'both') : 'both'
  return only === 'both' || only === way ? mode : { kind: 'pass' }
}

/** What goes one way, in order; `null` is the end of the stream. */
type Piece = { readonly bytes: Buffer | null; readonly dueAt: number }

class Lane {
  readonly #from: Socket
  readonly #to: Socket
  readonly #mode: () => FaultMode
  readonly #random: Random
  #waiting: Piece[] = []
  #waitingBytes = 0
  #lost = false
  #timer: NodeJS.Timeout | null = null

  constructor(from: Socket, to: Socket, mode: () => FaultMode, random: Random) {
    this.#from = from
    this.#to = to
    this.#mode = mode
    this.#random = random
    from.on('data', (bytes) => this.#take(bytes))
    from.on('end', () => this.#take(null))
    to.on('drain', () => this.#pump())
  }

  /** The mode changed. */
  wake(): void {
    this.stop()
    this.#pump()
  }

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
  }

  #take(bytes: Buffer | null): void {
    const mode = this.#mode()
    if (this.#lost || mode.kind === 'swallow') {
      this.#lost = true
      return
    }
    const delayMs = mode.kind === 'delay' ? mode.delayMs + this.#random() * (mode.jitterMs ?? 0) : 0
    this.#waiting.push({ bytes, dueAt: performance.now() + delayMs })
    this.#waitingBytes += bytes?.length ?? 0
    if (this.#waitingBytes > MAX_WAITING_BYTES) this.#from.pause()
    if (this.#timer === null) this.#pump()
  }

  #pump(): void {
    const mode = this.#mode()
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      if (mode.kind === 'hold' || this.#to.writableNeedDrain) return
      if (mode.kind === 'swallow') this.#lost = true
      if (mode.kind === 'delay' && next.dueAt > performance.now()) {
        this.#again(next.dueAt - performance.now())
        return
      }
      this.#passOn(next, mode)
      if (mode.kind === 'drip') return this.#again(mode.everyMs)
      if (mode.kind === 'throttle') return this.#again(THROTTLE_TICK_MS)
    }
  }

  #passOn({ bytes, dueAt }: Piece, mode: FaultMode): void {
    this.#waiting.shift()
    if (this.#lost) return
    if (bytes === null) {
      this.#to.end()
      return
    }
    const now = bytes.subarray(0, allowance(mode))
    if (now.length < bytes.length)
      this.#waiting.unshift({ bytes: bytes.subarray(now.length), dueAt })
    this.#waitingBytes -= now.length
    if (this.#waitingBytes <= MAX_WAITING_BYTES) this.#from.resume()
    this.#to.write(now)
  }

  #again(inMs: number): void {
    this.#timer = setTimeout(() => {
      this.#timer = null
      this.#pump()
    }, inMs)
  }
}

/** Bytes that may go at once. */
function allowance(mode: FaultMode): number {
  if (mode.kind === 'drip') return mode.bytes
  if (mode.kind === 'throttle')
    return Math.max(1, Math.round((mode.bytesPerSecond * THROTTLE_TICK_MS) / 1000))
  return Infinity
}
