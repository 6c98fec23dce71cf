/**
 * The gateway dies under load, and so does its database: what was acknowledged stays, and nothing counts twice.
 * The long form: TEST_GATEWAY_KILLS=50 TEST_POSTGRES_KILLS=20 npm test -- chaos-gateway
 */
import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { reasonOf } from '../../src/core/base/refusal.ts'
import { seededRandom } from '../../src/core/base/random.ts'
import { ask, question, RequestFailed, type Answer } from '../support/answers.ts'
import { checkBills, checkLedger } from '../support/books.ts'
import { programNetwork, readSpools, type ProgramNetwork } from '../support/network-of-programs.ts'
import { killPostgres, ownPostgres } from '../support/own-postgres.ts'

const LIMIT = { timeout: 600_000 }
const SEED = 20_261
const GATEWAY_KILLS = Number(process.env['TEST_GATEWAY_KILLS'] ?? 12)
const POSTGRES_KILLS = Number(process.env['TEST_POSTGRES_KILLS'] ?? 6)
const LANES = 3
const QUESTIONS = 12

describe('a gateway and a database that die', LIMIT, () => {
  it('SIGKILL of the gateway again and again under load', LIMIT, async (t) => {
    const network = await programNetwork(t, { nodes: 2 })
    const random = seededRandom(SEED)
    const [{ program, url }] = network.gateways
    const load = startLoad(network, { gatewayDies: true })
    for (let kills = 0; kills < GATEWAY_KILLS; kills++) {
      await network.linked(url, 1)
      await sleep(300 + random() * 600)
      await program.kill('SIGKILL')
      await program.start()
    }
    await network.linked(url, network.nodes.length)
    const answers = await load.end(t)
    t.diagnostic(`seed ${SEED}: ${GATEWAY_KILLS} times the gateway was killed and started again`)
    await checkEverything(t, network, answers)
  })

  it('SIGKILL of PostgreSQL again and again under load: requests go on', LIMIT, async (t) => {
    const postgres = await ownPostgres(t)
    const network = await programNetwork(t, { nodes: 2, databaseUrl: postgres.url })
    const random = seededRandom(SEED)
    const load = startLoad(network, { gatewayDies: false })
    for (let kills = 0; kills < POSTGRES_KILLS; kills++) {
      await sleep(100 + random() * 700)
      await killPostgres(postgres, network)
    }
    const answers = await load.end(t)
    t.diagnostic(`seed ${SEED}: ${POSTGRES_KILLS} times PostgreSQL was killed and started again`)
    await checkEverything(t, network, answers)
  })
})

/**
 * Asks without end. When the gateway dies, connections break, and a new one may be asked before its nodes are back
 * (503, nothing charged): a client tries again. Whatever else goes wrong is a failure.
 */
function startLoad({ url, key }: ProgramNetwork, { gatewayDies }: { gatewayDies: boolean }) {
  const texts = new Map<number, string>()
  const answers: Answer[] = []
  const failures: string[] = []
  const over = new AbortController()
  let number = 0
  let broken = 0
  let vacant = 0

  async function askOnce(): Promise<void> {
    const which = number++ % QUESTIONS
    try {
      const answer = await ask(url, key, question(which))
      answers.push(answer)
      assert.equal(answer.text, texts.get(which) ?? answer.text, 'the same text every time')
      texts.set(which, answer.text)
    } catch (error) {
      if (gatewayDies && error instanceof TypeError) broken += 1
      else if (gatewayDies && error instanceof RequestFailed && error.status === 503) vacant += 1
      else failures.push(reasonOf(error))
      await sleep(100)
    }
  }
  const lane = async (): Promise<void> => {
    while (!over.signal.aborted) await askOnce()
  }
  const lanes = Array.from({ length: LANES }, lane)
  return {
    async end(t: TestContext): Promise<Answer[]> {
      over.abort()
      await Promise.all(lanes)
      t.diagnostic(
        `n ${number}: ${answers.length} answered, ${broken} connections broke, ${vacant} found no node, ${failures.length} failed`,
      )
      assert.deepEqual(failures, [])
      assert.ok(answers.length > QUESTIONS, 'there was a load')
      return answers
    },
  }
}

/** Whatever was promised to a tenant or a node is in the books, once; all holds have returned. */
async function checkEverything(
  t: TestContext,
  network: ProgramNetwork,
  answers: readonly Answer[],
): Promise<void> {
  const { gateways, nodes, database } = network
  await network.until('the nodes have handed in every receipt', () =>
    nodes.every(({ home }) => readSpools(home).kept.length === 0),
  )
  const lives = await database.run(
    (sql) => sql<{ newest: bigint }[]>`select max(opened_at) as newest from holds`,
  )
  await network.until('the holds of dead gateways return', async () => {
    const open = await database.run(
      (sql) => sql`
        select 1 from holds where state = 'pending' and opened_at < ${String(lives[0]?.newest ?? 0n)}::bigint`,
    )
    return open.length === 0
  })
  for (const { program } of [...gateways, ...nodes]) await program.kill('SIGTERM')
  const spools = nodes.map(({ home }) => readSpools(home))
  const acknowledged = spools.flatMap((spool) => spool.acknowledged)
  const stored = new Set(
    (await database.run((sql) => sql<{ attempt: string }[]>`select attempt from receipts`)).map(
      ({ attempt }) => attempt.replace(/^att_/, 'rcpt_'),
    ),
  )
  const lost = acknowledged.filter((id) => !stored.has(id))
  const paid = await checkLedger(network)
  checkBills(answers, paid)
  t.diagnostic(
    `${paid.length} attempts paid, ${acknowledged.length} receipts acknowledged, ${lost.length} of them lost, ` +
      `${spools.flatMap(({ kept }) => kept).length} left in spools`,
  )
  assert.ok(acknowledged.length > 0, 'receipts were acknowledged')
  assert.deepEqual(lost, [], 'what a node was told is safe is stored')
}
