/** Anything that can be signed, for property tests. */
import fc from 'fast-check'
import { hexOf, type Hex } from '../../core/base/hex.ts'
import type { ChannelConfig } from '../../core/ledger/channel-config.ts'
import type { ClaimEntry, Domain, Iou, LeaseBid, LeaseOrder } from './typed-data.ts'

const bytes = (length: number): fc.Arbitrary<Hex> =>
  fc.uint8Array({ minLength: length, maxLength: length }).map(hexOf)
const address = bytes(20)
const number = (bits: number): fc.Arbitrary<number> =>
  fc.bigInt({ min: 0n, max: 2n ** BigInt(bits) - 1n }).map(Number)

export const bytes32 = bytes(32)
export const uint = (bits: number): fc.Arbitrary<bigint> =>
  fc.bigInt({ min: 0n, max: 2n ** BigInt(bits) - 1n })

export const domain: fc.Arbitrary<Domain> = fc.record({
  chainId: number(32),
  verifyingContract: address,
})

export const channelConfig: fc.Arbitrary<ChannelConfig> = fc.record({
  payer: address,
  payerAuthorizer: address,
  receiver: address,
  receiverAuthorizer: address,
  token: address,
  withdrawDelay: number(40),
  salt: bytes32,
})

export const batchOf = (most: number): fc.Arbitrary<ClaimEntry[]> =>
  fc.array(
    fc.record({ channelId: bytes32, maxClaimableAmount: uint(128), totalClaimed: uint(128) }),
    { minLength: 1, maxLength: most },
  )

export const iou: fc.Arbitrary<Iou> = fc.record({
  gateway: address,
  provider: address,
  epoch: number(32),
  cumulative: uint(128),
})

export const order: fc.Arbitrary<LeaseOrder> = fc.record({
  tenant: address,
  gateway: address,
  terms: bytes32,
  maxRate: uint(96),
  deposit: uint(128),
  minNotice: number(32),
  openBy: number(40),
  salt: bytes32,
})

export const bid: fc.Arbitrary<LeaseBid> = fc.record({
  provider: address,
  node: bytes32,
  rate: uint(96),
  notice: number(32),
  openBy: number(40),
})
