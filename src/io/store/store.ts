/**
 * What the gateway keeps in PostgreSQL, as the rest of the program sees it. Every method throws
 * Fault 'store_unavailable' (retryable) while the database cannot be reached; refusals are values.
 */
import type { NanoUsd } from '../../core/base/money.ts'
import type { Refusal } from '../../core/base/refusal.ts'
import type { Millis } from '../../core/base/time.ts'
import type { Tier } from '../../core/protocol/tier.ts'
import type { ProvenReceipt } from '../../core/protocol/receipt.ts'
import type { ChannelStore } from './channel-records.ts'
import type { ChainActionStore, ChainBlockStore } from './chain-records.ts'
import type { CommandStore } from './deployment-commands.ts'
import type { DeploymentStore } from './deployment-records.ts'
import type { GatewayStore } from './gateways.ts'
import type { PayoutStore } from './payout-records.ts'
import type { SnapshotStore } from './snapshot-records.ts'

export type AccountKind = 'tenant' | 'operator'
export type Account = {
  readonly id: string
  readonly kind: AccountKind
  readonly name: string
  readonly createdAt: Millis
  readonly limits: AccountLimits
}

/** Null: no limit. Applies to the account over all of its keys, and to each key for itself. */
export type AccountLimits = {
  readonly requestsPerMinute: number | null
  readonly tokensPerMinute: number | null
  readonly concurrency: number | null
}
export const NO_LIMITS: AccountLimits = {
  requestsPerMinute: null,
  tokensPerMinute: null,
  concurrency: null,
}

/**
 * `inference`: the /v1 model routes; `account`: read account, usage, receipts; `keys`: manage keys;
 * `deployments`: rent containers and reach into them; `operator`: the network.
 */
export const SCOPES = ['inference', 'account', 'keys', 'deployments', 'operator'] as const
export type Scope = (typeof SCOPES)[number]

export type ApiKey = {
  readonly id: string
  readonly account: string
  readonly name: string
  /** First characters of the key, to recognise it by. */
  readonly hint: string
  /** SHA-256 of the key, hex. The key itself is shown once and kept nowhere. */
  readonly hash: string
  readonly scopes: readonly Scope[]
  readonly limits: AccountLimits
  /** All that this key may ever spend; null: as much as the account has. */
  readonly budgetNanoUsd: NanoUsd | null
  readonly spentNanoUsd: NanoUsd
  readonly createdAt: Millis
  readonly expiresAt: Millis | null
  readonly revokedAt: Millis | null
  /** Changes with every change but spending: caches ask for what is newer than what they have. */
  readonly revision: bigint
}

export type NewApiKey = Pick<
  ApiKey,
  'id' | 'account' | 'name' | 'hint' | 'hash' | 'scopes' | 'limits' | 'budgetNanoUsd' | 'expiresAt'
>

/** Ledger accounts: `tenant:acct_…`, `node:node_…`, and the network's own. */
export const TEST_CREDIT = 'world:test-credit'
export const UNCOLLECTED = 'operator:uncollected'
export const tenantLedger = (account: string): string => `tenant:${account}`
export const nodeLedger = (node: string): string => `node:${node}`

export type Balance = { readonly balanceNanoUsd: NanoUsd; readonly heldNanoUsd: NanoUsd }

/** A general transfer; `key` is the caller's idempotency key and is kept before the transfer is sent. */
export type Transfer = {
  readonly key: string
  readonly debit: string
  readonly credit: string
  readonly nanoUsd: NanoUsd
  readonly kind: 'deposit' | 'usage' | 'correction' | 'voucher'
  readonly reference: string
}

/** One attempt, as it is paid. Its idempotency key is the attempt's id. */
export type Usage = {
  readonly attempt: string
  readonly request: string
  readonly account: string
  readonly apiKey: string
  readonly node: string
  readonly model: string
  readonly api: 'chat' | 'completion' | 'embedding'
  readonly billedInputTokens: number
  readonly outputTokens: number
  readonly nanoUsd: NanoUsd
  /** Where the money was held; null for a receipt that arrives after its hold has gone. */
  readonly hold: string | null
  readonly startedAt: Millis
  readonly finishedAt: Millis
  /** `node`: a signed receipt. `gateway`: the node vanished; the gateway counted what it delivered. */
  readonly witness: 'node' | 'gateway'
}

/** A receipt as stored: the batch it was signed in is stored once. */
export type StoredReceipt = {
  readonly id: string
  readonly attempt: string
  readonly account: string
  /** Canonical JSON, the Merkle leaf. */
  readonly text: string
  readonly batch: ReceiptBatchRecord
  readonly leafIndex: number
}
export type ReceiptBatchRecord = {
  /** Hex Merkle root. */
  readonly root: string
  readonly signer: string
  readonly signedAtMs: number
  readonly signature: string
  /** Leaf hashes one after another, 32 bytes each. */
  readonly leaves: Uint8Array
}

