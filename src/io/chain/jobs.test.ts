import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { describe, it, type TestContext } from 'node:test'
import { zeroHash, type Address } from 'viem'
import { seededRandom } from '../../core/base/random.ts'
import {
  paidWith,
  whoMayDoWhatNow,
  type Job,
  type JobMove,
  type JobPayment,
} from '../../core/market/job-escrow.ts'
import { createdJobId, jobCalls, readJob } from './jobs.ts'
import { BUDGET, jobBench, passTime, STAKE, type JobBench } from './jobs-kit.ts'
import { testChain, type TestWallet } from './local/test-chain.ts'

const MOVES: readonly JobMove[] = [
  'setProvider',
  'setBudget',
  'postBond',
  'withdrawBond',
  'fund',
  'submit',
  'complete',
  'reject',
  'dispute',
  'escalate',
  'vote',
  'execute',
  'claimRefund',
]
const HASH = `0x${'22'.repeat(32)}` as const
const WALKS = Number(process.env['TEST_JOB_WALKS'] ?? 4)

describe('a job on a chain', { timeout: 240_000 }, () => {
  it('is what was agreed', async (t) => {
    const { bench, client } = await setup(t)
    const id = await bench.create({ provider: null })
    const job = await readJob(client, bench.at, id)
    assert.equal(job?.description, 'count the primes below a million')
    assert.deepEqual(job.terms, bench.terms)
    assert.equal(job.provider, null)
    assert.equal(job.deliverable, null)
    assert.equal(await readJob(client, bench.at, id + 1n), null)
    assert.throws(() => createdJobId(bench.at, []), /no job created/)
  })

  it('whose evaluator and panel are silent pays both sides, by time alone', async (t) => {
    const { bench } = await setup(t)
    const id = await bench.submitted()
    assert.deepEqual(await paidBy(bench, id, () => passTime(bench, id)), {
      taken: ['escalate', 'execute'],
      // 33.33 % of budget and bond for the provider, the rest for the client; nothing for who was silent.
      provider: 99_990n + 16_665n,
      client: BUDGET - 99_990n + 50_003n - 16_665n,
      evaluator: 0n,
      panel: [0n, 0n, 0n],
    })
    assert.equal((await bench.job(id)).status, 'expired')
  })

  it('whose evaluator is silent is decided by the panel, which that bond pays', async (t) => {
    const { bench } = await setup(t)
    const id = await bench.submitted()
    const calls = jobCalls(bench.at)
    const paid = await paidBy(bench, id, async () => {
      const { deadlineS } = await bench.job(id)
      await bench.send(bench.stranger, calls.escalate(id), deadlineS + 1)
      for (const member of bench.panel.slice(0, 2))
        await bench.send(member, calls.vote(id, true, HASH))
      return []
    })
    assert.deepEqual(paid.panel, [3_000n, 3_000n, 0n])
    assert.equal(paid.provider + paid.client, BUDGET + 50_003n - 6_000n)
    assert.ok(paid.provider >= BUDGET, 'the work was good')
  })

  it('is paid by a verdict that nobody disputes, by time alone', async (t) => {
    const { bench } = await setup(t)
    const id = await bench.submitted()
    const paid = await paidBy(bench, id, async () => {
      await bench.send(bench.evaluator, jobCalls(bench.at).complete(id, HASH))
      return passTime(bench, id)
    })
    assert.deepEqual(paid, {
      taken: ['execute'],
      provider: BUDGET,
      client: 0n,
      evaluator: 50_003n,
      panel: [0n, 0n, 0n],
    })
  })

  it('that nobody submits goes back at its expiry, and the bond with it', async (t) => {
    const { bench } = await setup(t)
    const calls = jobCalls(bench.at)
    const id = await bench.create()
    await bench.send(bench.provider, calls.setBudget(id, BUDGET))
    await bench.send(bench.evaluator, calls.postBond(id))
    await bench.send(bench.client, calls.fund(id, BUDGET))
    assert.deepEqual(await paidBy(bench, id, () => passTime(bench, id)), {
      taken: ['claimRefund'],
      provider: 0n,
      client: BUDGET,
      evaluator: 50_003n,
      panel: [0n, 0n, 0n],
    })
  })

  it('takes from each party what is told that it may do, in every second of every state', async (t) => {
    const seed = Number(process.env['TEST_SEED'] ?? randomInt(2 ** 31))
    t.diagnostic(`seed ${seed}`)
    const random = seededRandom(seed)
    const { bench } = await setup(t)
    const seen = new Set<string>()
    for (let walk = 0; walk < WALKS; walk++) {
      const id = await bench.create(walk % 3 === 0 ? { provider: null } : {})
      for (let step = 0; step < 14; step++) {
        const job = await bench.job(id)
        const kind = kindOf(job, (await bench.nowS()) + 1)
        if (!seen.has(kind))
          for (const atS of momentsOf(job, (await bench.nowS()) + 1))
            await checkMoves(bench, job, atS)
        seen.add(kind)
        if (!(await randomMove(bench, job, random))) break
      }
      const before = await bench.job(id)
      const { pays } = whoMayDoWhatNow(before, (await bench.nowS()) + 1)
      const paid = await paidBy(bench, id, () => passTime(bench, id))
      const { provider, client, evaluator } = pays ?? NOTHING
      assert.deepEqual(
        { ...paid, panel: null, taken: null },
        { provider, client, evaluator, panel: null, taken: null },
      )
      assert.equal(await bench.balance(bench.at), 0n, `seed ${seed}: job ${id} left money`)
    }
    assert.ok(seen.size >= 8, `only ${[...seen].join('; ')} were seen`)
    const all = partiesOf(bench)
    const left = await Promise.all(all.map(({ address }) => bench.balance(address)))
    assert.equal(
      left.reduce((sum, units) => sum + units, 0n),
      STAKE * 6n,
    )
  })

  it('pays every majority of its panel as is told before', async (t) => {
    const { bench } = await setup(t)
    const calls = jobCalls(bench.at)
    for (const verdict of ['complete', 'reject', 'none'] as const)
      for (const majority of ['complete', 'reject', 'none'] as const) {
        const id = await bench.submitted()
        const { deadlineS } = await bench.job(id)
        if (verdict === 'none') await bench.send(bench.stranger, calls.escalate(id), deadlineS + 1)
        else {
          await bench.send(bench.evaluator, calls[verdict](id, HASH))
          const loser = verdict === 'complete' ? bench.client : bench.provider
          await bench.send(loser, calls.dispute(id))
        }
        const paid = await paidBy(bench, id, async () => {
          const votes =
            majority === 'none' ? [true] : [majority === 'complete', majority === 'complete']
          for (const [seat, completed] of votes.entries()) {
            const member = bench.panel[seat] ?? bench.stranger
            await bench.send(member, calls.vote(id, completed, zeroHash))
          }
          return majority === 'none' ? passTime(bench, id) : []
        })
        const { eachVoter, ...parties } = paidWith(await bench.job(id), majority)
        const voters = majority === 'none' ? 1 : 2
        assert.deepEqual(paid.panel, [eachVoter, voters === 2 ? eachVoter : 0n, 0n])
        const { provider, client, evaluator } = paid
        assert.deepEqual({ provider, client, evaluator }, parties, `${verdict}, then ${majority}`)
        assert.equal(await bench.balance(bench.at), 0n)
      }
  })
})

