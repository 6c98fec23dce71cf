/**
 * A job in escrow (contracts/src/Jobs.sol, the states of ERC-8183): who may do what now, what happens when nobody does
 * anything, and what each is paid at the end. All as the contract has it, so that a party sees its way before it signs.
 *
 *   open ── fund ──► funded ── submit ──► evaluation ── verdict ──► appeal ── time ──► paid
 *    │ expiry          │ expiry              │ silence                │ dispute
 *    ▼                 ▼                     └────────► panel ◄───────┘
 *   over            refunded                              └── majority, or time ──► paid
 */

/** An account on the chain. */
export type Party = `0x${string}`

export type JobStatus = 'open' | 'funded' | 'submitted' | 'completed' | 'rejected' | 'expired'
/** What a submitted job waits for. */
export type JobStage = 'none' | 'evaluation' | 'appeal' | 'panel'
export type JobVerdict = 'none' | 'complete' | 'reject'

/** Amounts in units of the token, windows in seconds. What they mean stands in contracts/src/interfaces/IJobs.sol. */
export type JobTerms = {
  readonly bond: bigint
  readonly panelFee: bigint
  readonly disputeDeposit: bigint
  readonly evaluationWindowS: number
  readonly disputeWindowS: number
  readonly panelWindowS: number
  /** 0 stands for half. */
  readonly providerBps: number
  readonly panel: readonly Party[]
}

/** Times are the chain's, in whole seconds since the Unix epoch. */
export type Job = {
  readonly id: bigint
  readonly client: Party
  readonly provider: Party | null
  readonly evaluator: Party
  readonly status: JobStatus
  readonly stage: JobStage
  readonly verdict: JobVerdict
  readonly disputed: boolean
  readonly agreed: boolean
  readonly bonded: boolean
  readonly expiredAtS: number
  /** The last second of the stage; 0 outside of one. */
  readonly deadlineS: number
  readonly votesToComplete: number
  readonly votesToReject: number
  /** Members of the panel, in its order. */
  readonly voted: readonly Party[]
  readonly budget: bigint
  readonly terms: JobTerms
}

/** The contract's functions. */
export type JobMove =
  | 'setProvider'
  | 'setBudget'
  | 'postBond'
  | 'withdrawBond'
  | 'fund'
  | 'submit'
  | 'complete'
  | 'reject'
  | 'dispute'
  | 'escalate'
  | 'vote'
  | 'execute'
  | 'claimRefund'

export type PermittedMove = { readonly by: Party | 'anybody'; readonly move: JobMove }

/** What anybody may bring about, and from which second on. */
export type TimeStep = { readonly fromS: number; readonly move: JobMove }

export type JobOutlook = {
  readonly now: readonly PermittedMove[]
  /** Without any party: each step as early as it can be. Empty: all is paid out. */
  readonly byTimeAlone: readonly TimeStep[]
  /** What these steps pay in the end; null when all is paid out. */
  readonly pays: JobPayment | null
}

/** Units that leave the contract. */
export type JobPayment = {
  readonly provider: bigint
  readonly client: bigint
  readonly evaluator: bigint
  /** Each that voted gets so much. */
  readonly eachVoter: bigint
}

/** What the contract would take in a block of the second `nowS`, deposits not being paused. */
export function whoMayDoWhatNow(job: Job, nowS: number): JobOutlook {
  return { now: movesNow(job, nowS), byTimeAlone: timePath(job, nowS), pays: paidByTime(job) }
}

const ALL = 'anybody'

function movesNow(job: Job, nowS: number): PermittedMove[] {
  const expired = nowS >= job.expiredAtS
  const refund: PermittedMove[] = expired ? [{ by: ALL, move: 'claimRefund' }] : []
  switch (job.status) {
    case 'open':
      return [...movesWhileOpen(job, expired), ...refund]
    case 'funded':
      return expired || !job.provider ? refund : [{ by: job.provider, move: 'submit' }]
    case 'submitted':
      return movesOfStage(job, nowS > job.deadlineS)
    case 'completed':
    case 'rejected':
    case 'expired':
      return []
  }
}

