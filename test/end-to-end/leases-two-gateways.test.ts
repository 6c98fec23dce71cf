/** Two gateways over one PostgreSQL: either serves a lease, and when one is killed the other goes on with it. */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { LABEL } from '../../src/io/runtime/names.ts'
import { containersUnavailable } from '../support/container-engines.ts'
import {
  checkLeaseMoney,
  EpochWatch,
  leaseNetwork,
  openYard,
  PAGE,
  worth,
  type LeaseYard,
} from '../support/lease-network.ts'

const skip = containersUnavailable()
const LIMIT = { timeout: 240_000 }
/** A claim ends after 15 s without a sign of life; the others look every 5 s. The rest is CI's machine. */
const TAKEOVER_MS = 45_000

describe('two gateways', { skip, ...LIMIT }, () => {
  let yard: LeaseYard
  before(async () => (yard = await openYard()), { timeout: 300_000 })
  after(() => yard.close(), { timeout: 60_000 })

  it('serve one lease; when its own is killed, the other has it', LIMIT, async (t) => {
    const network = await leaseNetwork(t, yard, { nodes: 1, gateways: 2 })
    const [mine, other] = network.gateways
    assert.ok(other)
    const elsewhere = network.at(other.url)
    await network.deploy('app')
    const first = await network.running('app')
    const watch = new EpochWatch(network, first.id)

    await network.until('its page is there, too', async () => {
      return (await network.page(first.id, other.url)) === PAGE
    })
    const starts = async () =>
      (await network.containersOf({ lease: first.id })).map(
        ({ Id, Labels }) => `${Id} ${Labels[LABEL.epoch]}`,
      )
    const [old] = await starts()
    await elsewhere.update('app', { env: ['COLOR=red'] })
    await network.until('a container with the new environment has replaced it', async () => {
      const [now, ...more] = await starts()
      return now !== undefined && now !== old && more.length === 0
    })
    // A container runs a moment before its program listens.
    await network.until('its page is back', async () => {
      return (await network.page(first.id, other.url)) === PAGE
    })
    const containers = await starts()
    assert.equal(containers.length, 1)

    await mine.program.kill('SIGKILL')
    const killedAt = Date.now()
    assert.equal(await network.page(first.id, other.url), PAGE, 'visitors notice nothing')
    const isTaken = async () => {
      const { billed_until: until } = await elsewhere.lease('app')
      return Date.parse(until ?? '') > killedAt
    }
    await network.until('the other bills it', isTaken, TAKEOVER_MS)
    t.diagnostic(`taken over ${Date.now() - killedAt} ms after SIGKILL`)
    assert.deepEqual(await starts(), containers, 'no container was started anew')
    await elsewhere.update('app', { env: ['COLOR=blue'] })
    await elsewhere.running('app')

    await mine.program.start()
    await network.linked(mine.url, 1)
    const now = await network.lease('app')
    assert.deepEqual([now.epoch, now.node], [first.epoch, first.node])
    const closed = await network.close('app')
    const closedAt = Date.now()
    assert.deepEqual(await starts(), [], 'also the one that was killed can close it')
    await watch.checkOwners(1)
    const { paidNanoUsd } = await checkLeaseMoney(network)
    assert.ok(paidNanoUsd > 0n && paidNanoUsd <= worth(first, closedAt))
    assert.equal(BigInt(closed.leases[0]?.spent.nano_usd ?? 0), paidNanoUsd)
  })
})
