/**
 * A closed load in lanes while a gateway or a database dies, and what must be left when it is over: what was
 * acknowledged is stored, nothing counts twice, all holds have returned.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { reasonOf } from '../../src/core/base/refusal.ts'
import { ask, RequestFailed, type Answer } from '../support/answers.ts'
import { checkBills, checkLedger } from '../support/books.ts'
import { FLEET_MODEL, fleetText } from '../support/fleet/fleet-engine.ts'
import { readSpools, type ProgramNetwork } from '../support/network-of-programs.ts'

export type LaneResult = {
  readonly n: number
  readonly answers: readonly Answer[]
  readonly failures: readonly string[]
  /** Connections that broke, and requests that found no node: only a gateway that dies excuses them. */
  readonly excused: number
}

export function startLanes(
  { url, key }: ProgramNetwork,
  options: { lanes: number; gatewayDies: boolean },
): { end(): Promise<LaneResult> } {
  const answers: Answer[] = []
  const failures: string[] = []
  const over = new AbortController()
  let number = 0
  let excused = 0

  async function askOnce(): Promise<void> {
    const tokens = 5 + (number % 20)
    const prompt = `lane question ${number++}`
    const common = { model: FLEET_MODEL, temperature: 0, stream: true, max_tokens: tokens }
    const body = { ...common, prompt, stream_options: { include_usage: true } }
    try {
      const answer = await ask(url, key, { path: '/v1/completions', body })
      answers.push({ ...answer, text: '' })
      if (answer.text !== fleetText(prompt, tokens)) failures.push(`a wrong text for ${prompt}`)
    } catch (error) {
      const broken = error instanceof TypeError
      const vacant = error instanceof RequestFailed && error.status === 503
      if (options.gatewayDies && (broken || vacant)) excused += 1
      else failures.push(reasonOf(error))
      await sleep(50)
    }
  }
  const lane = async (): Promise<void> => {
    while (!over.signal.aborted) await askOnce()
  }
  const running = Array.from({ length: options.lanes }, lane)
  return {
    async end() {
      over.abort()
      await Promise.all(running)
      return { n: number, answers, failures, excused }
    },
  }
}

/** Returns what was acknowledged to nodes, and what of it is lost; throws when the books are wrong. */
export async function settleAll(
  network: ProgramNetwork,
  answers: readonly Answer[],
): Promise<{ acknowledged: number; lost: number; paid: number }> {
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
  const acknowledged = nodes.flatMap(({ home }) => readSpools(home).acknowledged)
  const stored = new Set(
    (await database.run((sql) => sql<{ attempt: string }[]>`select attempt from receipts`)).map(
      ({ attempt }) => attempt.replace(/^att_/, 'rcpt_'),
    ),
  )
  const paid = await checkLedger(network)
  checkBills(answers, paid)
  const lost = acknowledged.filter((id) => !stored.has(id)).length
  return { acknowledged: acknowledged.length, lost, paid: paid.length }
}
