/** Two gateways over one PostgreSQL are restarted one after the other; a client that retries notices nothing. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { reasonOf } from '../../src/core/base/refusal.ts'
import { ask, question, RequestFailed, type Answer } from '../support/answers.ts'
import { checkAllBills, checkLedger } from '../support/books.ts'
import { programNetwork } from '../support/network-of-programs.ts'

const LIMIT = { timeout: 600_000 }
const ROUNDS = 3
const LANES = 3
const TRIES = 3

describe('a rolling restart', LIMIT, () => {
  it('of one of two gateways, again and again, fails no request', LIMIT, async (t) => {
    const network = await programNetwork(t, { nodes: 2, gateways: 2 })
    const urls = network.gateways.map(({ url }) => url)
    const answers: Answer[] = []
    const failures: string[] = []
    const over = new AbortController()
    let number = 0
    let retries = 0

    /** As any SDK does: another try, at the next address, when the connection breaks or the gateway says that it leaves. */
    async function askAnywhere(which: number): Promise<void> {
      for (let tries = 1; ; tries++) {
        try {
          const url = urls[(which + tries) % urls.length] ?? ''
          answers.push(await ask(url, network.key, question(which)))
          return
        } catch (error) {
          if (!isPassing(error) || tries === TRIES) {
            failures.push(`question ${which}, try ${tries}: ${reasonOf(error)}`)
            return
          }
          retries += 1
        }
      }
    }
    const lane = async (): Promise<void> => {
      while (!over.signal.aborted) await askAnywhere(number++)
    }
    const lanes = Array.from({ length: LANES }, lane)
    for (let round = 0; round < ROUNDS; round++) {
      for (const { program, url } of network.gateways) {
        const before = answers.length
        await program.kill('SIGTERM')
        await program.start()
        await network.linked(url, network.nodes.length)
        await network.until('the load goes on', () => answers.length > before + LANES)
      }
    }
    over.abort()
    await Promise.all(lanes)
    t.diagnostic(
      `n ${number}, ${ROUNDS * urls.length} restarts: ${failures.length} failed, ${retries} tried again at the other gateway`,
    )
    assert.deepEqual(failures, [])
    for (const { program } of network.gateways) await program.kill('SIGTERM')
    checkAllBills(answers, await checkLedger(network))
  })
})

/** A connection that was made just before the gateway closed its door may be told so. */
const isPassing = (error: unknown): boolean =>
  error instanceof TypeError ||
  (error instanceof RequestFailed && error.message.includes('"shutting_down"'))