export type Settlement = { readonly usage: Usage; readonly receipt: StoredReceipt | null }

/**
 * `settled`: paid now. `duplicate`: this attempt was paid before, nothing moved (a receipt that came after a gateway's
 * own witness is kept). `conflict`: paid before with other contents, nothing moved. `uncollected`: the node
 * was paid, the tenant's balance did not cover it all, the operator bears the rest.
 */
export type SettleOutcome = 'settled' | 'duplicate' | 'conflict' | 'uncollected'

export type UsageSummary = {
  readonly model: string
  readonly node: string
  readonly day: string
  readonly requests: number
  readonly inputTokens: number
  readonly outputTokens: number
  readonly nanoUsd: NanoUsd
}

export type NodeRecord = {
  readonly node: string
  readonly nodeKey: string
  readonly tier: Tier
  readonly firstSeenAt: Millis
  readonly lastSeenAt: Millis
  /** Seconds linked since first seen, to the last heartbeat that was noted. */
  readonly linkedSeconds: number
}

export type LedgerAudit = {
  /** Sum over all ledger accounts: always 0. */
  readonly sumNanoUsd: NanoUsd
  readonly transfers: number
  /** Accounts whose balance is not the sum of their transfers, whose hold total is not the sum of open holds, or that are negative; channels whose credit is not the sum of their vouchers: always none. */
  readonly wrong: readonly string[]
}

export type Store = DeploymentStore &
  CommandStore &
  GatewayStore &
  SnapshotStore &
  ChainActionStore &
  ChainBlockStore &
  ChannelStore &
  PayoutStore & {
    // Accounts and keys.
    /** The same id again changes nothing and gives what is there. */
    createAccount(account: Pick<Account, 'id' | 'kind' | 'name' | 'limits'>): Promise<Account>
    account(id: string): Promise<Account | null>
    accounts(): Promise<Account[]>
    createKey(key: NewApiKey): Promise<ApiKey>
    updateKey(
      account: string,
      id: string,
      change: Partial<Pick<ApiKey, 'name' | 'limits' | 'budgetNanoUsd' | 'expiresAt' | 'scopes'>>,
    ): Promise<ApiKey | null>
    revokeKey(account: string, id: string): Promise<ApiKey | null>
    keys(account: string): Promise<ApiKey[]>
    keyByHash(hash: string): Promise<ApiKey | null>
    /** Keys changed after this revision, oldest first, for caches; at most 10,000. */
    keysSince(revision: bigint): Promise<ApiKey[]>
    /** What these keys have spent by now, over all gateways. */
    keySpending(ids: readonly string[]): Promise<ReadonlyMap<string, NanoUsd>>

    // Money.
    transfer(transfer: Transfer): Promise<'posted' | 'duplicate' | Refusal>
    balance(ledgerAccount: string): Promise<Balance>
    /** All test credit that a tenant was ever given. */
    testCredit(account: string): Promise<NanoUsd>
    /** Sets money aside: `insufficient_balance` with both numbers when it is not there. The same id and amount again is fine. */
    openHold(hold: {
      id: string
      account: string
      nanoUsd: NanoUsd
      gateway: string
      expiresAt: Millis
    }): Promise<null | Refusal>
    /** Pushes the end of these open holds further out; unknown or closed ones are left alone. */
    renewHolds(ids: readonly string[], expiresAt: Millis): Promise<void>
    /** Gives back what is left of a hold. Closing twice is fine. */
    closeHold(id: string): Promise<void>
    /** Gives back all holds past their end, and returns how many. */
    expireHolds(now: Millis): Promise<number>
    /** Every open hold of this gateway's earlier lives: given back once their receipts had time to arrive. */
    closeHoldsOf(gateway: string, openedBefore: Millis): Promise<number>
    /** All or nothing in one durable commit; an outcome for each settlement, in order. At most 500. */
    settle(batch: readonly Settlement[]): Promise<SettleOutcome[]>
    audit(): Promise<LedgerAudit>

    // What happened.
    usage(account: string, since: Millis, until: Millis): Promise<UsageSummary[]>
    recentUsage(account: string, limit: number): Promise<Usage[]>
    /** The receipts of a request or one receipt by id; only those of this account, or of any with null. */
    receipts(account: string | null, id: string): Promise<ProvenReceipt[]>

    // Nodes.
    /** Notes that a node is linked; `linkedSeconds` is how long it was since it was last noted. */
    nodeSeen(node: string, nodeKey: string, now: Millis, linkedSeconds: number): Promise<NodeRecord>
    nodes(): Promise<NodeRecord[]>
    setTier(node: string, tier: Tier): Promise<NodeRecord | null>

    /** Resolves when the database answers. */
    ping(): Promise<void>
    /** Milliseconds since 1970 by the database's own clock. */
    clock(): Promise<Millis>
    close(): Promise<void>
  }
