/** Channels of many payers over a store that answers at once, or over a real one, and vouchers signed beforehand. */
import { createPublicClient, http } from 'viem'
import { hexOf, ZERO_ADDRESS, type Address, type Hex } from '../../src/core/base/hex.ts'
import type { Voucher } from '../../src/core/ledger/channel-config.ts'
import { channelsTypedData } from '../../src/io/chain/typed-data.ts'
import { addressOf, secp256k1 } from '../../src/io/keys/secp256k1.ts'
import { randomHex } from '../../src/io/store/channel-kit.ts'
import type { NewChannel } from '../../src/io/store/channel-records.ts'
import { FakeChain } from '../../src/programs/gateway/money/fake-chain.ts'

export const OPERATOR: Address = `0x${'0e'.repeat(20)}`
const CHANNELS: Address = `0x${'c0'.repeat(20)}`
const TOKEN: Address = `0x${'70'.repeat(20)}`
export const CHAIN_ID = 31_337

/** Nobody asks it anything: channels are bound already. */
export const noChain = (): FakeChain =>
  new FakeChain({
    chainId: CHAIN_ID,
    addresses: { channels: CHANNELS, token: TOKEN },
    client: createPublicClient({ transport: http('http://127.0.0.1:9') }),
    operator: OPERATOR,
  })

export const typedData = channelsTypedData({ chainId: CHAIN_ID, verifyingContract: CHANNELS })
export const viemDomain = {
  name: 'x402 Batch Settlement',
  version: '1',
  chainId: CHAIN_ID,
  verifyingContract: CHANNELS,
} as const

export class Payer {
  readonly #key = secp256k1.makeSecretKey()
  readonly address = addressOf(secp256k1.publicKeyOf(this.#key))
  readonly config = {
    payer: this.address,
    payerAuthorizer: ZERO_ADDRESS,
    receiver: OPERATOR,
    receiverAuthorizer: OPERATOR,
    token: TOKEN,
    withdrawDelay: 3_600,
    salt: randomHex(32),
  }
  readonly id: Hex = typedData.channelId(this.config)

  voucher(units: bigint): Voucher & { readonly hex: Hex } {
    const signature = secp256k1.sign(typedData.voucherDigest(this.id, units), this.#key)
    return { channelId: this.id, maxClaimable: units, signature, hex: hexOf(signature) }
  }

  channel(account: string, balanceUnits: bigint): NewChannel {
    const final = { balanceUnits, claimedUnits: 0n, block: 1n }
    return { id: this.id, account, config: this.config, final }
  }
}
