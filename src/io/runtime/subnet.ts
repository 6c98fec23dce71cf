/** Which addresses a lease's network gets: a /24 of our own range that nothing on this machine uses yet. */
import { createHash } from 'node:crypto'

/** A block of IPv4 addresses, as in `10.213.4.0/24`. */
export type Block = { readonly base: number; readonly bits: number }

/** Room for 256 leases, in a corner of RFC 1918 that neither engines nor usual home routers hand out. */
export const DEFAULT_POOL = '10.213.0.0/16'
const LEASE_BITS = 24
/** Of the 256 addresses, network, gateway and broadcast are not a container's. */
export const MAX_CONTAINERS_PER_LEASE = 253

/** Null: not an IPv4 block. */
export function parseBlock(text: string): Block | null {
  const match = /^(\d+)\.(\d+)\.(\d+)\.(\d+)\/(\d+)$/.exec(text)
  if (match === null) return null
  const [a = 0, b = 0, c = 0, d = 0, bits = 0] = match.slice(1).map(Number)
  if (Math.max(a, b, c, d) > 255 || bits > 32) return null
  return { base: ((a * 256 + b) * 256 + c) * 256 + d, bits }
}

export const blockText = ({ base, bits }: Block): string => `${addressText(base)}/${bits}`

export const addressText = (address: number): string =>
  [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join('.')

/** The gateway of a lease's network, at which the host sits. */
export const gatewayOf = ({ base }: Block): string => addressText(base + 1)

const sizeOf = ({ bits }: Block): number => 2 ** (32 - bits)

const overlap = (a: Block, b: Block): boolean =>
  a.base < b.base + sizeOf(b) && b.base < a.base + sizeOf(a)

/**
 * The blocks of `pool` that nothing in `taken` overlaps, beginning at a place that depends on the lease: node agents
 * of one machine then seldom want the same one at the same time.
 */
export function freeBlocks(pool: Block, lease: string, taken: readonly Block[]): Block[] {
  const count = 2 ** Math.max(LEASE_BITS - pool.bits, 0)
  const first = createHash('sha256').update(lease).digest().readUInt32BE(0)
  return Array.from({ length: count }, (_, index) => ({
    base: pool.base + ((first + index) % count) * 2 ** (32 - LEASE_BITS),
    bits: LEASE_BITS,
  })).filter((block) => !taken.some((other) => overlap(block, other)))
}

/** The blocks of a `/proc/net/route`; the default route is none. */
export function readRoutes(table: string): Block[] {
  return table
    .split('\n')
    .slice(1)
    .flatMap((line) => {
      const [, destination, , , , , , mask] = line.split('\t')
      if (destination === undefined || mask === undefined) return []
      const bits = swapped(mask).toString(2).replaceAll('0', '').length
      return bits === 0 ? [] : [{ base: swapped(destination), bits }]
    })
}

/** The kernel prints addresses in the machine's byte order, and all that engines run on now are little-endian. */
const swapped = (hex: string): number => Buffer.from(hex, 'hex').readUInt32LE(0)