const NOTHING: JobPayment = { provider: 0n, client: 0n, evaluator: 0n, eachVoter: 0n }

/** What the answer depends on: jobs of one kind are asked about once. */
function kindOf(job: Job, nowS: number): string {
  const { status, stage, verdict, agreed, bonded, provider, budget, voted } = job
  const late = [nowS >= job.expiredAtS, nowS > job.deadlineS]
  return [status, stage, verdict, agreed, bonded, !!provider, budget > 0n, voted, late].join(' ')
}

/** Now, and both sides of each edge ahead. */
function momentsOf({ expiredAtS, deadlineS }: Job, nowS: number): number[] {
  const edges = [expiredAtS - 1, expiredAtS, deadlineS, deadlineS + 1]
  return [nowS, ...edges.filter((atS) => atS > nowS)]
}

async function checkMoves(bench: JobBench, job: Job, atS: number): Promise<void> {
  const { now } = whoMayDoWhatNow(job, atS)
  const told = (by: Address, move: JobMove): boolean =>
    now.some((permitted) => permitted.move === move && ['anybody', by].includes(permitted.by))
  const parties = [...partiesOf(bench).slice(0, 4), bench.stranger]
  await Promise.all(
    parties.flatMap(({ address }) =>
      MOVES.map(async (move) => {
        const takes = await bench.takes(address, bench.callFor(move, job), atS)
        const state = `${job.status} ${job.stage} at ${atS - job.deadlineS}`
        assert.equal(takes, told(address, move), `${move} by ${address}, ${state}`)
      }),
    ),
  )
}

/** One of the permitted moves, now or when time has passed; false when there is none. */
async function randomMove(bench: JobBench, job: Job, random: () => number): Promise<boolean> {
  const nowS = (await bench.nowS()) + 1
  const moments = momentsOf(job, nowS)
  const late = moments[Math.floor(random() * moments.length)] ?? nowS
  const atS = random() < 0.15 ? late : nowS
  // To get anywhere, what ends or undoes an open job is rare.
  const moves = whoMayDoWhatNow(job, atS).now.filter(
    ({ move }) =>
      job.status !== 'open' ||
      !['reject', 'withdrawBond', 'claimRefund'].includes(move) ||
      random() < 0.1,
  )
  const chosen = moves[Math.floor(random() * moves.length)]
  if (!chosen) return job.status === 'open'
  const parties = partiesOf(bench)
  const by = parties.find(({ address }) => address === chosen.by) ?? bench.stranger
  await bench.send(by, bench.callFor(chosen.move, job), atS)
  return true
}

/** What `run` moves out of the contract to each, in units. */
async function paidBy(bench: JobBench, id: bigint, run: () => Promise<readonly JobMove[]>) {
  const parties = partiesOf(bench)
  const balances = () => Promise.all(parties.map(({ address }) => bench.balance(address)))
  const before = await balances()
  const taken = await run()
  const after = await balances()
  const { status } = await bench.job(id)
  assert.ok(['completed', 'rejected', 'expired'].includes(status), `job ${id} is ${status}`)
  const [client = 0n, provider = 0n, evaluator = 0n, ...panel] = after.map(
    (units, index) => units - (before[index] ?? 0n),
  )
  return { taken, provider, client, evaluator, panel }
}

const partiesOf = ({ client, provider, evaluator, panel }: JobBench): TestWallet[] => [
  client,
  provider,
  evaluator,
  ...panel,
]

async function setup(t: TestContext) {
  const chain = await testChain(t)
  return { client: chain.client, bench: await jobBench(chain) }
}
