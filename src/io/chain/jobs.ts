/** Jobs on a chain (contracts/src/Jobs.sol): the calls, and what a job is. Who may do what now says core/market/job-escrow.ts. */
import {
  encodeFunctionData,
  parseEventLogs,
  zeroAddress,
  zeroHash,
  type Address,
  type Hex,
  type Log,
  type PublicClient,
} from 'viem'
import { Fault } from '../../core/base/refusal.ts'
import type {
  Job,
  JobStage,
  JobStatus,
  JobTerms,
  JobVerdict,
} from '../../core/market/job-escrow.ts'
import { jobsAbi } from './abi/jobs.ts'
import type { ContractCall } from './contract-call.ts'

export type NewJob = {
  /** Null: `setProvider` names it later. */
  readonly provider: Address | null
  /** May be the client itself. */
  readonly evaluator: Address
  /** The chain's seconds, a year ahead at most. */
  readonly expiredAtS: number
  /** 1,024 bytes at most. */
  readonly description: string
  readonly terms: JobTerms
}

/** What stands in a job beside its state. */
export type JobText = {
  readonly description: string
  /** Null before the provider submitted. */
  readonly deliverable: Hex | null
  /** The evaluator's; null before its verdict. */
  readonly reason: Hex | null
}

/** One function of the contract each; `at` is where it stands. Amounts are units of the token. */
export const jobCalls = (at: Address) => ({
  create: ({ provider, evaluator, expiredAtS, description, terms }: NewJob): ContractCall => ({
    target: at,
    data: encodeFunctionData({
      abi: jobsAbi,
      functionName: 'createJob',
      args: [
        provider ?? zeroAddress,
        evaluator,
        BigInt(expiredAtS),
        description,
        {
          bond: terms.bond,
          panelFee: terms.panelFee,
          disputeDeposit: terms.disputeDeposit,
          evaluationWindow: terms.evaluationWindowS,
          disputeWindow: terms.disputeWindowS,
          panelWindow: terms.panelWindowS,
          providerBps: terms.providerBps,
          panel: terms.panel,
        },
      ],
    }),
  }),
  setProvider: (id: bigint, provider: Address): ContractCall => ({
    target: at,
    data: encodeFunctionData({
      abi: jobsAbi,
      functionName: 'setProvider',
      args: [id, provider],
    }),
  }),
  setBudget: (id: bigint, units: bigint): ContractCall => ({
    target: at,
    data: encodeFunctionData({ abi: jobsAbi, functionName: 'setBudget', args: [id, units] }),
  }),
  postBond: (id: bigint): ContractCall => byId(at, 'postBond', id),
  withdrawBond: (id: bigint): ContractCall => byId(at, 'withdrawBond', id),
  fund: (id: bigint, expectedUnits: bigint): ContractCall => ({
    target: at,
    data: encodeFunctionData({ abi: jobsAbi, functionName: 'fund', args: [id, expectedUnits] }),
  }),
  submit: (id: bigint, deliverable: Hex): ContractCall => withHash(at, 'submit', id, deliverable),
  complete: (id: bigint, reason: Hex): ContractCall => withHash(at, 'complete', id, reason),
  reject: (id: bigint, reason: Hex): ContractCall => withHash(at, 'reject', id, reason),
  dispute: (id: bigint): ContractCall => byId(at, 'dispute', id),
  escalate: (id: bigint): ContractCall => byId(at, 'escalate', id),
  vote: (id: bigint, completed: boolean, reason: Hex): ContractCall => ({
    target: at,
    data: encodeFunctionData({
      abi: jobsAbi,
      functionName: 'vote',
      args: [id, completed, reason],
    }),
  }),
  execute: (id: bigint): ContractCall => byId(at, 'execute', id),
  claimRefund: (id: bigint): ContractCall => byId(at, 'claimRefund', id),
  /** What the token refused to pay the caller earlier. */
  withdrawCredit: (to: Address, units: bigint): ContractCall => ({
    target: at,
    data: encodeFunctionData({ abi: jobsAbi, functionName: 'withdrawCredit', args: [to, units] }),
  }),
})

type ById = 'postBond' | 'withdrawBond' | 'dispute' | 'escalate' | 'execute' | 'claimRefund'

const byId = (at: Address, functionName: ById, id: bigint): ContractCall => ({
  target: at,
  data: encodeFunctionData({ abi: jobsAbi, functionName, args: [id] }),
})

const withHash = (
  at: Address,
  functionName: 'submit' | 'complete' | 'reject',
  id: bigint,
  hash: Hex,
): ContractCall => ({
  target: at,
  data: encodeFunctionData({ abi: jobsAbi, functionName, args: [id, hash] }),
})

/** The id of the job that a mined `create` made. Throws when these logs made none there. */
export function createdJobId(at: Address, logs: Log[]): bigint {
  const events = parseEventLogs({ abi: jobsAbi, eventName: 'JobCreated', logs })
  const event = events.find(({ address }) => address.toLowerCase() === at.toLowerCase())
  if (event) return event.args.jobId
  throw new Fault('job_not_created', `These logs show no job created at ${at}.`)
}

/** As of the newest block, or of `blockNumber`. Null: there is no such job. */
export async function readJob(
  client: PublicClient,
  at: Address,
  id: bigint,
  blockNumber?: bigint,
): Promise<(Job & JobText) | null> {
  const of = { abi: jobsAbi, address: at, args: [id] } as const
  // One block for both: the terms never change, the job does.
  const [job, terms] = await Promise.all([
    client.readContract({ ...of, functionName: 'getJob', blockNumber }),
    client.readContract({ ...of, functionName: 'termsOf', blockNumber }),
  ])
  if (job.client === zeroAddress) return null
  return {
    id,
    client: job.client,
    provider: job.provider === zeroAddress ? null : job.provider,
    evaluator: job.evaluator,
    status: named(STATUSES, job.status),
    stage: named(STAGES, job.stage),
    verdict: named(VERDICTS, job.verdict),
    disputed: job.disputed,
    agreed: job.agreed,
    bonded: job.bonded,
    expiredAtS: job.expiredAt,
    deadlineS: job.deadline,
    votesToComplete: job.votesToComplete,
    votesToReject: job.votesToReject,
    voted: terms.panel.filter((_, seat) => (job.voted & (1 << seat)) !== 0),
    budget: job.budget,
    description: job.description,
    deliverable: job.deliverable === zeroHash ? null : job.deliverable,
    reason: job.reason === zeroHash ? null : job.reason,
    terms: {
      bond: terms.bond,
      panelFee: terms.panelFee,
      disputeDeposit: terms.disputeDeposit,
      evaluationWindowS: terms.evaluationWindow,
      disputeWindowS: terms.disputeWindow,
      panelWindowS: terms.panelWindow,
      providerBps: terms.providerBps,
      panel: terms.panel,
    },
  }
}

// In the order of the contract's enums.
const STATUSES: readonly JobStatus[] = [
  'open',
  'funded',
  'submitted',
  'completed',
  'rejected',
  'expired',
]
const STAGES: readonly JobStage[] = ['none', 'evaluation', 'appeal', 'panel']
const VERDICTS: readonly JobVerdict[] = ['none', 'complete', 'reject']

function named<Name>(names: readonly Name[], value: number): Name {
  const name = names[value]
  if (name !== undefined) return name
  throw new Fault('contract_unknown', `The contract answered ${value} where ${names.length} are.`)
}
