/**
 * One running command: its frames to the process's streams and back. When the connection breaks off it is looked for
 * again, and both directions go on where they were; `core/protocol/exec-log.ts` has the counting.
 */
import type { Duplex } from 'node:stream'
import { decodeTaken, encodeTaken, ExecLog, isCounted } from '../../../core/protocol/exec-log.ts'
import {
  encodeExecFrame,
  encodeResize,
  EXEC_CHANNEL,
  ExecDecoder,
  execExitSchema,
  MAX_EXEC_PAYLOAD_BYTES,
  type ExecChannel,
  type ExecExit,
} from '../../../core/protocol/tunnel.ts'
import { EXIT, Failure } from '../shell/failure.ts'
import { writeAll } from '../shell/stdio.ts'
import { tunnelFailure } from '../shell/tunnel-client.ts'
import type { Shell } from './command.ts'
import { dialSession, left, type Dial } from './dial-session.ts'
import { isPassing } from './try-again.ts'

type SessionOptions = {
  readonly dial: Dial
  readonly stdin: boolean
  readonly tty: boolean
  readonly json: boolean
  readonly shell: Shell
}
type Piece = { readonly channel: number; readonly payload: Buffer }

/** More than any line holds on its way: a node that took so much and told nothing is an older one, without sessions. */
const MAX_UNTOLD_BYTES = 16 * 1024 * 1024

export class ExecSession {
  readonly #options: SessionOptions
  /** Input and signals, until the node has told that it has them. */
  readonly #log = new ExecLog()
  #tunnel: Duplex | null = null
  /** The next of them to send; null: a new tunnel, and the node has not yet told where to begin. */
  #next: number | null = 0
  /** Whether the node counts: only then can the command be come back to. */
  #counts = false
  #inputFlows = false
  /** Frames of the node that this end has dealt with. */
  #taken = 0
  #exit: ExecExit | null = null

  constructor(options: SessionOptions) {
    this.#options = options
  }

