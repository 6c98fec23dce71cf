/** Deployments as the store keeps them. */
import { z } from 'zod'
import type { NanoUsd } from '../../core/base/money.ts'
import { type RateCarry } from '../../core/base/rate.ts'
import { DAY, type Millis } from '../../core/base/time.ts'
import { groupSchema } from '../../core/protocol/group.ts'
import { leaseReportSchema, type LeaseState } from '../../core/protocol/lease-control.ts'
import { manifestSchema } from '../../core/protocol/manifest.ts'
import { rateText } from '../../core/protocol/rate-text.ts'
import { secretEnvelopeSchema } from '../../core/protocol/secrets.ts'

const replicas = leaseReportSchema.options[2].shape.replicas

/** What only gateways read of a lease. */
export const leaseDocSchema = z.object({
  group: groupSchema,
  manifest: manifestSchema,
  /** Sealed by its tenant; null: it has none. */
  secrets: secretEnvelopeSchema.nullable().default(null),
  message: z.string(),
  /** Atto-dollars a second, for the whole group. */
  rate: rateText,
  /** The lease document that the node signed, and its signature. */
  terms: z.string().nullable(),
  signature: z.string().nullable(),
  /** The epoch under which its node has it; asking others takes higher ones. */
  ownerEpoch: z.number().nullable(),
  startedAt: z.number().nullable(),
  replicas,
  /** Nodes that had it and failed, not to be asked again for a while. */
  avoid: z.array(z.object({ node: z.string(), until: z.number() })),
  /** Nodes in a row that could not start it. */
  failedStarts: z.number().default(0),
  /** Who wanted its end, and when it is over at the latest; null while nobody does. */
  drain: z
    .object({ by: z.enum(['tenant', 'money', 'provider']), until: z.number() })
    .nullable()
    .default(null),
  /** How its money stands: for the warning, the grace and the end. */
  purse: z.discriminatedUnion('status', [
    z.object({ status: z.enum(['good', 'low', 'over']) }),
    z.object({ status: z.literal('empty'), since: z.number() }),
  ]),
})
export type LeaseDoc = z.infer<typeof leaseDocSchema>

export type LeaseRecord = {
  readonly id: string
  readonly deployment: string
  readonly account: string
  readonly state: LeaseState
  readonly epoch: number
  readonly node: string | null
  /** Money set aside for it. */
  readonly hold: string | null
  readonly billedUntil: Millis | null
  readonly carry: RateCarry
  readonly spentNanoUsd: NanoUsd
  readonly revision: number
  readonly doc: LeaseDoc
}

export type DeploymentRecord = {
  readonly id: string
  readonly account: string
  readonly apiKey: string
  readonly name: string
  readonly rule: 'cheapest' | 'reliable' | 'fastest' | 'manual'
  readonly sdl: string
  readonly createdAt: Millis
  readonly closedAt: Millis | null
  readonly closeReason: string | null
}

export type DeploymentEventRecord = {
  readonly seq: number
  readonly at: Millis
  readonly type: string
  readonly lease: string | null
  readonly service: string | null
  readonly message: string
}
export type NewDeploymentEvent = Omit<DeploymentEventRecord, 'seq'>

export type StoredDeployment = {
  readonly deployment: DeploymentRecord
  readonly leases: readonly LeaseRecord[]
}

/** What may change in a lease by a decision; money changes by `payLeases` alone. */
export type LeaseChange = Pick<LeaseRecord, 'state' | 'epoch' | 'node' | 'hold' | 'doc'> & {
  /** Billing begins here, or ends (null); left out: as it is. */
  readonly billedUntil?: Millis | null
}

/** One lease's time, to be paid to its node. */
export type LeasePayment = {
  readonly lease: string
  readonly epoch: number
  readonly node: string
  /** What the row says now: another gateway may have been first. */
  readonly from: Millis
  readonly until: Millis
  readonly nanoUsd: NanoUsd
  readonly carryBefore: RateCarry
  readonly carry: RateCarry
  /** The hold is filled up to this from what the tenant has available. */
  readonly holdTargetNanoUsd: NanoUsd
}
export type LeasePaid = {
  /** False: somebody else had paid, or the lease has another owner. Nothing moved. */
  readonly paid: boolean
  /** What the tenant could not pay, and the operator did. */
  readonly uncollectedNanoUsd: NanoUsd
  /** In the hold afterwards. */
  readonly heldNanoUsd: NanoUsd
}

/** A tenant's key for making one deployment once. */
export type DeploymentKey = {
  readonly key: string
  /** SHA-256 of what was asked. */
  readonly contentHash: string
}
/** How long a key is kept: after that the same key makes another deployment. */
export const DEPLOYMENT_KEY_MS: Millis = DAY

export type DeploymentStore = {
  /**
   * The deployment, its leases, first events and key, in one commit; the same again changes nothing. False: the id or the
   * key is another's, and nothing of this one is there.
   */
  createDeployment(
    stored: StoredDeployment,
    gateway: string,
    claimedUntil: Millis,
    events: readonly NewDeploymentEvent[],
    once?: DeploymentKey | null,
  ): Promise<boolean>
  /** What was made with this key in the last 24 h. */
  deploymentOfKey(
    account: string,
    key: string,
    now: Millis,
  ): Promise<{ readonly deployment: string; readonly contentHash: string } | null>
  /** Takes open deployments that nobody looks after, keeps the own ones, and gives all that are this gateway's now. */
  claimDeployments(gateway: string, now: Millis, claimedUntil: Millis): Promise<StoredDeployment[]>
  /** Of an account, newest first. */
  deploymentsOf(
    account: string,
    page: { readonly limit: number; readonly closed: boolean },
  ): Promise<StoredDeployment[]>
  /** By id, or by name among the open ones; null also where it is another account's. */
  findDeployment(account: string, idOrName: string): Promise<StoredDeployment | null>
  /** Every lease that has a node, for ingress and links: closed ones left out. */
  placedLeases(): Promise<LeaseRecord[]>
  /** Open leases that other gateways look after. */
  leasesElsewhere(gateway: string): Promise<LeaseRecord[]>
  /** It is closed once: again changes nothing, and tells nothing. */
  changeDeployment(
    id: string,
    change: Partial<Pick<DeploymentRecord, 'sdl' | 'closedAt' | 'closeReason' | 'name'>>,
    events: readonly NewDeploymentEvent[],
  ): Promise<void>
  /** Null: somebody changed it since `revision` was read. */
  changeLease(
    id: string,
    revision: number,
    change: LeaseChange,
    events: readonly NewDeploymentEvent[],
  ): Promise<LeaseRecord | null>
  addDeploymentEvents(deployment: string, events: readonly NewDeploymentEvent[]): Promise<void>
  deploymentEvents(
    deployment: string,
    after: number,
    limit: number,
  ): Promise<DeploymentEventRecord[]>
  /** Each all or nothing, in one durable commit; an outcome for each, in order. At most 500. */
  payLeases(payments: readonly LeasePayment[]): Promise<LeasePaid[]>
}
