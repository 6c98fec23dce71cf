/** A streamed answer, from the request's last byte to its end: each way it can break has a name. */
import type { IncomingMessage } from 'node:http'
import { Fault, reasonOf } from '../../../core/base/refusal.ts'
import { isRecord } from '../../../core/protocol/read-fields.ts'
import { malformed, readAnswerChunk, type AnswerChunk } from './answer-chunk.ts'
import { SseParser, type SseEvent } from './sse-parser.ts'
import { upstreamError } from './upstream-error.ts'
import { parseJson, readJson, type Upstream } from './upstream.ts'

export type Ask = {
  readonly path: '/chat/completions' | '/completions'
  readonly body: Readonly<Record<string, unknown>>
  readonly headers: Readonly<Record<string, string>>
}

export type Patience = {
  /** Until the first byte: a long prompt on a slow machine, or a model that is loaded first. */
  readonly firstByteMs: number
  /** Between two reads of a running answer. */
  readonly stallMs: number
}

const GOODBYE_MS = 1_000

/** The upstream said no before it began: its status and words, for the caller to judge. */
export class UpstreamSaidNo extends Error {
  readonly status: number
  readonly body: unknown

  constructor(status: number, body: unknown) {
    super(`the upstream answered ${status}`)
    this.status = status
    this.body = body
  }
}

/**
 * Yields what each read from the network completed, until the server told its finish. A stream that ends
 * before that, stalls or is malformed is a retryable Fault, never a clean end. Leaving early (abort, return)
 * closes the upstream request at once.
 */
export async function* streamAnswer(
  upstream: Upstream,
  ask: Ask,
  patience: Patience,
  signal: AbortSignal,
): AsyncGenerator<AnswerChunk[], void, void> {
  const impatient = new AbortController()
  const either = AbortSignal.any([signal, impatient.signal])
  const answer = await withinTime(patience.firstByteMs, impatient, () =>
    upstream.open(ask.path, { body: ask.body, headers: ask.headers, signal: either }),
  )
  let whole = false
  try {
    if (answer.statusCode !== 200)
      throw new UpstreamSaidNo(answer.statusCode ?? 0, (await readJson(answer, either)).body)
    if (!/text\/event-stream/i.test(answer.headers['content-type'] ?? ''))
      throw new Fault('upstream_not_streaming', 'the upstream does not stream its answers')
    yield* readStream(answer, patience, impatient, signal)
    whole = true
  } finally {
    if (!whole) answer.destroy()
  }
}

async function* readStream(
  answer: IncomingMessage,
  patience: Patience,
  impatient: AbortController,
  signal: AbortSignal,
): AsyncGenerator<AnswerChunk[], void, void> {
  const parser = new SseParser()
  const packets: AsyncIterator<Buffer> = answer[Symbol.asyncIterator]()
  let finished = false
  for (;;) {
    const packet = await withinTime(patience.stallMs, impatient, () => packets.next()).catch(
      (error: unknown) => {
        signal.throwIfAborted()
        // The answer was complete; only its usage or goodbye is missing.
        return finished ? null : Promise.reject(cut(error))
      },
    )
    if (packet === null) return
    const events = packet.done === true ? parser.end() : parser.push(packet.value)
    const done = events.findIndex((event) => event.data.trim() === '[DONE]')
    const chunks = (done < 0 ? events : events.slice(0, done)).map(readEvent)
    finished ||= chunks.some((chunk) => chunk.finish !== null)
    if (chunks.length > 0) yield chunks
    if (done < 0 && packet.done !== true) continue
    if (!finished) throw cut(new Error('it ended without a finish_reason'))
    if (packet.done !== true) void readOut(answer, packets)
    return
  }
}

/** After the goodbye: reads on to the true end, so that the connection can serve again. */
async function readOut(answer: IncomingMessage, packets: AsyncIterator<Buffer>): Promise<void> {
  const timer = setTimeout(() => answer.destroy(), GOODBYE_MS)
  try {
    while ((await packets.next()).done !== true);
  } catch {
    // The answer is complete already; this connection is just not used again.
  } finally {
    clearTimeout(timer)
  }
}

function readEvent(event: SseEvent): AnswerChunk {
  const body = parseJson(event.data)
  if (body === null) throw malformed(`not JSON: ${event.data.slice(0, 60)}`)
  const error = isRecord(body) ? body['error'] : undefined
  if (error == null && event.type !== 'error') return readAnswerChunk(body)
  const told = isRecord(error) ? error['code'] : null
  throw upstreamError(typeof told === 'number' ? told : 500, body)
}

/** Runs one step of the exchange; a step that takes too long aborts the whole of it with a Fault. */
async function withinTime<T>(
  ms: number,
  impatient: AbortController,
  step: () => Promise<T>,
): Promise<T> {
  const stalled = new Fault('upstream_stalled', `the upstream was silent for ${ms} ms`, {
    retryable: true,
  })
  const timer = setTimeout(() => impatient.abort(stalled), ms)
  try {
    return await step()
  } catch (error) {
    throw impatient.signal.aborted ? stalled : error
  } finally {
    clearTimeout(timer)
  }
}

const cut = (error: unknown): Fault =>
  error instanceof Fault
    ? error
    : new Fault('upstream_cut', `the upstream's answer broke off: ${reasonOf(error)}`, {
        cause: error,
        retryable: true,
      })
