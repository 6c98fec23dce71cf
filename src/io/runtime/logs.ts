/** A container's output so far, and what comes, over its restarts. */
import { once } from 'node:events'
import type { Context } from './context.ts'
import { ask } from './engine-socket.ts'
import { asReadable } from './files.ts'
import { splitOutput } from './output.ts'
import type { ReplicaWatch } from './replica-watch.ts'
import type { LogQuery, Output } from './runtime.ts'

export async function* readLogs(
  context: Context,
  watch: ReplicaWatch,
  query: LogQuery,
  signal: AbortSignal,
): AsyncGenerator<Output, void, void> {
  const lines = new LineClock(query.timestamps === true)
  if (query.follow !== true) return yield* lines.pass(readSoFar(context, watch.id, query))
  let part: LogQuery = query
  while (!signal.aborted) {
    // Asked for before the stream ends, as it does with the container, so that no start is missed.
    const nextStart = watch.nextStart()
    yield* lines.pass(readOn(context, watch.id, part, signal))
    await untilEither(nextStart, signal)
    if (!watch.watching || watch.status().stopped !== null) return
    part = { sinceMs: lines.lastMs }
  }
}

/**
 * Lets each line pass once: engines are slow to notice an exit, so what follows the next start may come twice. All
 * lines are read with their times, which are taken off where nobody asked for them.
 */
class LineClock {
  readonly #show: boolean
  #last = ''

  constructor(show: boolean) {
    this.#show = show
  }

  get lastMs(): number {
    return Date.parse(this.#last) || 0
  }

  async *pass(output: AsyncIterable<Output>): AsyncGenerator<Output, void, void> {
    const seen = this.#last
    for await (const { stream, data } of output) {
      const space = data.indexOf(' ')
      const time = data.subarray(0, Math.max(space, 0)).toString()
      // Times have nine digits of a second in one zone: as text they compare like times.
      if (time <= seen) continue
      this.#last = time
      yield { stream, data: this.#show ? data : data.subarray(space + 1) }
    }
  }
}

async function* readSoFar(
  { docker }: Context,
  id: string,
  query: LogQuery,
): AsyncGenerator<Output, void, void> {
  const options = { ...optionsOf(query), follow: false as const }
  yield* splitOutput([await ask('read logs', docker.getContainer(id).logs(options))])
}

async function* readOn(
  { docker }: Context,
  id: string,
  query: LogQuery,
  signal: AbortSignal,
): AsyncGenerator<Output, void, void> {
  const options = { ...optionsOf(query), follow: true as const }
  const stream = asReadable(await ask('follow logs', docker.getContainer(id).logs(options)))
  const stop = () => void stream.destroy()
  signal.addEventListener('abort', stop, { once: true })
  try {
    if (!signal.aborted) yield* splitOutput(stream)
  } catch (thrown) {
    if (!signal.aborted) throw thrown
  } finally {
    signal.removeEventListener('abort', stop)
    stop()
  }
}

const optionsOf = ({ sinceMs = 0, tail }: LogQuery) => ({
  stdout: true,
  stderr: true,
  timestamps: true,
  // In seconds; engines read the fraction, too.
  ...(sinceMs > 0 && { since: sinceMs / 1000 }),
  ...(tail !== undefined && { tail }),
})

async function untilEither(start: Promise<void>, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return
  const done = new AbortController()
  await Promise.race([start, once(signal, 'abort', { signal: done.signal }).catch(() => {})])
  done.abort()
}
