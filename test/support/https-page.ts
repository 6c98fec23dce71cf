/** Pages by HTTPS from a gateway on this machine, whatever the name. */
import { request } from 'node:https'
import { text } from 'node:stream/consumers'
import { TLSSocket } from 'node:tls'
import { once } from 'node:events'

export type SecurePage = {
  readonly status: number
  readonly body: string
  /** Of the certificate that was shown. */
  readonly serial: string
}

/** Rejects when the certificate is not for the name, or not of this root. */
export async function securePage(
  { name, port, root }: { name: string; port: number; root: string },
  path = '/',
  headers: Readonly<Record<string, string>> = {},
): Promise<SecurePage> {
  const host = port === 443 ? name : `${name}:${port}`
  const asked = request({
    host: '127.0.0.1',
    port,
    path,
    servername: name,
    ca: root,
    agent: false,
    headers: { ...headers, host },
    signal: AbortSignal.timeout(15_000),
  })
  asked.end()
  const [answer] = await once(asked, 'response')
  const { socket } = asked
  const serial = socket instanceof TLSSocket ? socket.getPeerCertificate().serialNumber : ''
  return { status: answer.statusCode, body: await text(answer), serial }
}
