/**
 * Nodes die, hang, and are cut off while they answer; the tenant reads the same text, byte for byte.
 * The long form: TEST_CHAOS_REQUESTS=200 npm test -- chaos-nodes
 */
import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { reasonOf } from '../../src/core/base/refusal.ts'
import { seededRandom, type Random } from '../../src/core/base/random.ts'
import { ask, inLanes, question, type Answer } from '../support/answers.ts'
import { checkAllBills, checkLedger } from '../support/books.ts'
import { startFaultProxy, type FaultMode, type FaultProxy } from '../support/fault-proxy.ts'
import {
  programNetwork,
  type NodeProcess,
  type ProgramNetwork,
} from '../support/network-of-programs.ts'

const LIMIT = { timeout: 600_000 }
const SEED = 20_260
const LANES = 4
const KILLED_REQUESTS = Number(process.env['TEST_CHAOS_REQUESTS'] ?? 80)
const OTHER_REQUESTS = Math.ceil(KILLED_REQUESTS * 0.4)

describe('nodes that come and go', LIMIT, () => {
  it(
    'SIGKILL of a random node every second: each text is whole and paid once',
    LIMIT,
    async (t) => {
      const { network, random } = await setup(t)
      let kills = 0
      const restarting = new Map<NodeProcess, Promise<unknown>>()
      const restart = async (node: NodeProcess): Promise<void> => {
        await node.program.kill('SIGKILL')
        await node.program.start()
        await node.program.says(/linked to gateway/)
        restarting.delete(node)
      }
      const answers = await askAll(t, network, KILLED_REQUESTS, async () => {
        const up = network.nodes.filter((node) => !restarting.has(node))
        // With the last one gone there is nothing to carry on at: that is another test's matter.
        if (up.length > 1) {
          kills += 1
          const node = pick(up, random)
          restarting.set(node, restart(node))
        }
        await sleep(1000)
      })
      await Promise.all(restarting.values())
      await checkMoney(t, network, answers)
      t.diagnostic(`${kills} times a node was killed and started again`)
      assert.ok(kills > 3, 'nodes were killed while they answered')
    },
  )

  it('SIGSTOP: nodes that hang are left, and do no harm when they wake', LIMIT, async (t) => {
    const { network, random } = await setup(t)
    let stops = 0
    const answers = await askAll(t, network, OTHER_REQUESTS, async () => {
      const { program } = pick(network.nodes, random)
      program.signal('SIGSTOP')
      stops += 1
      await sleep(500 + random() * 3000)
      program.signal('SIGCONT')
    })
    await checkMoney(t, network, answers)
    t.diagnostic(`${stops} times a node was stopped for 0.5 to 3.5 s`)
    assert.ok(stops > 0, 'nodes hung while they answered')
  })

  it('links that are cut, slow, dripping or half-open', LIMIT, async (t) => {
    const proxies: FaultProxy[] = []
    const { network, random } = await setup(t, async (targetPort) => {
      const proxy = await startFaultProxy({ targetPort, random: seededRandom(SEED) })
      t.after(() => proxy.close())
      proxies.push(proxy)
      return proxy.port
    })
    const counts = new Map<string, number>()
    const answers = await askAll(t, network, OTHER_REQUESTS, async () => {
      const proxy = pick(proxies, random)
      const [kind, mode] = pick(FAULTS, random)
      counts.set(kind, (counts.get(kind) ?? 0) + 1)
      if (mode === null) proxy.cutAll()
      else proxy.set(mode)
      await sleep(300 + random() * 1500)
      // What a half-open connection swallowed is lost: only a new one helps.
      if (kind === 'swallow') proxy.cutAll()
      proxy.set({ kind: 'pass' })
    })
    await checkMoney(t, network, answers)
    t.diagnostic(`faults: ${JSON.stringify(Object.fromEntries(counts))}`)
    assert.ok(counts.size > 1, 'links misbehaved while they were used')
  })
})

const FAULTS: readonly (readonly [string, FaultMode | null])[] = [
  ['cut', null],
  ['delay', { kind: 'delay', delayMs: 150, jitterMs: 300 }],
  ['drip', { kind: 'drip', bytes: 7, everyMs: 20 }],
  ['swallow', { kind: 'swallow' }],
]

/** What the model says when nobody disturbs it, by the question's number: asked once for all tests. */
const undisturbed: string[] = []

/** Asks while `disturb` runs again and again, and holds the texts against the undisturbed. */
async function askAll(
  t: TestContext,
  network: ProgramNetwork,
  count: number,
  disturb: () => Promise<void>,
): Promise<Answer[]> {
  const { url, key } = network
  const first = undisturbed.length
  const before = await inLanes(Math.max(0, count - first), LANES, (i) =>
    ask(url, key, question(first + i)),
  )
  undisturbed.push(...before.map(({ text }) => text))
  const over = new AbortController()
  const chaos = (async () => {
    while (!over.signal.aborted) await disturb()
  })()
  const startedAt = performance.now()
  const slowestMs: number[] = []
  const failures: string[] = []
  const answers = await inLanes(count, LANES, async (number): Promise<Answer | null> => {
    const askedAt = performance.now()
    try {
      return await ask(url, key, question(number))
    } catch (error) {
      failures.push(`question ${number}: ${reasonOf(error)}`)
      return null
    } finally {
      slowestMs.push(performance.now() - askedAt)
    }
  })
  const seconds = (performance.now() - startedAt) / 1000
  over.abort()
  await chaos
  const whole = answers.filter((answer) => answer !== null)
  const wrong = answers.filter((answer, i) => answer && answer.text !== undisturbed[i]).length
  const moved = whole.filter(({ attempts }) => attempts.length > 1).length
  t.diagnostic(
    `n ${count}, failed ${failures.length}, other texts ${wrong}, carried on elsewhere ${moved}; ` +
      `${seconds.toFixed(1)} s, slowest ${(Math.max(...slowestMs) / 1000).toFixed(1)} s`,
  )
  assert.deepEqual(failures, [])
  assert.equal(wrong, 0, 'every text is byte-equal to the undisturbed one')
  return [...before, ...whole]
}

/** Every token is paid once, to whom produced it. */
async function checkMoney(
  t: TestContext,
  network: ProgramNetwork,
  answers: readonly Answer[],
): Promise<void> {
  // A gateway that leaves pays on its own word what no receipt came for.
  await network.gateways[0].program.kill('SIGTERM')
  const paid = await checkLedger(network)
  checkAllBills(answers, paid)
  const own = paid.filter(({ witness }) => witness === 'gateway').length
  t.diagnostic(`${paid.length} attempts paid, ${own} of them on the gateway's word`)
}

async function setup(t: TestContext, dial?: (gatewayPort: number) => Promise<number>) {
  t.diagnostic(`seed ${SEED}`)
  const network = await programNetwork(t, { nodes: 3, ...(dial && { dial }) })
  return { network, random: seededRandom(SEED) }
}

function pick<T>(of: readonly T[], random: Random): T {
  const picked = of[Math.floor(random() * of.length)]
  assert.ok(picked !== undefined, 'there is something to pick')
  return picked
}
