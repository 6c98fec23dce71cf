/** Channels that nobody signed, for tests of the store. */
import { randomBytes } from 'node:crypto'
import { hexOf, ZERO_ADDRESS, type Hex } from '../../core/base/hex.ts'
import type { ChannelPlace, ChannelRecord, ChannelStore } from './channel-records.ts'

export const randomHex = (bytes: number): Hex => hexOf(randomBytes(bytes))

export const channelPlace: ChannelPlace = { chainId: 31_337, contract: `0x${'c0'.repeat(20)}` }

/** A channel of this account with so many units at block 1. */
export const testChannel = (
  store: ChannelStore,
  account: string,
  balanceUnits: bigint,
): Promise<ChannelRecord> =>
  store.bindChannel(channelPlace, {
    id: randomHex(32),
    account,
    config: {
      payer: randomHex(20),
      payerAuthorizer: ZERO_ADDRESS,
      receiver: `0x${'0e'.repeat(20)}`,
      receiverAuthorizer: `0x${'0e'.repeat(20)}`,
      token: `0x${'70'.repeat(20)}`,
      withdrawDelay: 3_600,
      salt: randomHex(32),
    },
    final: { balanceUnits, claimedUnits: 0n, block: 1n },
  })
