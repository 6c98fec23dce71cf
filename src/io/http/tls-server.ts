/** A node:https server that finds its certificates by host name, and does not wait for handshakes for ever. */
import type { ServerOptions } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { SecureContext } from 'node:tls'

export type TlsOptions = {
  /** The certificate for a host name; null: the one for all others is shown. Rejects: the handshake fails. */
  readonly contextFor: (name: string) => Promise<SecureContext | null>
  /**
   * Called once with what sets the certificate, PEM, for clients that name no host, as with an address, or one that no
   * certificate is for. Without any, their handshakes fail.
   */
  readonly onFallback: (use: (pem: { readonly cert: string; readonly key: string }) => void) => void
}

/** Time for a slow line; and for a certificate that is only being ordered, which `contextFor` must bound by less. */
const HANDSHAKE_MS = 15_000
const LEAST_VERSION = 'TLSv1.2'

/** At most `maxHandshakes` are under way: whoever connects and says nothing holds a file descriptor, and no more. */
export function createTlsServer(
  settings: ServerOptions,
  { contextFor, onFallback }: TlsOptions,
  maxHandshakes: number,
): Server {
  const server = createServer({
    ...settings,
    minVersion: LEAST_VERSION,
    handshakeTimeout: HANDSHAKE_MS,
    SNICallback(name, done) {
      contextFor(name).then(
        (context) => done(null, context ?? undefined),
        (error: unknown) => done(error instanceof Error ? error : new Error(String(error))),
      )
    },
  })
  onFallback((pem) => server.setSecureContext({ ...pem, minVersion: LEAST_VERSION }))
  let handshakes = 0
  server.on('connection', (socket) => {
    handshakes += 1
    if (handshakes > maxHandshakes) socket.destroy()
  })
  // What is no TLS, or stopped on the way, can be told nothing.
  server.on('tlsClientError', (_error, socket) => void socket.destroy())
  // Each handshake ends in one of these, once.
  for (const end of ['secureConnection', 'tlsClientError'] as const)
    server.on(end, () => void (handshakes -= 1))
  return server
}
