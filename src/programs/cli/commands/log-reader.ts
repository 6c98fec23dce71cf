/**
 * The lines of one container's log, each once: what a second stream tells again after the first one broke is known by
 * its time. The node writes RFC 3339 and a space before each line, to the nanosecond.
 */
import type { Duplex } from 'node:stream'
import { EXEC_CHANNEL, ExecDecoder } from '../../../core/protocol/tunnel.ts'
import { EXIT, Failure } from '../shell/failure.ts'

export type LogLine = {
  readonly stream: 'stdout' | 'stderr'
  /** As the node wrote it; null where it wrote none. */
  readonly time: string | null
  /** Without the end of the line. */
  readonly text: Buffer
}

/** The last time that was read on a channel, and how many lines had it. */
type Mark = { nanos: bigint; count: number }

/** Two writers of a container may be written down this much out of order. */
const SLACK_MS = 2_000
const NEWLINE = 0x0a
const SPACE = 0x20
/** A line beyond this is shown in pieces. */
const MAX_LINE_BYTES = 1024 * 1024

export class LogReader {
  readonly #marks = new Map<number, Mark>()

  /** Where another stream has to begin, so that nothing is missing; null: nothing was read yet. */
  get sinceMs(): number | null {
    const latest = [...this.#marks.values()].reduce(
      (max, { nanos }) => (nanos > max ? nanos : max),
      -1n,
    )
    return latest < 0n ? null : Math.max(0, Number(latest / 1_000_000n) - SLACK_MS)
  }

  /** Gives each line that is new, and waits for `take`. Throws what the tunnel breaks with. */
  async read(tunnel: Duplex, take: (line: LogLine) => Promise<void>): Promise<void> {
    const again = new Map([...this.#marks].map(([channel, mark]) => [channel, { ...mark }]))
    const rests = new Map<number, Buffer>()
    const lines: { channel: number; bytes: Buffer }[] = []
    const decoder = new ExecDecoder((channel, payload) => {
      if (channel !== EXEC_CHANNEL.STDOUT && channel !== EXEC_CHANNEL.STDERR) return
      const rest = split(Buffer.concat([rests.get(channel) ?? NOTHING, payload]), (bytes) =>
        lines.push({ channel, bytes }),
      )
      rests.set(channel, rest)
    })
    const deliver = async (channel: number, bytes: Buffer): Promise<void> => {
      const line = lineOf(channel, bytes)
      if (this.#isNew(channel, line, again)) await take(line)
    }
    for await (const chunk of tunnel.iterator({ destroyOnReturn: false })) {
      const wrong = decoder.push(chunk)
      if (wrong !== null)
        throw new Failure(EXIT.refused, `the node's log cannot be read: ${wrong}`, {
          code: 'tunnel_malformed',
        })
      for (const { channel, bytes } of lines.splice(0)) await deliver(channel, bytes)
    }
    tunnel.end()
    // The log's own end; where the tunnel broke, half a line is told again, whole.
    for (const [channel, bytes] of rests) if (bytes.length > 0) await deliver(channel, bytes)
  }

  /** Notes the line, unless it was read before: `again` is what had been read when this stream began. */
  #isNew(channel: number, { time }: LogLine, again: Map<number, Mark>): boolean {
    const nanos = time === null ? null : nanosOf(time)
    if (nanos === null) return true
    const before = again.get(channel)
    if (before && nanos < before.nanos) return false
    if (before && nanos === before.nanos && before.count > 0) {
      before.count -= 1
      return false
    }
    const mark = this.#marks.get(channel)
    if (mark?.nanos === nanos) mark.count += 1
    else this.#marks.set(channel, { nanos, count: 1 })
    return true
  }
}

const NOTHING = Buffer.of()

/** Visits each whole line; gives what is left. */
function split(bytes: Buffer, visit: (line: Buffer) => void): Buffer {
  let start = 0
  for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE, start)) {
    visit(bytes.subarray(start, end))
    start = end + 1
  }
  const rest = bytes.subarray(start)
  if (rest.length <= MAX_LINE_BYTES) return rest
  visit(rest)
  return NOTHING
}

function lineOf(channel: number, bytes: Buffer): LogLine {
  const stream = channel === EXEC_CHANNEL.STDERR ? 'stderr' : 'stdout'
  const space = bytes.subarray(0, 64).indexOf(SPACE)
  const time = bytes.toString('latin1', 0, space < 0 ? Math.min(bytes.length, 64) : space)
  if (nanosOf(time) === null) return { stream, time: null, text: bytes }
  return { stream, time, text: space < 0 ? NOTHING : bytes.subarray(space + 1) }
}

/** '2027-01-31T12:00:00.123456789Z' → nanoseconds since 1970; null when it is no time. */
function nanosOf(text: string): bigint | null {
  const match = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$/.exec(text)
  if (!match) return null
  const seconds = Date.parse(`${match[1]}${match[3]}`)
  return Number.isNaN(seconds)
    ? null
    : BigInt(seconds) * 1_000_000n + BigInt((match[2] ?? '').padEnd(9, '0'))
}
