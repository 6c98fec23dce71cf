/**
 * A command that outlives its tunnel: it runs on while its tenant is away, its output is kept, and each tunnel goes on
 * where the last one broke off. An end of the tenant's direction is a goodbye, a break is not.
 */
import { EventEmitter, once } from 'node:events'
import { Writable, type Duplex } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { Fault, reasonOf } from '../../../core/base/refusal.ts'
import { decodeTaken, encodeTaken, ExecLog, isCounted } from '../../../core/protocol/exec-log.ts'
import {
  encodeExecFrame,
  EXEC_CHANNEL,
  ExecDecoder,
  type ExecExit,
} from '../../../core/protocol/tunnel.ts'
import type { Exec } from '../../../io/runtime/runtime.ts'
import { execFrames, giveFrame, hangUp, whenDrained } from './exec-streams.ts'

type SessionOptions = {
  readonly stdin: boolean
  /** It is hung up when nobody came back within this. */
  readonly awayMs: number
  /** Called once: nobody can come back any more. */
  readonly onOver: () => void
}

export class ExecSession {
  readonly #exec: Exec
  readonly #options: SessionOptions
  readonly #log = new ExecLog()
  /** `change`: there is more to send, or less to keep. */
  readonly #events = new EventEmitter()
  #tunnel: Duplex | null = null
  /** Frames of the tenant that the command was given. */
  #taken = 0
  /** Frames that were sent on this tunnel or before it. */
  #sent = 0
  #awayTimer: NodeJS.Timeout | null = null
  #ended = false
  #over = false

  constructor(exec: Exec, options: SessionOptions) {
    this.#exec = exec
    this.#options = options
    // It may end before it has read all.
    exec.stdin.on('error', () => {})
    if (!options.stdin) exec.stdin.end()
    this.#wait()
    void this.#keepOutput()
  }

  /** Whether somebody who has taken so many frames can go on. */
  has(taken: number): boolean {
    return !this.#over && this.#log.has(taken)
  }

  /** The command has ended, and whether its tenant knows is all that is open. */
  get isLeftover(): boolean {
    return this.#ended && this.#tunnel === null
  }

  /** Resolves when this tunnel is over. A tunnel that still carries the session gives way. */
  async carry(tunnel: Duplex, taken: number): Promise<void> {
    if (!this.has(taken)) throw new Fault('tunnel_lost', 'the command was hung up meanwhile')
    const before = this.#tunnel
    this.#tunnel = tunnel
    this.#sent = taken
    this.#log.release(taken)
    if (this.#awayTimer !== null) clearTimeout(this.#awayTimer)
    before?.destroy(new Fault('tunnel_lost', 'another tunnel has taken over'))
    tunnel.once('close', () => this.#changed())
    this.#changed()
    try {
      await Promise.all([
        pipeline(tunnel, this.#inputOf(tunnel)),
        pipeline(this.#framesFor(tunnel), tunnel),
      ])
      if (this.#tunnel === tunnel) this.end()
    } catch {
      // It broke off, and says so to whoever holds its other end.
      tunnel.destroy()
    }
    if (this.#tunnel === tunnel) {
      this.#tunnel = null
      this.#wait()
    }
  }

  /** Its first tunnel did not come about. */
  abandon(): void {
    if (this.#tunnel === null) this.end()
  }

  /** Hangs the command up if it runs, and forgets it. */
  end(): void {
    if (this.#over) return
    this.#over = true
    if (this.#awayTimer !== null) clearTimeout(this.#awayTimer)
    if (!this.#ended) {
      hangUp(this.#exec)
      this.#tunnel?.destroy(new Fault('tunnel_aborted', 'the command was hung up'))
    }
    this.#changed()
    this.#options.onOver()
  }

  #wait(): void {
    if (!this.#over) this.#awayTimer = setTimeout(() => this.end(), this.#options.awayMs).unref()
  }

  #changed(): void {
    this.#events.emit('change')
  }

  /** Never rejects. While the log is full nothing is read, and the command waits. */
  async #keepOutput(): Promise<void> {
    try {
      for await (const frame of execFrames(this.#exec)) {
        while (this.#log.isFull && !this.#over) await once(this.#events, 'change')
        if (this.#over) return
        this.#log.add(frame)
        this.#changed()
      }
    } catch (error) {
      const exit: ExecExit = { code: null, reason: reasonOf(error).slice(0, 2000) }
      this.#log.add(encodeExecFrame(EXEC_CHANNEL.EXIT, Buffer.from(JSON.stringify(exit))))
    }
    this.#ended = true
    this.#changed()
  }

  /** Until the exit was sent, or the tunnel is lost. What the command was given is told in between. */
  async *#framesFor(tunnel: Duplex): AsyncGenerator<Uint8Array, void, void> {
    let told = -1
    while (this.#tunnel === tunnel && !tunnel.destroyed) {
      if (told < this.#taken) {
        told = this.#taken
        yield encodeTaken(told)
        continue
      }
      const frame = this.#log.at(this.#sent)
      if (frame !== undefined) {
        this.#sent += 1
        yield frame
      } else if (this.#ended) return
      else await once(this.#events, 'change')
    }
  }

  #inputOf(tunnel: Duplex): Writable {
    let wrong: string | null = null
    const decoder = new ExecDecoder((channel, payload) => {
      // Frames that a lost tunnel still brings come again on the next one.
      if (this.#tunnel === tunnel) wrong ??= this.#take(channel, payload)
    })
    return new Writable({
      write: (chunk: Buffer, _encoding, done) => {
        wrong = decoder.push(chunk) ?? wrong
        if (wrong !== null) return done(new Fault('tunnel_malformed', wrong))
        whenDrained(this.#exec.stdin, () => {
          this.#changed()
          done()
        })
      },
      final: (done) => {
        if (this.#tunnel === tunnel) this.end()
        done()
      },
    })
  }

  /** What is wrong with it, or null. */
  #take(channel: number, payload: Uint8Array): string | null {
    if (isCounted(channel)) this.#taken += 1
    if (channel !== EXEC_CHANNEL.TAKEN) {
      giveFrame(this.#exec, channel, payload)
      return null
    }
    const taken = decodeTaken(payload)
    if (taken === null || taken > this.#sent)
      return `of ${this.#sent} frames ${taken ?? 'no number'} cannot be taken`
    this.#log.release(taken)
    return null
  }
}
