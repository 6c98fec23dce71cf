/** Whether a channel is one for this gateway, and what the chain says of it before anybody spends of it. */
import type { Address, Hex } from '../../../core/base/hex.ts'
import { Fault, type Refusal } from '../../../core/base/refusal.ts'
import type { ChannelConfig } from '../../../core/ledger/channel-config.ts'
import { MAX_CHANNEL_UNITS } from '../../../core/ledger/channel.ts'
import { readChannels } from '../../../io/chain/channels-contract.ts'
import type { FinalChannel } from '../../../io/store/channel-records.ts'
import type { ChannelChain } from './channel-chain.ts'
import {
  chainUnavailable,
  channelClosing,
  channelUnknown,
  delayTooShort,
  depositNotFinal,
  wrongPayee,
  wrongToken,
} from './channel-refusals.ts'

/** What channels for this gateway must say. Addresses in lower case. */
type Terms = {
  readonly operator: Address
  readonly token: Address
  readonly minWithdrawDelayS: number
}

export function whyNotOurs(
  { operator, token, minWithdrawDelayS }: Terms,
  config: ChannelConfig,
): Refusal | null {
  if (config.receiver !== operator || config.receiverAuthorizer !== operator)
    return wrongPayee(operator)
  if (config.token !== token) return wrongToken(token)
  return config.withdrawDelay < minWithdrawDelayS
    ? delayTooShort(minWithdrawDelayS, config.withdrawDelay)
    : null
}

/** At the last final block; a deposit that is only above it is not final. */
export async function readFinal(
  chain: ChannelChain,
  contract: Address,
  id: Hex,
): Promise<FinalChannel | Refusal> {
  const block = chain.finalBlock()
  if (block === null) return chainUnavailable()
  try {
    const [[final], [latest]] = await Promise.all([
      readChannels(chain.client, contract, [id], { blockHash: block.hash }),
      readChannels(chain.client, contract, [id], { blockTag: 'latest' }),
    ])
    if (!final || !latest) return chainUnavailable()
    if (final.exitAskedAt !== null || latest.exitAskedAt !== null) return channelClosing(id)
    if (final.balanceUnits > final.claimedUnits) {
      const { balanceUnits, claimedUnits } = final
      const capped = balanceUnits < MAX_CHANNEL_UNITS ? balanceUnits : MAX_CHANNEL_UNITS
      return { balanceUnits: capped, claimedUnits, block: block.number }
    }
    const coming = latest.balanceUnits - latest.claimedUnits
    return coming > 0n ? depositNotFinal(id, coming) : channelUnknown(id)
  } catch (error) {
    if (error instanceof Fault && error.code === 'chain_unavailable') return chainUnavailable()
    throw error
  }
}
