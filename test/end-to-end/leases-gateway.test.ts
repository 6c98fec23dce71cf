/** The gateway and its database die under leases: every container runs on, under the same epoch, and is paid once. */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { seededRandom } from '../../src/core/base/random.ts'
import { containersUnavailable } from '../support/container-engines.ts'
import {
  checkLeaseMoney,
  leaseNetwork,
  openYard,
  PAGE,
  worth,
  type LeaseNetwork,
  type LeaseState,
  type LeaseYard,
} from '../support/lease-network.ts'
import { killPostgres, ownPostgres } from '../support/own-postgres.ts'

const skip = containersUnavailable()
const LIMIT = { timeout: 600_000 }
const SEED = 20_263
/** The acceptance asks for 50: `TEST_LEASES=50`. */
const LEASES = Number(process.env['TEST_LEASES'] ?? 12)
const GATEWAY_KILLS = 5
const POSTGRES_KILLS = 2
/** Bills come every 5 s, and a node's last word may be a heartbeat old. */
const UNBILLED_MS = 15_000

describe('leases', { skip, ...LIMIT }, () => {
  let yard: LeaseYard
  before(async () => (yard = await openYard()), { timeout: 300_000 })
  after(() => yard.close(), { timeout: 60_000 })

  it('run on while the gateway and PostgreSQL are killed', LIMIT, async (t) => {
    const postgres = await ownPostgres(t)
    const network = await leaseNetwork(t, yard, { nodes: 2, databaseUrl: postgres.url })
    const random = seededRandom(SEED)
    const names = Array.from({ length: LEASES }, (_, i) => `app-${i}`)
    const deployedAt = Date.now()
    for (const name of names) await network.deploy(name, { cpu: '0.03' })
    const placed: LeaseState[] = []
    for (const name of names) placed.push(await network.running(name))
    t.diagnostic(`${LEASES} leases ran ${Date.now() - deployedAt} ms after they were ordered`)
    const containers = await startsOf(network)
    assert.equal(containers.length, LEASES)

    const [{ program, url }] = network.gateways
    for (let kills = 0; kills < GATEWAY_KILLS; kills++) {
      await sleep(random() * 2000)
      await program.kill('SIGKILL')
      await sleep(random() * 1000)
      await program.start()
      await network.linked(url, network.nodes.length)
    }
    for (let kills = 0; kills < POSTGRES_KILLS; kills++) {
      await sleep(random() * 2000)
      await killPostgres(postgres, network)
    }
    await network.until('every page is there', async () => {
      const pages = await Promise.all(placed.map(({ id }) => network.page(id)))
      return pages.every((page) => page === PAGE)
    })
    await network.until('all is billed again', async () => {
      const now = await leasesOf(network, names)
      return now.every(({ billed_until }) => Date.now() - Date.parse(billed_until ?? '') < 8_000)
    })

    const now = await leasesOf(network, names)
    assert.deepEqual(
      now.map(({ id, state, epoch, node }) => [id, state, epoch, node]),
      placed.map(({ id, epoch, node }) => [id, 'running', epoch, node]),
    )
    assert.deepEqual(await startsOf(network), containers, 'no container was started anew')
    const ends = await Promise.all(names.map((name) => closed(network, name)))
    const { paidNanoUsd } = await checkLeaseMoney(network)
    const spent = ends.reduce((sum, lease) => sum + BigInt(lease.spent.nano_usd), 0n)
    assert.equal(spent, paidNanoUsd, 'the tenant paid what the leases cost')
    for (const [i, lease] of ends.entries()) checkBill(placed[i], lease)
    t.diagnostic(
      `seed ${SEED}: ${GATEWAY_KILLS} times the gateway, ${POSTGRES_KILLS} times PostgreSQL was killed under ` +
        `${LEASES} leases: 0 closed, 0 moved, 0 containers started anew, ${paidNanoUsd} nano-dollars paid`,
    )
  })
})

const leasesOf = (network: LeaseNetwork, names: readonly string[]): Promise<LeaseState[]> =>
  Promise.all(names.map((name) => network.lease(name)))

/** Which containers run, and since when. */
async function startsOf(network: LeaseNetwork): Promise<string[]> {
  const running = await Promise.all(network.nodes.map((node) => network.containersOf({ node })))
  const starts = running.flat().map(async ({ Id }) => {
    const { State } = await network.docker.getContainer(Id).inspect()
    return `${Id} ${State.StartedAt}`
  })
  return (await Promise.all(starts)).toSorted()
}

async function closed(network: LeaseNetwork, name: string): Promise<LeaseState & { at: number }> {
  const { leases } = await network.close(name)
  const [lease] = leases
  assert.ok(lease)
  return { ...lease, at: Date.now() }
}

/** All of its time, and none of it twice. */
function checkBill(
  placed: LeaseState | undefined,
  { spent, at }: LeaseState & { at: number },
): void {
  assert.ok(placed)
  const nanoUsd = BigInt(spent.nano_usd)
  assert.ok(nanoUsd <= worth(placed, at), `${nanoUsd} ≤ ${worth(placed, at)}`)
  assert.ok(
    nanoUsd >= worth(placed, at - UNBILLED_MS),
    `${nanoUsd} ≥ ${worth(placed, at - UNBILLED_MS)}`,
  )
}
