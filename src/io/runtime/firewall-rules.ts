/**
 * The firewall around leases, as text for `iptables-restore`.
 *
 * A lease may reach its own network and the internet: not the host, not the provider's LAN, not other leases, not
 * metadata services. All of it is decided in the mangle table's PREROUTING, which no engine touches: Docker and Podman
 * rewrite `filter` and `nat` whenever they restart, and put their own rules first. There it also comes before any
 * port mapping, so that a port published on the host is the host, whatever container stands behind it.
 */
import { bridgePrefix } from './names.ts'
import { parseBlock } from './subnet.ts'

export type LeaseRules = {
  /** The lease's interface on the host; its chain has the same name. */
  readonly bridge: string
  readonly subnet: string
  /** Where the engine's name server listens; null: it is inside of the containers. */
  readonly nameServer: string | null
}

/**
 * What is not the internet: RFC 6890 and its registry (https://www.iana.org/assignments/iana-ipv4-special-registry),
 * so also RFC 1918, carrier-grade NAT, and link-local with its metadata address. Documentation blocks are left out:
 * nothing is there.
 */
export const CLOSED_BLOCKS = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '224.0.0.0/4',
  '240.0.0.0/4',
] as const

/** Metadata services of clouds that use an address outside of these blocks (Alibaba's is in 100.64.0.0/10, Azure's wire server is not). */
const METADATA = ['168.63.129.16'] as const

export const mainChain = (instance: string): string => `BASELOAD-${instance}`

/** `iptables` arguments of the rule that leads into our chain. */
export const jumpRule = (instance: string): string[] =>
  `PREROUTING -i ${bridgePrefix(instance)}+ -j ${mainChain(instance)}`.split(' ')

/** `ip6tables` arguments: leases have no IPv6, and an interface's link-local address would lead to the host. */
export const ipv6Rule = (instance: string): string[] =>
  `PREROUTING -i ${bridgePrefix(instance)}+ -j DROP`.split(' ')

/**
 * Replaces all of our chains at once. `known` are the leases' chains that exist: theirs are not written again, since
 * they count; those that no lease has any more are removed.
 */
export function rulesText(plan: {
  instance: string
  leases: readonly LeaseRules[]
  nameServers: readonly string[]
  known: readonly string[]
}): string {
  const { instance, leases, nameServers, known } = plan
  const chain = mainChain(instance)
  const fresh = leases.filter(({ bridge }) => !known.includes(bridge))
  const gone = known.filter((bridge) => !leases.some((lease) => lease.bridge === bridge))
  const main = mainRules(leases, nameServers).map((rule) => `-A ${chain} ${rule}`)
  return [
    '*mangle',
    `:${chain} - [0:0]`,
    ...fresh.map(({ bridge }) => `:${bridge} - [0:0]`),
    ...main,
    ...fresh.map(({ bridge }) => `-A ${bridge} -j RETURN`),
    ...gone.flatMap((bridge) => [`-F ${bridge}`, `-X ${bridge}`]),
    'COMMIT\n',
  ].join('\n')
}

function mainRules(leases: readonly LeaseRules[], nameServers: readonly string[]): string[] {
  return [
    // The host may connect to a lease, and so be answered.
    '-m conntrack --ctstate ESTABLISHED --ctdir REPLY -j RETURN',
    ...leases.flatMap(({ bridge, nameServer }) =>
      nameServer === null ? [] : dnsRules(`-i ${bridge} -d ${nameServer}/32`),
    ),
    '-m addrtype --dst-type LOCAL -j DROP',
    // With br_netfilter, frames between containers of one lease pass here, too.
    ...leases.map(({ bridge, subnet }) => `-i ${bridge} -d ${subnet} -j RETURN`),
    ...nameServers.filter(isIpv4).flatMap((address) => dnsRules(`-d ${address}/32`)),
    ...CLOSED_BLOCKS.map((block) => `-d ${block} -j DROP`),
    ...METADATA.map((address) => `-d ${address}/32 -j DROP`),
    ...leases.map(({ bridge }) => `-i ${bridge} -g ${bridge}`),
    // A lease that has no rules yet.
    '-j DROP',
  ]
}

const dnsRules = (from: string): string[] =>
  ['udp', 'tcp'].map((protocol) => `${from} -p ${protocol} --dport 53 -j RETURN`)

const isIpv4 = (address: string): boolean => parseBlock(`${address}/32`) !== null

/** Chains of leases in an `iptables-save`, ours only. */
export function leaseChains(saved: string, instance: string): string[] {
  const pattern = new RegExp(`^:(${bridgePrefix(instance)}[0-9a-f]{8}) `, 'gm')
  return [...saved.matchAll(pattern)].map(([, chain = '']) => chain)
}

/** Bytes that a lease's chain counted, in an `iptables-save --counters`; null: there is no such chain. */
export function countedBytes(saved: string, bridge: string): bigint | null {
  const match = new RegExp(`^\\[\\d+:(\\d+)\\] -A ${bridge} -j RETURN$`, 'm').exec(saved)
  return match?.[1] === undefined ? null : BigInt(match[1])
}
