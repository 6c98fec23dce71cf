/**
 * Deployments as the control API and the ingress see them. `lease-book.ts` keeps them: it screens, asks nodes,
 * commits, and then acts. Every method throws Fault `store_unavailable` while the database is away.
 */
import type { Duplex } from 'node:stream'
import type { AuctionRule } from '../../../core/market/auction.ts'
import type { AttoUsdPerSecond } from '../../../core/base/rate.ts'
import type { NanoUsd } from '../../../core/base/money.ts'
import type { Refusal } from '../../../core/base/refusal.ts'
import type { Millis } from '../../../core/base/time.ts'
import type { LeaseState, ReplicaReport } from '../../../core/protocol/lease-control.ts'
import type { Expose } from '../../../core/protocol/manifest.ts'
import type { SecretEnvelope } from '../../../core/protocol/secrets.ts'
import type { TunnelPurpose } from '../../../core/protocol/tunnel.ts'
import type { NodeSealingKey } from './lease-market.ts'
import type { DeploymentEventRecord } from '../../../io/store/deployment-records.ts'
import type { TenantSnapshots } from './tenant-snapshots.ts'

/** One node that could run a group, and for how much. */
export type BidView = {
  readonly node: string
  readonly providerName: string | null
  readonly region: string | null
  readonly tier: string
  /** For the whole group. */
  readonly rate: AttoUsdPerSecond
  /** The GPU that would run, e.g. `nvidia rtx4090`; null without GPUs. */
  readonly gpu: string | null
  /** The images are there already. */
  readonly cached: boolean
  /** What made the price: the provider's standing sheet, or its program for this order. */
  readonly by: 'sheet' | 'program'
  readonly noticeS: number
}

/** What the market says of one group before any money. */
export type GroupScreening = {
  readonly group: string
  readonly bids: readonly BidView[]
  /** Why the others cannot: "4 of 9 nodes: GPU memory 24 GiB < 80 GiB", most nodes first. */
  readonly reasons: readonly string[]
  /** What would help: "drop region: 7 bids, −18 %". */
  readonly relaxations: readonly string[]
  readonly maxRate: AttoUsdPerSecond
}
export type Screening = {
  readonly groups: readonly GroupScreening[]
  /** What the SDL reader noticed, a line each. */
  readonly warnings: readonly string[]
}

export type ServiceView = {
  readonly name: string
  readonly image: string
  readonly count: number
  readonly expose: readonly Expose[]
  /** Where it is reached, first the one to show: `http://web.<lease>.localhost:8420`. */
  readonly urls: readonly string[]
  readonly replicas: readonly ReplicaReport[]
}

export type LeaseView = {
  readonly id: string
  readonly group: string
  readonly state: LeaseState
  /** Why it is as it is, in words. */
  readonly message: string
  /** Grows with each new owner. */
  readonly epoch: number
  /** Null while no node has it. */
  readonly node: string | null
  readonly rate: AttoUsdPerSecond
  readonly startedAt: Millis | null
  readonly billedUntil: Millis | null
  readonly spentNanoUsd: NanoUsd
  readonly services: readonly ServiceView[]
  /** `web.DB_PASSWORD`, `web@registry`: names of what came sealed. */
  readonly secrets: readonly string[]
}

export type DeploymentView = {
  readonly id: string
  readonly name: string
  readonly rule: AuctionRule
  readonly createdAt: Millis
  readonly closedAt: Millis | null
  readonly closeReason: string | null
  /** As the tenant gave it. */
  readonly sdl: string
  readonly leases: readonly LeaseView[]
  readonly spentNanoUsd: NanoUsd
}

/** Its number counts from 1 within the deployment; its type is past tense: `lease.accepted`, `node.lost`, … */
export type DeploymentEvent = DeploymentEventRecord

/** A tunnel without its place: the book knows the epoch, and the lease where only one has such a service. */
export type TunnelWish<P = TunnelPurpose> = P extends unknown
  ? Omit<P, 'lease' | 'epoch'> & { readonly lease?: string | null }
  : never

/** To whom secrets may be sealed, by group; every key is its node's own signed word. */
export type SealingKeys = {
  /** What secrets are bound to, besides the group. */
  readonly tenant: string
  /** Null: it is not made yet. */
  readonly deployment: string | null
  readonly groups: readonly {
    readonly group: string
    /** The node that runs it first, then who could, cheapest first. */
    readonly nodes: readonly NodeSealingKey[]
    /** Why others cannot. */
    readonly reasons: readonly string[]
  }[]
}

/** Sealed before the deployment is made: its id follows from the nonce. */
export type NewSecrets = { readonly nonce: string; readonly groups: readonly SecretEnvelope[] }

export type DeployWish = {
  readonly sdl: string
  readonly name: string | null
  readonly rule: AuctionRule
  readonly secrets: NewSecrets | null
  /** The same key within 24 h makes nothing new: `idempotency_conflict` when it came with another wish. */
  readonly idempotencyKey?: string | null
}

export type LeaseService = TenantSnapshots & {
  /** `sealed`: it will come with secrets. */
  screen(account: string, sdl: string, sealed: boolean): Promise<Screening | Refusal>
  /** Whom to seal for: for a new deployment, or one that there is. */
  sealingKeys(account: string, sdl: string, id: string | null): Promise<SealingKeys | Refusal>
  /** Resolves when the deployment is durable and its first auction has been held; starting goes on. */
  deploy(account: string, apiKey: string, wish: DeployWish): Promise<DeploymentView | Refusal>
  /** Newest first. */
  deployments(account: string, page: { limit: number; closed: boolean }): Promise<DeploymentView[]>
  /** By id or, where no other open one has it, by name. */
  deployment(account: string, id: string): Promise<DeploymentView | Refusal>
  /** The bids that stand for a lease that waits for the tenant's choice, or would stand now. */
  bids(account: string, id: string): Promise<Screening | Refusal>
  /** Takes this node's bid, where the rule is `manual`. */
  accept(
    account: string,
    id: string,
    lease: string,
    node: string,
  ): Promise<DeploymentView | Refusal>
  /** `secrets` null: those that it has stay. */
  update(
    account: string,
    id: string,
    sdl: string,
    secrets: readonly SecretEnvelope[] | null,
  ): Promise<DeploymentView | Refusal>
  close(account: string, id: string): Promise<DeploymentView | Refusal>
  events(account: string, id: string, after: number): Promise<readonly DeploymentEvent[] | Refusal>
  /** Calls back when there may be new events of it; returns what stops that. */
  watch(deployment: string, changed: () => void): () => void
  /** Bytes to something inside of it. `lease` null: of the only lease that has such a service. */
  openTunnel(
    account: string,
    id: string,
    wish: TunnelWish,
    signal: AbortSignal,
  ): Promise<Duplex | Refusal>
}
