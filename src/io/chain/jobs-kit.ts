/** Jobs for tests: the contract on a test chain, its parties with money, and the chain's clock in the test's hands. */
import { encodeDeployData, erc20Abi, maxUint256, toHex, zeroHash, type Address } from 'viem'
import {
  whoMayDoWhatNow,
  type Job,
  type JobMove,
  type JobTerms,
} from '../../core/market/job-escrow.ts'
import { jobsAbi, jobsBytecode } from './abi/jobs.ts'
import { approvalCall, type ContractCall } from './contract-call.ts'
import { createdJobId, jobCalls, readJob, type NewJob } from './jobs.ts'
import type { TestChain, TestWallet } from './local/test-chain.ts'

const HOUR_S = 3600
/** Units that each party begins with. */
export const STAKE = 100_000_000n
const HASH = `0x${'11'.repeat(32)}` as const

export type JobBench = {
  readonly at: Address
  readonly client: TestWallet
  readonly provider: TestWallet
  readonly evaluator: TestWallet
  /** Three, rising by address. */
  readonly panel: readonly TestWallet[]
  readonly stranger: TestWallet
  readonly terms: JobTerms
  nowS(): Promise<number>
  balance(of: Address): Promise<bigint>
  job(id: bigint): Promise<Job>
  create(more?: Partial<NewJob>): Promise<bigint>
  /** Up to a submission. */
  submitted(more?: Partial<NewJob>): Promise<bigint>
  /** In a block of that second; the next one when none is given. Rejects with the contract's error. */
  send(by: TestWallet, call: ContractCall, atS?: number): Promise<void>
  /** Whether the contract would take it in that second. */
  takes(by: Address, call: ContractCall, atS: number): Promise<boolean>
  callFor(move: JobMove, job: Job): ContractCall
}

export const BUDGET = 300_001n

export async function jobBench(chain: TestChain, more: Partial<JobTerms> = {}): Promise<JobBench> {
  const { client: reader, addresses } = chain
  const { token } = addresses
  const data = encodeDeployData({
    abi: jobsAbi,
    bytecode: jobsBytecode,
    args: [token, chain.guardian.address],
  })
  const hash = await chain.guardian.client.sendTransaction({ data })
  const { contractAddress: at } = await reader.waitForTransactionReceipt({ hash })
  if (!at) throw new Error('Jobs was not deployed')
  const wallets: TestWallet[] = []
  while (wallets.length < 3) wallets.push(await chain.wallet('10', STAKE))
  const panel = wallets.toSorted((a, b) =>
    a.address.toLowerCase() < b.address.toLowerCase() ? -1 : 1,
  )
  const client = await chain.wallet('10', STAKE)
  const provider = await chain.wallet('10', STAKE)
  const evaluator = await chain.wallet('10', STAKE)
  const stranger = await chain.wallet('10')
  const terms: JobTerms = {
    bond: 50_003n,
    panelFee: 9_001n,
    disputeDeposit: 20_007n,
    evaluationWindowS: HOUR_S,
    disputeWindowS: 2 * HOUR_S,
    panelWindowS: 3 * HOUR_S,
    providerBps: 3_333,
    panel: panel.map(({ address }) => address),
    ...more,
  }
  const calls = jobCalls(at)
  const nowS = async (): Promise<number> => Number((await reader.getBlock()).timestamp)
  const send: JobBench['send'] = async (by, call, atS) => {
    if (atS !== undefined) await chain.rpc('evm_setNextBlockTimestamp', [toHex(atS)])
    const sent = await by.client.sendTransaction({ to: call.target, data: call.data })
    const { status } = await reader.waitForTransactionReceipt({ hash: sent })
    if (status !== 'success') throw new Error(`${call.data.slice(0, 10)} was mined and reverted`)
  }
  for (const party of [client, provider, evaluator])
    await send(party, approvalCall(token, at, maxUint256))

  const create: JobBench['create'] = async (of = {}) => {
    const call = calls.create({
      provider: provider.address,
      evaluator: evaluator.address,
      expiredAtS: (await nowS()) + HOUR_S,
      description: 'count the primes below a million',
      terms,
      ...of,
    })
    const sent = await client.client.sendTransaction({ to: call.target, data: call.data })
    const { logs } = await reader.waitForTransactionReceipt({ hash: sent })
    return createdJobId(at, logs)
  }
  return {
    at,
    client,
    provider,
    evaluator,
    panel,
    stranger,
    terms,
    nowS,
    balance: (of) =>
      reader.readContract({ abi: erc20Abi, address: token, functionName: 'balanceOf', args: [of] }),
    async job(id) {
      const job = await readJob(reader, at, id)
      if (!job) throw new Error(`there is no job ${id}`)
      return job
    },
    create,
    async submitted(of) {
      const id = await create(of)
      await send(provider, calls.setBudget(id, BUDGET))
      await send(of?.evaluator === client.address ? client : evaluator, calls.postBond(id))
      await send(client, calls.fund(id, BUDGET))
      await send(provider, calls.submit(id, HASH))
      return id
    },
    send,
    async takes(by, { target, data: of }, atS) {
      try {
        await reader.call({
          account: by,
          to: target,
          data: of,
          blockOverrides: { time: BigInt(atS) },
        })
        return true
      } catch (error) {
        if (/revert/i.test(String(error))) return false
        throw error
      }
    },
    callFor(move, { id, budget }) {
      switch (move) {
        case 'setProvider':
          return calls.setProvider(id, provider.address)
        case 'setBudget':
          return calls.setBudget(id, BUDGET)
        case 'fund':
          return calls.fund(id, budget)
        case 'submit':
        case 'complete':
        case 'reject':
          return calls[move](id, HASH)
        case 'vote':
          return calls.vote(id, true, zeroHash)
        case 'postBond':
        case 'withdrawBond':
        case 'dispute':
        case 'escalate':
        case 'execute':
        case 'claimRefund':
          return calls[move](id)
      }
    },
  }
}

/** Takes the steps that time alone allows, by a stranger, each as early as it can be. */
export async function passTime(bench: JobBench, id: bigint): Promise<readonly JobMove[]> {
  const taken: JobMove[] = []
  for (;;) {
    const job = await bench.job(id)
    const step = whoMayDoWhatNow(job, (await bench.nowS()) + 1).byTimeAlone[0]
    if (!step) return taken
    await bench.send(bench.stranger, bench.callFor(step.move, job), step.fromS)
    taken.push(step.move)
  }
}