function movesWhileOpen(job: Job, expired: boolean): PermittedMove[] {
  const { client, provider, evaluator } = job
  const moves: PermittedMove[] = [
    { by: client, move: 'setBudget' },
    { by: client, move: 'reject' },
    { by: evaluator, move: job.bonded ? 'withdrawBond' : 'postBond' },
  ]
  if (!provider) return [...moves, { by: client, move: 'setProvider' }]
  moves.push({ by: provider, move: 'setBudget' })
  if (job.budget > 0n && job.agreed && job.bonded && !expired)
    moves.push({ by: client, move: 'fund' })
  return moves
}

function movesOfStage(job: Job, over: boolean): PermittedMove[] {
  switch (job.stage) {
    case 'evaluation':
      if (over) return [{ by: ALL, move: 'escalate' }]
      return [
        { by: job.evaluator, move: 'complete' },
        { by: job.evaluator, move: 'reject' },
      ]
    case 'appeal':
      if (over) return [{ by: ALL, move: 'execute' }]
      return [
        { by: loserOf(job), move: 'dispute' },
        { by: loserOf(job), move: 'execute' },
      ]
    case 'panel':
      if (over) return [{ by: ALL, move: 'execute' }]
      return job.terms.panel
        .filter((member) => !job.voted.includes(member))
        .map((by) => ({ by, move: 'vote' }))
    case 'none':
      throw new Error(`job ${job.id} is submitted and waits for nothing`)
  }
}

/** The side that the verdict goes against. */
function loserOf({ verdict, client, provider }: Job): Party {
  return verdict === 'complete' || !provider ? client : provider
}

function timePath(job: Job, nowS: number): TimeStep[] {
  if (job.status === 'open' || job.status === 'funded')
    return [{ fromS: Math.max(nowS, job.expiredAtS), move: 'claimRefund' }]
  if (job.status !== 'submitted') return []
  const fromS = Math.max(nowS, job.deadlineS + 1)
  if (job.stage !== 'evaluation') return [{ fromS, move: 'execute' }]
  return [
    { fromS, move: 'escalate' },
    { fromS: fromS + job.terms.panelWindowS + 1, move: 'execute' },
  ]
}

function paidByTime(job: Job): JobPayment | null {
  const { status, terms, budget } = job
  if (status === 'submitted') return paidWith(job, 'none')
  if (status !== 'open' && status !== 'funded') return null
  return {
    provider: 0n,
    client: status === 'funded' ? budget : 0n,
    evaluator: job.bonded ? terms.bond : 0n,
    eachVoter: 0n,
  }
}

/**
 * What a submitted job pays when the panel's majority says so (`none`: it has none, or was not asked), with the votes that
 * were given. The sum is all that was paid in: budget, bond and, if there is one, deposit.
 */
export function paidWith(job: Job, majority: JobVerdict): JobPayment {
  const { terms, budget, verdict } = job
  const bps = BigInt(terms.providerBps === 0 ? BPS / 2 : terms.providerBps)
  const outcome = majority === 'none' ? verdict : majority
  const eachVoter = terms.panelFee / BigInt(terms.panel.length)
  const fees = eachVoter * BigInt(job.votesToComplete + job.votesToReject)
  let provider = outcome === 'complete' ? budget : 0n
  if (outcome === 'none') provider = (budget * bps) / BigInt(BPS)
  let client = budget - provider
  if (verdict === 'none') {
    // The bond of a silent evaluator is theirs who waited. A client that is its own evaluator did not.
    const lost = terms.bond - fees
    const share = job.evaluator === job.client ? lost : (lost * bps) / BigInt(BPS)
    return { provider: provider + share, client: client + lost - share, evaluator: 0n, eachVoter }
  }
  if (!job.disputed) return { provider, client, evaluator: terms.bond, eachVoter }
  const overruled = outcome !== verdict
  const deposit = overruled ? terms.disputeDeposit : terms.disputeDeposit - fees
  // Who wins before the panel has the deposit; without a majority what is left of it goes back to who disputed.
  if ((outcome === 'complete') === (majority !== 'none')) provider += deposit
  else client += deposit
  return { provider, client, evaluator: terms.bond - (overruled ? fees : 0n), eachVoter }
}

const BPS = 10_000
