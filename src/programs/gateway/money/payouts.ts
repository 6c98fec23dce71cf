/** Payouts as the gateway's other parts see them: epochs and IOUs, put together, and what is told of them. */
import { lowerHex, type Address, type Hex } from '../../../core/base/hex.ts'
import { parseUsd, type NanoUsd } from '../../../core/base/money.ts'
import { Fault } from '../../../core/base/refusal.ts'
import { SECOND, type Millis } from '../../../core/base/time.ts'
import type { NodeLink } from '../../../io/link/node-link.ts'
import {
  FEES,
  NANO_USD_PER_UNIT,
  type OwedNow,
  type PayoutEpoch,
  type PayoutLeaf,
} from '../../../io/store/payout-records.ts'
import type { Store } from '../../../io/store/store.ts'
import type { Logger } from '../../../io/telemetry/logger.ts'
import type { GatewayConfig } from '../config.ts'
import { IouDesk, type SignDigest } from './iou-desk.ts'
import {
  PayoutEpochs,
  type PayoutChain,
  type PayoutSettings,
  type PayoutStatus,
} from './payout-epochs.ts'

export type PayoutParts = {
  readonly store: Store
  readonly chain: PayoutChain
  readonly settings: PayoutSettings
  /** By the operator's key: `signerOf(chain.signer)`. */
  readonly sign: SignDigest
  readonly links: () => Iterable<NodeLink>
  readonly linkOf: (node: string) => NodeLink | undefined
  readonly now: () => Millis
  readonly logger: Logger
  /** The wallet is short: whoever claims from channels does it now. */
  readonly wantTokens?: () => void
  readonly epochsEveryMs?: Millis
  readonly iousEveryMs?: Millis
}

export type ProvenLeaf = PayoutLeaf & {
  readonly epoch: number
  readonly root: Hex
  readonly proof: readonly Hex[]
}

/** What control routes ask. */
export type PayoutService = {
  readonly chainId: number
  readonly contract: Address
  readonly token: Address
  readonly operator: Address
  readonly testMoney: boolean
  readonly settings: PayoutSettings
  readonly status: PayoutStatus
  epochs(of: { limit: number; before?: number }): Promise<PayoutEpoch[]>
  epoch(number: number): Promise<PayoutEpoch | null>
  leaves(epoch: number): Promise<PayoutLeaf[]>
  /** Of an address in the newest closed epoch, or in the one of this root; null: it has none. */
  leaf(address: Address, root?: Hex): Promise<ProvenLeaf | null>
  owedTo(address: Address): Promise<OwedNow | null>
  /** Nano-dollars kept of payouts since the beginning. */
  fees(): Promise<NanoUsd>
  /** Units that the open epoch would pay out now. */
  due(): Promise<bigint>
}

export type Payouts = PayoutService & {
  /** A node linked. */
  linked(link: NodeLink): void
  /** Their earnings were committed. */
  settled(nodes: Iterable<string>): void
  /** A block is final, an action is done: looks now instead of in a while. */
  wake(): void
  /** One look of both, for tests and for a shutdown. */
  round(): Promise<void>
  close(): Promise<void>
}

/** What `startGateway` hands over, so that payouts can be made of it. */
export type PayoutPlace = Pick<PayoutParts, 'store' | 'links' | 'linkOf' | 'now' | 'logger'>

/** Of the gateway's config. Throws Fault `config_invalid`. */
export function payoutSettings(
  config: Pick<
    GatewayConfig,
    'payoutEpochSeconds' | 'feeBps' | 'pushClaims' | 'pushClaimsAboveUsd'
  >,
): PayoutSettings {
  const least = parseUsd(config.pushClaimsAboveUsd)
  if (least === null || least < 0n)
    throw new Fault(
      'config_invalid',
      `pushClaimsAboveUsd must be dollars from 0, e.g. "1"; it is "${config.pushClaimsAboveUsd}"`,
    )
  return {
    epochMs: config.payoutEpochSeconds * SECOND,
    feeBps: config.feeBps,
    pushClaimsFromUnits: config.pushClaims ? least / NANO_USD_PER_UNIT : null,
  }
}

export function createPayouts(parts: PayoutParts): Payouts {
  const { store, chain, settings, sign, links, linkOf, now, logger, wantTokens } = parts
  const { payouts, token } = chain.addresses
  const epochs = new PayoutEpochs({
    store,
    chain,
    settings,
    now,
    logger,
    ...(wantTokens && { wantTokens }),
    ...(parts.epochsEveryMs !== undefined && { everyMs: parts.epochsEveryMs }),
  })
  const desk = new IouDesk({
    store,
    chainId: chain.chainId,
    payouts,
    operator: chain.operator,
    sign,
    links,
    linkOf,
    openEpoch: () => epochs.openEpoch(),
    now,
    logger,
    ...(parts.iousEveryMs !== undefined && { everyMs: parts.iousEveryMs }),
  })
  epochs.wake()
  return {
    chainId: chain.chainId,
    contract: lowerHex(payouts),
    token: lowerHex(token),
    operator: lowerHex(chain.operator),
    testMoney: chain.testMoney,
    settings,
    get status() {
      return epochs.status
    },
    epochs: (of) => store.payoutEpochs(of),
    epoch: (number) => store.payoutEpoch(number),
    leaves: (epoch) => store.payoutLeaves(epoch),
    async leaf(address, root) {
      const epoch =
        root === undefined
          ? (await store.payoutEpochs({ limit: 2 })).find(({ closed }) => closed !== null)
          : await store.payoutEpochByRoot(root)
      if (!epoch?.closed) return null
      const found = (await epochs.treeOf(epoch.number)).proof(address)
      return found && { address, epoch: epoch.number, root: epoch.closed.root, ...found }
    },
    owedTo: (address) => store.owedTo(address),
    fees: async () => (await store.balance(FEES)).balanceNanoUsd,
    due: async () => (await store.payoutsDue()).units,
    linked: (link) => desk.linked(link),
    settled: (nodes) => desk.settled(nodes),
    wake: () => epochs.wake(),
    async round() {
      await epochs.round()
      await desk.round()
    },
    async close() {
      await desk.close()
      await epochs.close()
    },
  }
}
