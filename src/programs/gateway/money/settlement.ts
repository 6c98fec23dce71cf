/** Channels put together: the book, its sync with the chain, and the claims. What `settlement: chain` switches on. */
import { lowerHex, type Address } from '../../../core/base/hex.ts'
import { NANO_PER_USD, parseUsd, type NanoUsd } from '../../../core/base/money.ts'
import { Fault, reasonOf, type Refusal } from '../../../core/base/refusal.ts'
import { SECOND, type Millis } from '../../../core/base/time.ts'
import { NANO_PER_UNIT } from '../../../core/ledger/channel.ts'
import type { Store } from '../../../io/store/store.ts'
import type { Logger } from '../../../io/telemetry/logger.ts'
import type { GatewayConfig } from '../config.ts'
import { ChannelBook } from './channel-book.ts'
import type { ChannelChain } from './channel-chain.ts'
import type { SettlementDesk } from './channel-service.ts'
import { ChannelSync } from './channel-sync.ts'
import { Claims } from './claims.ts'

/** A chain that is followed and can be closed: `Chain` fits. */
export type SettlementChain = ChannelChain & {
  readonly addresses: {
    readonly channels: Address
    readonly collector?: Address
    readonly payouts?: Address
  }
  /** `name` and `version` are those of its EIP-712 domain, for deposits by signature. */
  readonly token: ChannelChain['token'] & { readonly name?: string; readonly version?: string }
  /** Blocks below the head. */
  readonly finalityDepth: number
  close(): Promise<void>
}

export type Settlement = {
  readonly chain: SettlementChain
  readonly book: ChannelBook
  readonly desk: SettlementDesk
  /** What a tenant who runs dry should sign. */
  readonly short: (account: string, have: NanoUsd, need: NanoUsd) => Refusal | null
  /** Told of each account with a channel that closes: what is held for it and not used is to be given back. */
  onLeaving(release: (account: string) => void): void
  /** Claims what was spent without waiting for its time: the operator's wallet is short. */
  readonly claim: () => void
  /** Reads every channel at the last final block, and follows from then on. */
  start(): Promise<void>
  /** Makes durable what was accepted, and stops. */
  close(): Promise<void>
}

const CLAIM_LOOK_MS: Millis = 5 * SECOND

export function createSettlement(parts: {
  readonly chain: SettlementChain
  readonly store: Store
  readonly logger: Logger
  readonly now: () => Millis
  readonly config: Pick<
    GatewayConfig,
    | 'minWithdrawDelaySeconds'
    | 'chainPublicRpc'
    | 'voucherStepUsd'
    | 'claimSeconds'
    | 'claimAboveUsd'
    | 'feeBps'
  >
}): Settlement {
  const { chain, store, logger, now, config } = parts
  const minWithdrawDelayS = config.minWithdrawDelaySeconds
  const stepUnits = unitsOf('voucherStepUsd', config.voucherStepUsd)
  let release: ((account: string) => void) | null = null
  const book = new ChannelBook({ chain, store, logger, minWithdrawDelayS, stepUnits })
  const claims = new Claims({
    chain,
    book,
    store,
    logger,
    now,
    epochMs: config.claimSeconds * SECOND,
    release: (account) => release?.(account),
    claimAboveUnits: unitsOf('claimAboveUsd', config.claimAboveUsd),
  })
  const looked = (): void => void claims.look()
  const sync = new ChannelSync({ chain, book, store, logger, now, looked })
  const { channels, collector, payouts } = chain.addresses
  const { address, symbol, decimals } = chain.token
  return {
    chain,
    book,
    desk: {
      channels: book,
      facts: {
        chainId: chain.chainId,
        channels: lowerHex(channels),
        collector: collector ? lowerHex(collector) : null,
        payouts: payouts ? lowerHex(payouts) : null,
        token: { address: lowerHex(address), symbol, decimals },
        operator: book.operator,
        testMoney: chain.testMoney,
        finalityDepth: chain.finalityDepth,
        rpcUrl: config.chainPublicRpc,
        minWithdrawDelayS,
        stepUnits,
        feeBps: config.feeBps,
      },
    },
    short: (account, have, need) => book.voucherFor(account, have, need),
    onLeaving(told) {
      release = told
    },
    claim: () =>
      void claims.claimNow().catch((error: unknown) => {
        logger.warn('claims wait', { error: reasonOf(error) })
      }),
    async start() {
      await book.load()
      await sync.start()
      claims.start(CLAIM_LOOK_MS)
    },
    async close() {
      await sync.stop()
      await claims.stop()
      await book.stop()
      await chain.close()
    },
  }
}

function unitsOf(name: string, usd: string): bigint {
  const nanoUsd = parseUsd(usd)
  if (nanoUsd !== null && nanoUsd >= NANO_PER_UNIT && nanoUsd < 1_000_000n * NANO_PER_USD)
    return nanoUsd / NANO_PER_UNIT
  throw new Fault(
    'config_invalid',
    `${name} must be dollars from 0.000001 to 999999, e.g. "0.10"; it is "${usd}"`,
  )
}
