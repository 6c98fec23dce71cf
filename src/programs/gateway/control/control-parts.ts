/** What the control API is made of: the gateway's `main.ts` gives it these. */
import type { Refusal } from '../../../core/base/refusal.ts'
import type { Millis } from '../../../core/base/time.ts'
import type { OfferedModel } from '../../../core/protocol/offer.ts'
import type { NodeLink } from '../../../io/link/node-link.ts'
import type { ApiKey, NodeRecord, Scope, Store } from '../../../io/store/store.ts'
import type { Logger } from '../../../io/telemetry/logger.ts'
import type { PayoutService } from '../money/payouts.ts'
import type { Topups } from '../x402/topups.ts'
import type { LeaseService } from '../leases/lease-service.ts'
import type { SettlementDesk } from '../money/channel-service.ts'

export type ControlParts = {
  readonly store: ControlStore
  /** The key behind an Authorization header, when it is valid now and has the scope. */
  authenticate(authorization: string | null, scope: Scope): Promise<ApiKey | Refusal>
  /** Told at once about each created, changed or revoked key. */
  readonly keyring: { changed(key: ApiKey): void }
  readonly network: {
    nodes(): readonly LinkedNode[]
    /** Told at once when an operator changed a node's tier. */
    changed(record: NodeRecord): void
  }
  /** Null: this gateway deals in requests only. */
  readonly leases: LeaseService | null
  /** Null or left out: this gateway pays nothing on chain. */
  readonly payouts?: PayoutService | null
  /** Null: nothing is settled on a chain. */
  readonly settlement: SettlementDesk | null
  /** Payments into accounts by x402; absent: none are taken. */
  readonly topups?: Topups | null
  /** Resolves when the receipts of this request, or this receipt, are no longer on their way, or 2 s have passed. */
  settled(id: string): Promise<void>
  readonly metrics: { text(): Promise<string> }
  ready(): Promise<readonly ReadyPart[]>
  readonly now: () => Millis
  readonly randomBytes: (count: number) => Uint8Array
  readonly gatewayId: string
  /** Ed25519, base64url: what nodes and receipts know this gateway by. */
  readonly gatewayKey: string
  readonly version: string
  readonly logger: Logger
}

/** The part of the store that control routes use. */
export type ControlStore = Pick<
  Store,
  | 'account'
  | 'accounts'
  | 'createAccount'
  | 'keys'
  | 'createKey'
  | 'updateKey'
  | 'revokeKey'
  | 'balance'
  | 'testCredit'
  | 'transfer'
  | 'usage'
  | 'recentUsage'
  | 'receipts'
  | 'nodes'
  | 'setTier'
>

/** A part that must work before traffic may come; `why` says what is wrong with it. */
export type ReadyPart = { readonly part: string; readonly ok: boolean; readonly why: string | null }

export type LinkedNode = {
  readonly link: NodeLink
  /** Null until the store has been told of this node. */
  readonly record: NodeRecord | null
  readonly replicas: readonly LinkedReplica[]
}

export type LinkedReplica = {
  readonly model: OfferedModel
  /** Attempts of this gateway that run there now. */
  readonly outstanding: number
  readonly free: number
  /** Moving averages; null until measured. */
  readonly tokensPerSecond: number | null
  readonly firstTokenMs: number | null
  readonly cooldown: { readonly untilMs: Millis; readonly reason: string } | null
}
