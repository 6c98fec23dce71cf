/** Ctrl-C, SIGTERM, a closed terminal, a supervisor that is gone: each asks this process to stop. */

export type StopRequests = {
  /** Aborted by the first request: finish what runs, then end. */
  readonly stop: AbortSignal
  /** Aborted by the second: end at once. */
  readonly kill: AbortSignal
}

/** npm passes Ctrl-C on to a process that got it from the terminal, too: two so close are one. */
const SAME_REQUEST_MS = 500
/** After the second request, what listens to `kill` has this long. */
const LAST_MOMENT_MS = 250

export function listenForStops(): StopRequests {
  const stop = new AbortController()
  const kill = new AbortController()
  let firstAt = 0
  const request = () => {
    if (!stop.signal.aborted) {
      firstAt = performance.now()
      stop.abort()
    } else if (performance.now() - firstAt >= SAME_REQUEST_MS && !kill.signal.aborted) {
      kill.abort()
      setTimeout(() => process.exit(130), LAST_MOMENT_MS)
    }
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, request)
  if (process.connected) {
    process.on('disconnect', request)
    process.channel?.unref()
  }
  return { stop: stop.signal, kill: kill.signal }
}

/** Resolves when the signal is aborted. */
export const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
