/** A container's output so far, and what comes, over its restarts. */
import { once } from 'node:events'
import type { Context } from './context.ts'
import { ask } from './engine-socket.ts'
import { splitOutput } from './output.ts'
import type { ReplicaWatch } from './replica-watch.ts'
import type { LogQuery, Output } from './runtime.ts'

export async function* readLogs(
  context: Context,
  watch: ReplicaWatch,
  query: LogQuery,
  signal: AbortSignal,
): AsyncGenerator<Output, void, void> {
  if (query.follow !== true) return yield* readSoFar(context, watch.id, query)
  let part: LogQuery = query
  while (!signal.aborted) {
    // Engines end the stream with the container. Asked before that, so that no start is missed.
    const nextStart = watch.nextStart()
    yield* readOn(context, watch.id, part, signal)
    await untilEither(nextStart, signal)
    if (!watch.watching || !watch.running) return
    part = { timestamps: query.timestamps === true, sinceMs: watch.status().startedAt }
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
  const options = { ...optionsOf(query), follow: true as const, abortSignal: signal }
  try {
    yield* splitOutput(buffersOf(await ask('follow logs', docker.getContainer(id).logs(options))))
  } catch (thrown) {
    if (!signal.aborted) throw thrown
  }
}

const optionsOf = ({ sinceMs = 0, tail, timestamps }: LogQuery) => ({
  stdout: true,
  stderr: true,
  timestamps: timestamps === true,
  // In seconds; engines read the fraction, too.
  ...(sinceMs > 0 && { since: sinceMs / 1000 }),
  ...(tail !== undefined && { tail }),
})

async function* buffersOf(stream: NodeJS.ReadableStream): AsyncGenerator<Buffer, void, void> {
  for await (const chunk of stream) yield Buffer.from(chunk)
}

async function untilEither(start: Promise<void>, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return
  const done = new AbortController()
  await Promise.race([start, once(signal, 'abort', { signal: done.signal }).catch(() => {})])
  done.abort()
}
