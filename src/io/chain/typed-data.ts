/**
 * EIP-712 digests of what Baseload's contracts check, by hand: domain separators and type hashes are made once, and a digest
 * is then two Keccaks over a few hundred bytes at most. The types stand in contracts/src/interfaces; the tests compare every
 * digest with viem's and with the contracts' own. https://eips.ethereum.org/EIPS/eip-712
 */
import { hexOf, writeHex, type Address, type Hex } from '../../core/base/hex.ts'
import type { ChannelConfig } from '../../core/ledger/channel-config.ts'
import { keccak256 } from '../keys/secp256k1.ts'

/** Where a signature counts: nowhere else. */
export type Domain = { readonly chainId: number; readonly verifyingContract: Address }

/** One row of a claim as its authorizer signs it. */
export type ClaimEntry = {
  readonly channelId: Hex
  readonly maxClaimableAmount: bigint
  readonly totalClaimed: bigint
}

export type ChannelsTypedData = {
  channelId(config: ChannelConfig): Hex
  voucherDigest(channelId: Hex, maxClaimableAmount: bigint): Uint8Array
  claimBatchDigest(entries: readonly ClaimEntry[]): Uint8Array
  refundDigest(channelId: Hex, nonce: bigint, amount: bigint): Uint8Array
}

export type Iou = {
  readonly gateway: Address
  readonly provider: Address
  readonly epoch: number
  readonly cumulative: bigint
}

export type PayoutsTypedData = { iouDigest(iou: Iou): Uint8Array }

export type LeaseOrder = {
  readonly tenant: Address
  readonly gateway: Address
  readonly terms: Hex
  readonly maxRate: bigint
  readonly deposit: bigint
  readonly minNotice: number
  readonly openBy: number
  readonly salt: Hex
}

export type LeaseBid = {
  readonly provider: Address
  readonly node: Hex
  readonly rate: bigint
  readonly notice: number
  readonly openBy: number
}

export type LeasesTypedData = {
  /** The order's struct hash: the lease's id. */
  orderId(order: LeaseOrder): Hex
  orderDigest(order: LeaseOrder): Uint8Array
  bidDigest(orderId: Hex, bid: LeaseBid): Uint8Array
  closeDigest(lease: Hex): Uint8Array
}

const CLAIM_ENTRY = 'ClaimEntry(bytes32 channelId,uint128 maxClaimableAmount,uint128 totalClaimed)'

const TYPE = {
  domain: typeHash(
    'EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)',
  ),
  channelConfig: typeHash(
    'ChannelConfig(address payer,address payerAuthorizer,address receiver,address receiverAuthorizer,address token,uint40 withdrawDelay,bytes32 salt)',
  ),
  voucher: typeHash('Voucher(bytes32 channelId,uint128 maxClaimableAmount)'),
  refund: typeHash('Refund(bytes32 channelId,uint256 nonce,uint128 amount)'),
  claimEntry: typeHash(CLAIM_ENTRY),
  claimBatch: typeHash(`ClaimBatch(ClaimEntry[] claims)${CLAIM_ENTRY}`),
  iou: typeHash('Iou(address gateway,address provider,uint32 epoch,uint128 cumulative)'),
  order: typeHash(
    'Order(address tenant,address gateway,bytes32 terms,uint96 maxRate,uint128 deposit,uint32 minNotice,uint40 openBy,bytes32 salt)',
  ),
  bid: typeHash(
    'Bid(bytes32 order,address provider,bytes32 node,uint96 rate,uint32 notice,uint40 openBy)',
  ),
  close: typeHash('Close(bytes32 lease)'),
}

export function channelsTypedData(domain: Domain): ChannelsTypedData {
  const separator = separatorOf('x402 Batch Settlement', domain)
  return {
    channelId: (config) =>
      hexOf(
        digest(
          separator,
          struct(TYPE.channelConfig, 7)
            .hex(config.payer)
            .hex(config.payerAuthorizer)
            .hex(config.receiver)
            .hex(config.receiverAuthorizer)
            .hex(config.token)
            .number(config.withdrawDelay)
            .hex(config.salt)
            .hash(),
        ),
      ),
    voucherDigest: (channelId, maxClaimableAmount) =>
      digest(separator, struct(TYPE.voucher, 2).hex(channelId).integer(maxClaimableAmount).hash()),
    claimBatchDigest(entries) {
      const hashes = new Uint8Array(32 * entries.length)
      for (const [index, entry] of entries.entries()) {
        const hash = struct(TYPE.claimEntry, 3)
          .hex(entry.channelId)
          .integer(entry.maxClaimableAmount)
          .integer(entry.totalClaimed)
          .hash()
        hashes.set(hash, 32 * index)
      }
      return digest(separator, struct(TYPE.claimBatch, 1).bytes(keccak256(hashes)).hash())
    },
    refundDigest: (channelId, nonce, amount) =>
      digest(
        separator,
        struct(TYPE.refund, 3).hex(channelId).integer(nonce).integer(amount).hash(),
      ),
  }
}

