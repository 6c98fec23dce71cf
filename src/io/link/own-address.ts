/**
 * Which addresses lead to this gateway. A node signs what it dialled: a gateway that proves itself to a node which
 * dialled another would lend its name to whoever stands between the two.
 */
import { isIPv4 } from 'node:net'

/**
 * `address` as in HELLO. `own`: the addresses that the operator named; without any, the Host header of the upgrade must
 * say the same, which stops a relay only where a proxy in front serves its own names alone. What a node dialled on its own
 * machine is its provider's doing.
 */
export function isOwnAddress(
  address: string,
  own: readonly string[],
  hostHeader: string | undefined,
): boolean {
  const dialled = address.toLowerCase()
  if (isLoopback(dialled)) return true
  if (own.length > 0) return own.some((one) => one.toLowerCase() === dialled)
  return dialled === hostHeader?.toLowerCase()
}

/** Of a gateway's URL, as nodes write it: the host, and the port where it is not the scheme's own. */
export const addressOf = (url: string): string => new URL(url).host

function isLoopback(address: string): boolean {
  const host = address.replace(/:\d+$/, '')
  return host === 'localhost' || host === '[::1]' || (isIPv4(host) && host.startsWith('127.'))
}
