/** A tunnel to a port of a service, asked for again while what is in the way passes. */
import { setTimeout as pause } from 'node:timers/promises'
import type { TunnelStream } from '../../../io/link/tunnel-stream.ts'
import type { Access } from '../shell/client-settings.ts'
import { EXIT, Failure, failureOf } from '../shell/failure.ts'
import { openTunnel } from '../shell/tunnel-client.ts'
import { reasonOf } from '../../../core/base/refusal.ts'
import type { Target } from './target.ts'
import { isPassing, pauseMs } from './try-again.ts'

export type Way = {
  readonly access: Access
  readonly deployment: string
  readonly wish: Target & { readonly kind: 'tcp' | 'udp'; readonly port: number }
}

/** A connection waits so long for a gateway that restarts; browsers and pools wait longer. */
const PATIENCE_MS = 15_000

/** Waits for a gateway that is away for a moment: whoever connected did so to a port that listens. */
export async function dialPort(
  { access, deployment, wish }: Way,
  signal: AbortSignal,
): Promise<TunnelStream> {
  const until = performance.now() + PATIENCE_MS
  for (let failures = 1; ; failures += 1) {
    try {
      return await openTunnel(access, deployment, wish, signal)
    } catch (error) {
      const failure = failureOf(error)
      // Nothing listens: whoever connected hears so at once, as from any other port.
      const final = failure.reason === 'port_refused' || !isPassing(failure)
      if (final || performance.now() > until) throw error
      await pause(pauseMs(failures), null, { signal })
    }
  }
}

export const cannotListen = (host: string, port: number, cause: unknown): Failure =>
  new Failure(EXIT.failure, `cannot listen on ${host}, port ${port}: ${reasonOf(cause)}`, {
    code: 'port_taken',
    next: 'choose another: baseload port-forward <deployment> <local>:<port>',
    cause,
  })
