/** HTTP/1.1 by hand: what no client library would send, pipelined, dripped or broken off, and what came back. */
import { connect, type Socket } from 'node:net'

export type RawAnswer = { readonly status: number; readonly head: string; readonly body: string }

export class RawConnection {
  readonly socket: Socket
  readonly closed: Promise<void>
  #received = ''
  #waiting: ((answer: RawAnswer | null) => void)[] = []
  #over = false

  constructor(port: number) {
    this.socket = connect({ port, host: '127.0.0.1', noDelay: true })
    this.socket.setEncoding('latin1')
    this.socket.on('data', (text: string) => this.#read(text))
    this.socket.on('error', () => {})
    this.closed = new Promise((resolve) => {
      this.socket.once('close', () => {
        this.#over = true
        for (const settle of this.#waiting.splice(0)) settle(null)
        resolve()
      })
    })
  }

  get open(): boolean {
    return !this.#over
  }

  /** The next answer; null when the connection closed before it. */
  answer(): Promise<RawAnswer | null> {
    if (this.#over) return Promise.resolve(null)
    return new Promise((resolve) => {
      this.#waiting.push(resolve)
      this.#read('')
    })
  }

  /** Sends a whole request and takes the next answer that nobody waits for yet. */
  ask(request: Uint8Array | string): Promise<RawAnswer | null> {
    const answer = this.answer()
    this.socket.write(request)
    return answer
  }

  #read(text: string): void {
    this.#received += text
    while (this.#waiting.length > 0) {
      const found = readAnswer(this.#received)
      if (found === null) return
      this.#received = this.#received.slice(found.length)
      // The invitation to go on is no answer.
      if (found.answer.status >= 200) this.#waiting.shift()?.(found.answer)
    }
  }
}

/** The first whole answer of what was received, and how much of it that was. */
function readAnswer(received: string): { answer: RawAnswer; length: number } | null {
  const headEnd = received.indexOf('\r\n\r\n')
  if (headEnd < 0) return null
  const head = received.slice(0, headEnd)
  const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(head)?.[1] ?? 0)
  const begin = headEnd + 4
  const end = /\r\ntransfer-encoding: chunked/i.test(head)
    ? endOfChunks(received, begin)
    : begin + Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1] ?? 0)
  if (end === null || end > received.length) return null
  return { answer: { status, head, body: received.slice(begin, end) }, length: end }
}

function endOfChunks(received: string, begin: number): number | null {
  for (let at = begin; ;) {
    const line = received.indexOf('\r\n', at)
    if (line < 0) return null
    const size = Number.parseInt(received.slice(at, line), 16)
    at = line + 2 + size + 2
    if (size === 0) return at
    if (at > received.length) return null
  }
}
