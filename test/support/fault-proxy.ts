/** A TCP proxy that misbehaves on demand, between a node and its gateway in tests. */

export type FaultMode =
  | { readonly kind: 'pass' }
  /** Each piece waits so long, plus up to `jitterMs`; order is kept. */
  | { readonly kind: 'delay'; readonly delayMs: number; readonly jitterMs?: number }
  /** Takes bytes and passes none on: a peer that hangs, or a cable that is out. */
  | { readonly kind: 'swallow' }
  /** One byte now and then. */
  | { readonly kind: 'drip'; readonly bytes: number; readonly everyMs: number }
  | { readonly kind: 'throttle'; readonly bytesPerSecond: number }
  /** Refuses new connections with a reset. */
  | { readonly kind: 'refuse' }

export type FaultProxy = {
  readonly port: number
  /** Applies to connections there are and those to come. */
  set(mode: FaultMode): void
  /** Resets every connection (RST); returns how many. */
  cutAll(): number
  close(): Promise<void>
}

export function startFaultProxy(_options: { targetPort: number }): Promise<FaultProxy> {
  throw new Error('being built')
}
