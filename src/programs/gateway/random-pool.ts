/** Random bytes for ids and seeds, drawn from the system some thousand at a time: one call each costs more than the request's parsing. */
import { randomFillSync } from 'node:crypto'

const POOL_BYTES = 8 * 1024

export type RandomPool = {
  /** A view that stays as it is until the pool has gone round: use it at once. */
  bytes(count: number): Uint8Array
  uint32(): number
  /** [0, 1) with 32 bits. */
  readonly unit: () => number
}

export function createRandomPool(): RandomPool {
  const pool = Buffer.allocUnsafe(POOL_BYTES)
  let used = POOL_BYTES
  function bytes(count: number): Buffer {
    if (used + count > POOL_BYTES) {
      randomFillSync(pool)
      used = 0
    }
    used += count
    return pool.subarray(used - count, used)
  }
  const uint32 = (): number => bytes(4).readUInt32LE(0)
  return { bytes, uint32, unit: () => uint32() / 2 ** 32 }
}
