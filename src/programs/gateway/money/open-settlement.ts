/** All that `settlement: chain` switches on, over one chain: what tenants pay by, and what providers are paid by. */
import type { Millis } from '../../../core/base/time.ts'
import type { Store } from '../../../io/store/store.ts'
import type { Logger } from '../../../io/telemetry/logger.ts'
import type { GatewayConfig } from '../config.ts'
import { signerOf } from './iou-desk.ts'
import { createPayouts, payoutSettings, type PayoutPlace, type Payouts } from './payouts.ts'
import { createSettlement, type Settlement, type SettlementChain } from './settlement.ts'

export type OpenSettlement = {
  readonly settlement: Settlement
  /** Null: on a chain of somebody else's making, whose key is not here, nobody is paid. */
  readonly makePayouts: ((place: PayoutPlace) => Payouts) | null
}

/** Null: the config wants none. `instead`: another chain than the one that the config tells of, for tests. */
export async function openSettlement(
  config: GatewayConfig,
  parts: {
    readonly store: Store
    readonly logger: Logger
    readonly now: () => Millis
    readonly gateway: string
  },
  instead: ((store: Store) => Promise<SettlementChain>) | undefined,
): Promise<OpenSettlement | null> {
  if (config.settlement === 'none') return null
  const { store, logger, now, gateway } = parts
  const settled = (chain: SettlementChain): Settlement =>
    createSettlement({ chain, store, logger, now, config })
  if (instead) return { settlement: settled(await instead(store)), makePayouts: null }

  const settings = payoutSettings(config)
  // Half of what a gateway loads: not where nothing is settled.
  const { openChain } = await import('./chain.ts')
  const chain = await openChain(config, store, { logger, gateway })
  const settlement = settled(chain)
  const makePayouts = (place: PayoutPlace): Payouts => {
    const payouts = createPayouts({
      ...place,
      chain,
      settings,
      sign: signerOf(chain.signer),
      wantTokens: settlement.claim,
    })
    chain.onFinal(() => payouts.wake())
    chain.onSettled(() => payouts.wake())
    return payouts
  }
  return { settlement, makePayouts }
}
