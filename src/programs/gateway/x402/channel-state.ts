/** A channel as x402 shows it to its payer, and what a payer that is out of step can check and go on from. */
import { hexOf } from '../../../core/base/hex.ts'
import type { ChannelTab } from './channel-tab.ts'
import type { ChannelState, Corrective } from './terms.ts'

/** On chain, as far as this gateway knows. */
export type ChannelFigures = {
  readonly balanceUnits: bigint
  readonly claimedUnits: bigint
  readonly closing: boolean
}

export const channelStateOf = (tab: ChannelTab, figures: ChannelFigures): ChannelState => ({
  channelId: tab.id,
  balance: String(figures.balanceUnits),
  totalClaimed: String(figures.claimedUnits),
  withdrawRequestedAt: figures.closing ? 1 : 0,
  refundNonce: '0',
  chargedCumulativeAmount: String(tab.toldUnits),
})

/** Its own signature proves to the payer what it signed; without one it can only go by what was claimed on chain. */
export function correctiveOf(tab: ChannelTab, figures: ChannelFigures): Corrective {
  const channelState = channelStateOf(tab, figures)
  const { newest } = tab
  if (newest === null || newest.maxClaimable < tab.toldUnits) return { channelState }
  const { maxClaimable, signature } = newest
  return {
    channelState,
    voucherState: { signedMaxClaimable: String(maxClaimable), signature: hexOf(signature) },
  }
}
