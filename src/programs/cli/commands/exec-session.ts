/** One running command: its frames to the process's streams and back. */
import type { Duplex } from 'node:stream'
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

type SessionOptions = { readonly stdin: boolean; readonly json: boolean; readonly shell: Shell }
type Piece = { readonly channel: number; readonly payload: Buffer }

export class ExecSession {
  readonly #tunnel: Duplex
  readonly #options: SessionOptions
  #exit: ExecExit | null = null

  constructor(tunnel: Duplex, options: SessionOptions) {
    this.#tunnel = tunnel
    this.#options = options
  }

  /** Resolves when the command has ended. Throws Failure when its end was not heard. */
  async run(): Promise<ExecExit> {
    const { stops, stdio } = this.#options.shell
    const resized = (): void => {
      this.#send(encodeResize(stdio.stdout.columns || 80, stdio.stdout.rows || 24))
    }
    const interrupted = (): void => this.#frame(EXEC_CHANNEL.SIGNAL, Buffer.from('SIGINT'))
    const killed = (): void => void this.#tunnel.destroy()
    const sending = this.#options.stdin ? this.#sendInput() : null
    stdio.stdout.on('resize', resized)
    stops.stop.addEventListener('abort', interrupted)
    stops.kill.addEventListener('abort', killed)
    try {
      await this.#receive()
    } catch (error) {
      throw stops.kill.aborted ? left() : tunnelFailure(error)
    } finally {
      stdio.stdout.off('resize', resized)
      stops.stop.removeEventListener('abort', interrupted)
      stops.kill.removeEventListener('abort', killed)
      sending?.stop()
      this.#tunnel.end()
    }
    if (this.#exit) return this.#exit
    throw new Failure(EXIT.unreachable, 'the connection ended before the command did', {
      code: 'tunnel_lost',
      next: 'it may still run; run it again, or look with `baseload logs`',
    })
  }

  async #receive(): Promise<void> {
    const pieces: Piece[] = []
    const decoder = new ExecDecoder((channel, payload) =>
      pieces.push({ channel, payload: Buffer.from(payload) }),
    )
    // Our direction ends later, and in order: the iterator must not end both.
    for await (const chunk of this.#tunnel.iterator({ destroyOnReturn: false })) {
      const wrong = decoder.push(chunk)
      if (wrong !== null)
        throw new Failure(EXIT.refused, `the node's stream cannot be read: ${wrong}`, {
          code: 'tunnel_malformed',
        })
      // While nobody reads our output, the tunnel is not read either, and the command waits.
      for (const piece of pieces.splice(0)) await this.#take(piece)
    }
  }

  async #take({ channel, payload }: Piece): Promise<void> {
    const { json, shell } = this.#options
    if (channel === EXEC_CHANNEL.EXIT) {
      this.#exit = execExitSchema.parse(JSON.parse(payload.toString()))
      if (json) await shell.terminal.out(`${JSON.stringify({ exit: this.#exit })}\n`)
    } else if (channel === EXEC_CHANNEL.STDOUT || channel === EXEC_CHANNEL.STDERR) {
      const stream = channel === EXEC_CHANNEL.STDOUT ? 'stdout' : 'stderr'
      if (json) await shell.terminal.out(`${JSON.stringify({ [stream]: payload.toString() })}\n`)
      else await writeAll(shell.stdio[stream], payload)
    }
  }

  /** Standard input to its end, or until the command has ended. */
  #sendInput(): { stop(): void } {
    const { stdin } = this.#options.shell.stdio
    const onData = (data: Buffer | string): void => {
      const bytes = Buffer.from(data)
      for (let at = 0; at < bytes.length; at += MAX_EXEC_PAYLOAD_BYTES)
        this.#frame(EXEC_CHANNEL.STDIN, bytes.subarray(at, at + MAX_EXEC_PAYLOAD_BYTES))
      if (this.#tunnel.writableNeedDrain) stdin.pause()
    }
    const onEnd = (): void => this.#frame(EXEC_CHANNEL.STDIN, Buffer.of())
    const onDrain = (): void => void stdin.resume()
    stdin.on('data', onData).on('end', onEnd)
    this.#tunnel.on('drain', onDrain)
    return {
      stop: () => {
        stdin.off('data', onData).off('end', onEnd).pause()
        this.#tunnel.off('drain', onDrain)
      },
    }
  }

  #frame(channel: ExecChannel, payload: Uint8Array): void {
    this.#send(encodeExecFrame(channel, payload))
  }

  #send(frame: Uint8Array): void {
    if (this.#tunnel.writable) this.#tunnel.write(frame)
  }
}

const left = (): Failure =>
  new Failure(EXIT.interrupted, 'left the command; it may still run', { code: 'interrupted' })