export function payoutsTypedData(domain: Domain): PayoutsTypedData {
  const separator = separatorOf('Baseload Payouts', domain)
  return {
    iouDigest: ({ gateway, provider, epoch, cumulative }) =>
      digest(
        separator,
        struct(TYPE.iou, 4).hex(gateway).hex(provider).number(epoch).integer(cumulative).hash(),
      ),
  }
}

export function leasesTypedData(domain: Domain): LeasesTypedData {
  const separator = separatorOf('Baseload Leases', domain)
  return {
    orderId: (order) => hexOf(orderHash(order)),
    orderDigest: (order) => digest(separator, orderHash(order)),
    bidDigest: (orderId, bid) =>
      digest(
        separator,
        struct(TYPE.bid, 6)
          .hex(orderId)
          .hex(bid.provider)
          .hex(bid.node)
          .integer(bid.rate)
          .number(bid.notice)
          .number(bid.openBy)
          .hash(),
      ),
    closeDigest: (lease) => digest(separator, struct(TYPE.close, 1).hex(lease).hash()),
  }
}

const orderHash = (order: LeaseOrder): Uint8Array =>
  struct(TYPE.order, 8)
    .hex(order.tenant)
    .hex(order.gateway)
    .hex(order.terms)
    .integer(order.maxRate)
    .integer(order.deposit)
    .number(order.minNotice)
    .number(order.openBy)
    .hex(order.salt)
    .hash()

function typeHash(type: string): Uint8Array {
  return keccak256(new TextEncoder().encode(type))
}

function separatorOf(name: string, { chainId, verifyingContract }: Domain): Uint8Array {
  return struct(TYPE.domain, 4)
    .bytes(typeHash(name))
    .bytes(typeHash('1'))
    .number(chainId)
    .hex(verifyingContract)
    .hash()
}

/** keccak256(0x1901 ‖ separator ‖ struct hash). */
function digest(separator: Uint8Array, structHash: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(66)
  bytes[0] = 0x19
  bytes[1] = 0x01
  bytes.set(separator, 2)
  bytes.set(structHash, 34)
  return keccak256(bytes)
}

const struct = (type: Uint8Array, fields: number): Struct => new Struct(type, fields)

/** `abi.encode(type hash, fields…)` of static fields: 32 bytes each, big-endian, filled up with zeros on the left. */
class Struct {
  readonly #bytes: Uint8Array
  #end = 32

  constructor(type: Uint8Array, fields: number) {
    this.#bytes = new Uint8Array(32 * (fields + 1))
    this.#bytes.set(type)
  }

  /** An address or 32 bytes. */
  hex(value: Hex): this {
    this.#end += 32
    const start = this.#end - (value.length - 2) / 2
    if (start < this.#end - 32) throw new RangeError(`more than 32 bytes: ${value}`)
    writeHex(value, this.#bytes, start)
    return this
  }

  bytes(value: Uint8Array): this {
    this.#end += 32
    this.#bytes.set(value, this.#end - value.length)
    return this
  }

  /** From 0 to 2^53. */
  number(value: number): this {
    return this.integer(BigInt(value))
  }

  /** From 0 to 2^256 - 1. */
  integer(value: bigint): this {
    if (value < 0n || value >> 256n !== 0n) throw new RangeError(`no unsigned integer: ${value}`)
    this.#end += 32
    let at = this.#end
    for (let rest = value; rest > 0n; rest >>= 32n) {
      const word = Number(rest & 0xffff_ffffn)
      this.#bytes[at - 1] = word
      this.#bytes[at - 2] = word >>> 8
      this.#bytes[at - 3] = word >>> 16
      this.#bytes[at - 4] = word >>> 24
      at -= 4
    }
    return this
  }

  hash(): Uint8Array {
    if (this.#end !== this.#bytes.length) throw new Error('a struct with fields missing')
    return keccak256(this.#bytes)
  }
}
