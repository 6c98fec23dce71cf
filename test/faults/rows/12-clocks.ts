import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { loadIdentity } from '../../../src/io/keys/identity.ts'
import { aDeployment } from '../../../src/io/store/deployment-samples.ts'
import { loadFor } from '../../support/fleet/load.ts'
import type { ProgramNetwork } from '../../support/network-of-programs.ts'
import { fakeNodeProgram } from '../../support/program.ts'
import { booksOf, disturbing, PACE_MS, seconds, SLOTS, startFleet, summary } from '../fleet-rows.ts'
import type { FaultRow, RowContext } from '../row.ts'

const HOUR_MS = 3_600_000
const SKEW = fileURLToPath(new URL('../../support/skewed-clock.mjs', import.meta.url))
/** In the life of the gateway: when its fleet is linked and under load. */
const STEP_AFTER_MS = 15_000
const CLAIM_MS = 15_000

const skewed = (ms: number, afterMs = 0): NodeJS.ProcessEnv => ({
  NODE_OPTIONS: `--import ${SKEW}`,
  BASELOAD_TEST_SKEW_MS: String(ms),
  BASELOAD_TEST_SKEW_AFTER_MS: String(afterMs),
})

export const row: FaultRow = {
  number: 12,
  fault:
    'clocks 1 h ahead and 1 h behind: of a gateway from its start, of one amid the load, of two nodes',
  load: '30 streams a second over 3 gateways on 4 fake nodes; a deployment that the right gateway looks after',
  promise:
    '0 failed, no hold or claim ends early, no bill below 0; a node whose clock is wrong is told so and not linked',
  async run(context) {
    const skews = [skewed(0), skewed(HOUR_MS), skewed(-HOUR_MS, STEP_AFTER_MS)]
    const { network, random } = await startFleet(context, {
      nodes: 4,
      gateways: 3,
      gatewayEnv: () => Promise.resolve(skews.shift() ?? {}),
    })
    const { gateways, key, database } = network
    const wrongNodes = await startWrongNodes(context, network)
    const moves = await watchOwner(context, network)
    const load = await loadFor(
      {
        url: (number) => gateways[number % gateways.length]?.url ?? network.url,
        key,
        perSecond: 30,
        tokens: [5, 30],
        random,
        signal: context.signal,
      },
      context.form === 'short' ? 18 : 120,
    )
    const moved = await moves()
    const refused = wrongNodes.filter(({ said }) =>
      /link_clock_skew\): the node's clock says/.test(said),
    )
    const linked = wrongNodes.filter(({ said }) => /linked to gateway/.test(said))
    const [counts] = await database.run(
      (sql) => sql<{ expired: bigint; negative: bigint }[]>`
        select (select count(*) from holds where state = 'expired') as expired,
          (select count(*) from usage where nano_usd < 0) as negative`,
    )
    const wrong = await booksOf(network, load, { all: true })
    return {
      n: load.n,
      measured:
        `${summary(load, wrong)}; ${counts?.expired} holds ended early, ${counts?.negative} bills below 0, ` +
        `the deployment moved ${moved} times; ${refused.length} of ${wrongNodes.length} wrong nodes were told, ${linked.length} linked`,
      pass:
        load.failures.length === 0 &&
        wrong === null &&
        counts?.expired === 0n &&
        counts.negative === 0n &&
        moved === 0 &&
        refused.length === wrongNodes.length &&
        linked.length === 0,
    }
  },
}

/** One an hour ahead, one an hour behind. */
async function startWrongNodes({ after }: RowContext, { gateways }: ProgramNetwork) {
  const folder = mkdtempSync(join(tmpdir(), 'baseload-clocks-'))
  const nodes = [HOUR_MS, -HOUR_MS].map((ms) =>
    fakeNodeProgram({
      name: `node ${ms} ms off`,
      home: join(folder, `node${ms}`),
      gateways: gateways.map(({ url }) => url),
      engine: { paceMs: PACE_MS, slots: SLOTS },
      env: skewed(ms),
    }),
  )
  after(async () => {
    await Promise.all(nodes.map((node) => node.kill('SIGKILL')))
    rmSync(folder, { recursive: true, force: true })
  })
  await Promise.all(nodes.map((node) => node.start()))
  return nodes
}

/** A deployment of the first gateway; the function says how often another took it. */
async function watchOwner(
  context: RowContext,
  { gateways: [{ home }], account, store, database }: ProgramNetwork,
): Promise<() => Promise<number>> {
  const owner = loadIdentity('gw', join(home, 'gateway.key')).id
  const stored = aDeployment(account)
  const { id } = stored.deployment
  await store.createDeployment(
    { ...stored, leases: stored.leases.map((lease) => ({ ...lease, hold: null })) },
    owner,
    Date.now() + CLAIM_MS,
    [],
  )
  let seen = owner
  let moves = 0
  let looks = 0
  const end = disturbing(context.signal, async () => {
    const [found] = await database.run(
      (sql) => sql<{ gateway: string }[]>`select gateway from deployments where id = ${id}`,
    )
    if (found && found.gateway !== seen) moves += 1
    seen = found?.gateway ?? seen
    looks += 1
    await seconds(0.1, context.signal)
  })
  return async () => {
    await end()
    assert.ok(looks > 10, 'the deployment was watched')
    const [found] = await database.run(
      (sql) =>
        sql<{ closed_at: bigint | null }[]>`select closed_at from deployments where id = ${id}`,
    )
    assert.equal(found?.closed_at, null, 'the deployment is open')
    return moves
  }
}