  /** Resolves when the command has ended. Throws Failure when its end was not heard. */
  async run(first: Duplex): Promise<ExecExit> {
    const { dial, stdin, shell } = this.#options
    const { stops, stdio } = shell
    const resized = (): void => this.#tellSize()
    const interrupted = (): void => this.#add(EXEC_CHANNEL.SIGNAL, Buffer.from('SIGINT'))
    const killed = (): void => this.#leave()
    const sending = stdin ? this.#sendInput() : null
    stdio.stdout.on('resize', resized)
    stops.stop.addEventListener('abort', interrupted)
    stops.kill.addEventListener('abort', killed)
    try {
      for (let tunnel = first; ;) {
        const failure = await this.#carry(tunnel)
        if (this.#exit) return this.#exit
        if (stops.kill.aborted) throw left()
        if (!this.#counts || !isPassing(failure)) throw failure
        tunnel = await dialSession({ dial, taken: this.#taken, lost: failure, shell })
        this.#next = null
      }
    } finally {
      stdio.stdout.off('resize', resized)
      stops.stop.removeEventListener('abort', interrupted)
      stops.kill.removeEventListener('abort', killed)
      sending?.stop()
    }
  }

  /** To its end: why there was no exit, unless there was one. */
  async #carry(tunnel: Duplex): Promise<Failure> {
    const flow = (): void => this.#flow()
    this.#tunnel = tunnel.on('drain', flow)
    if (this.#next === null && this.#options.tty) this.#tellSize()
    this.#flow()
    try {
      await this.#receive(tunnel)
      return new Failure(EXIT.unreachable, 'the connection ended before the command did', {
        code: 'tunnel_lost',
        next: 'it may still run; run it again, or look with `baseload logs`',
      })
    } catch (error) {
      return tunnelFailure(error)
    } finally {
      this.#tunnel = null
      tunnel.off('drain', flow)
      // The end of our direction is a goodbye: there is nothing to come back for.
      if (this.#exit) tunnel.end()
      else tunnel.destroy()
    }
  }

  async #receive(tunnel: Duplex): Promise<void> {
    const pieces: Piece[] = []
    const decoder = new ExecDecoder((channel, payload) =>
      pieces.push({ channel, payload: Buffer.from(payload) }),
    )
    // Our direction ends later, and in order: the iterator must not end both.
    for await (const chunk of tunnel.iterator({ destroyOnReturn: false })) {
      const wrong = decoder.push(chunk)
      if (wrong !== null) throw unreadable(wrong)
      const before = this.#taken
      // While nobody reads our output, the tunnel is not read either, and the command waits.
      for (const piece of pieces.splice(0)) {
        await this.#take(piece)
        if (isCounted(piece.channel)) this.#taken += 1
      }
      if (this.#counts && this.#taken > before && tunnel.writable)
        tunnel.write(encodeTaken(this.#taken))
    }
  }

  async #take({ channel, payload }: Piece): Promise<void> {
    const { json, shell } = this.#options
    if (channel === EXEC_CHANNEL.TAKEN) {
      this.#told(decodeTaken(payload))
    } else if (channel === EXEC_CHANNEL.EXIT) {
      this.#exit = execExitSchema.parse(JSON.parse(payload.toString()))
      if (json) await shell.terminal.out(`${JSON.stringify({ exit: this.#exit })}\n`)
    } else if (channel === EXEC_CHANNEL.STDOUT || channel === EXEC_CHANNEL.STDERR) {
      const stream = channel === EXEC_CHANNEL.STDOUT ? 'stdout' : 'stderr'
      if (json) await shell.terminal.out(`${JSON.stringify({ [stream]: payload.toString() })}\n`)
      else await writeAll(shell.stdio[stream], payload)
    }
  }

  /** So many frames of ours are the command's. On a new tunnel it is where to begin. */
  #told(taken: number | null): void {
    if (taken === null || !this.#log.has(taken) || taken > (this.#next ?? taken))
      throw unreadable(`it has taken ${taken ?? 'no number'} of ${this.#log.end} frames`)
    this.#counts = true
    this.#next ??= taken
    this.#log.release(taken)
    this.#flow()
  }

  /** Sends what the tunnel takes, and lets standard input come while it can be kept. */
  #flow(): void {
    let more = true
    while (more) more = this.#sendNext()
    if (!this.#counts && this.#log.bytes > MAX_UNTOLD_BYTES) this.#log.release(this.#next ?? 0)
    if (!this.#inputFlows) return
    const { stdin } = this.#options.shell.stdio
    const isHeld = this.#counts ? this.#log.isFull : this.#next !== this.#log.end
    if (isHeld) stdin.pause()
    else if (stdin.isPaused()) stdin.resume()
  }

  /** Whether there was a frame to send, and room for it. */
  #sendNext(): boolean {
    const tunnel = this.#tunnel
    if (tunnel?.writable !== true || tunnel.writableNeedDrain || this.#next === null) return false
    const frame = this.#log.at(this.#next)
    if (frame === undefined) return false
    this.#next += 1
    tunnel.write(frame)
    return true
  }

  /** Standard input to its end, or until the command has ended. */
  #sendInput(): { stop(): void } {
    const { stdin } = this.#options.shell.stdio
    const onData = (data: Buffer | string): void => {
      const bytes = Buffer.from(data)
      for (let at = 0; at < bytes.length; at += MAX_EXEC_PAYLOAD_BYTES)
        this.#add(EXEC_CHANNEL.STDIN, bytes.subarray(at, at + MAX_EXEC_PAYLOAD_BYTES))
    }
    const onEnd = (): void => {
      this.#inputFlows = false
      this.#add(EXEC_CHANNEL.STDIN, Buffer.of())
    }
    this.#inputFlows = true
    stdin.on('data', onData).on('end', onEnd)
    return {
      stop: () => {
        this.#inputFlows = false
        stdin.off('data', onData).off('end', onEnd).pause()
      },
    }
  }

  #add(channel: ExecChannel, payload: Uint8Array): void {
    this.#log.add(encodeExecFrame(channel, payload))
    this.#flow()
  }

  #tellSize(): void {
    const { columns, rows } = this.#options.shell.stdio.stdout
    if (this.#tunnel?.writable === true) this.#tunnel.write(encodeResize(columns || 80, rows || 24))
  }

  /** Where commands can be come back to, only a goodbye has this one hung up at once. */
  #leave(): void {
    if (this.#counts) this.#tunnel?.end()
    else this.#tunnel?.destroy()
  }
}

const unreadable = (why: string): Failure =>
  new Failure(EXIT.refused, `the node's stream cannot be read: ${why}`, {
    code: 'tunnel_malformed',
  })
