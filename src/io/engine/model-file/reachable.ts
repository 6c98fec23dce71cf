/**
 * Whom a download may talk to. A web server can answer "look over there", and over there could be this
 * machine or its neighbours; so a redirect may only lead to the public internet, unless the provider's own
 * address was on loopback to begin with.
 */
import dns from 'node:dns'
import { BlockList, isIP, type LookupFunction } from 'node:net'
import { Fault } from '../../../core/base/refusal.ts'

const notPublic = new BlockList()
for (const [net, bits] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
] as const)
  notPublic.addSubnet(net, bits, 'ipv4')
for (const [net, bits] of [
  ['::', 127],
  ['fc00::', 7],
  ['fe80::', 10],
  ['ff00::', 8],
] as const)
  notPublic.addSubnet(net, bits, 'ipv6')

const bare = (hostname: string): string => hostname.replace(/^\[|\]$/g, '')

/** Whether the name or address is this machine itself, without asking anyone. */
export function isLoopback(hostname: string): boolean {
  const host = bare(hostname).toLowerCase()
  if (isIP(host) === 4) return host.startsWith('127.')
  return host === '::1' || host === 'localhost' || host.endsWith('.localhost')
}

/** An IP address that everyone on the internet means the same machine by. */
export function isPublicAddress(address: string): boolean {
  const family = isIP(address)
  return family !== 0 && !notPublic.check(address, family === 6 ? 'ipv6' : 'ipv4')
}

/** Throws a Fault when a redirect of `source` may not lead to `next`. Names are judged when they are looked up. */
export function checkRedirect(source: URL, next: URL): void {
  if (isLoopback(source.hostname) && /^https?:$/.test(next.protocol)) return
  if (next.protocol !== 'https:') throw astray(next, 'it leaves https')
  const host = bare(next.hostname)
  if (next.host === source.host) return
  if (isLoopback(host) || (isIP(host) !== 0 && !isPublicAddress(host)))
    throw astray(next, 'it leads into a private network')
}

/**
 * How names on the way from `source` are looked up: a name that stands for a private address is refused at
 * the moment of connecting, so that no second answer can slip past the check. Undefined: as usual.
 */
export function guardedLookup(source: URL, next: URL): LookupFunction | undefined {
  if (isLoopback(source.hostname) || next.host === source.host) return undefined
  return (hostname, options, callback) => {
    dns.lookup(hostname, { ...options, all: true }, (error, addresses) => {
      const bad = error ? undefined : addresses.find(({ address }) => !isPublicAddress(address))
      const first = addresses?.[0]
      if (error || bad || !first)
        callback(error ?? astray(next, `${hostname} is ${bad?.address}, in a private network`), '')
      else if (options.all === true) callback(null, addresses)
      else callback(null, first.address, first.family)
    })
  }
}

const astray = (next: URL, why: string): Fault =>
  new Fault('model_redirect', `the download was sent to ${next.origin} and stopped: ${why}`)
