/** Two gateways of rival operators sell one node: each sees by its heartbeats what the other has leased there. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Capacity } from '../../src/core/protocol/capacity.ts'
import { startGateway } from '../../src/io/link/test-kit.ts'
import { silentLogger } from '../../src/io/telemetry/logger.ts'
import { LeaseMarket } from '../../src/programs/gateway/leases/lease-market.ts'
import { nodeConfig } from '../../src/programs/node/config.ts'
import { createFakeEngine } from '../../src/programs/node/fake-engine.ts'
import { FAKE_FACTS, FakeRuntime } from '../../src/programs/node/leases/fake-runtime.ts'
import { runOf, stopOf } from '../../src/programs/node/leases/host-kit.ts'
import { askOf, groupOf } from '../../src/programs/node/leases/test-kit.ts'
import { startNode } from '../../src/programs/node/main.ts'

const BEAT_MS = 100

describe('two rival gateways', { timeout: 30_000 }, () => {
  it('see each other’s leases at a node, and when they end', async (t) => {
    const { ours, theirs } = await setup(t)
    const capacity = ours.capacity()
    const half = groupOf({ cpuMilli: Math.ceil(capacity.cpuMilli * 0.6) })
    assert.equal(ours.bids(half), 1)
    assert.equal(theirs.bids(half), 1)

    const ask = askOf(
      { cpuMilli: Math.ceil(capacity.cpuMilli * 0.6) },
      { node: ours.link.node, gateway: ours.id, acceptByMs: Date.now() + 60_000 },
    )
    ours.link.lease(ask)
    ours.link.lease(runOf(ask))
    await until(() => theirs.bids(half) === 0)
    assert.match(theirs.reasons(half), /1 of 1 nodes: free CPU/)
    assert.equal(theirs.bids(groupOf({ cpuMilli: 100 })), 1, 'the rest is still for sale')
    const room = theirs.link.heartbeat?.room
    assert.equal(room?.cpuMilli, capacity.cpuMilli - Math.ceil(capacity.cpuMilli * 0.6))
    assert.deepEqual(room?.persistentBytes.length, capacity.persistent.length)

    ours.link.lease(stopOf(1))
    await until(() => theirs.bids(half) === 1)
  })
})

async function setup(t: TestContext) {
  const gateways = [await startFast(), await startFast()] as const
  const home = mkdtempSync(join(tmpdir(), 'baseload-rivals-'))
  const config = nodeConfig.parse({
    gateways: gateways.map(({ url }) => url),
    home,
    models: [{ source: 'words.gguf' }],
  })
  const node = await startNode(config, {
    logger: silentLogger,
    say: () => {},
    engine: createFakeEngine(),
    runtime: {
      facts: FAKE_FACTS,
      dataFolder: tmpdir(),
      cdiFolders: null,
      open: () => Promise.resolve(new FakeRuntime()),
    },
    settleMs: 1,
  })
  t.after(async () => {
    await node.stop()
    for (const gateway of gateways) await gateway.close()
    rmSync(home, { recursive: true, force: true })
  })
  const sideOf = async (gateway: (typeof gateways)[number]) => {
    const link = await gateway.linked(node.id)
    await until(() => link.offer.leases !== null && link.heartbeat?.room !== undefined)
    const market = new LeaseMarket({
      gateway: gateway.identity.id,
      tierOf: () => 'community',
      now: Date.now,
      bidWindowMs: 100,
    })
    market.set(link)
    const screen = (group: ReturnType<typeof groupOf>) => {
      market.heard(link)
      return market.screen({ group, images: [], rule: 'cheapest', avoid: new Set(), openers: null })
    }
    return {
      id: gateway.identity.id,
      link,
      capacity: (): Capacity => link.offer.leases?.capacity ?? assert.fail('no leases'),
      bids: (group: ReturnType<typeof groupOf>) => screen(group).bids.length,
      reasons: (group: ReturnType<typeof groupOf>) => screen(group).reasons.join('; '),
    }
  }
  return { ours: await sideOf(gateways[0]), theirs: await sideOf(gateways[1]) }
}

const startFast = () => startGateway({ limits: { heartbeatMs: BEAT_MS } })

async function until(isSo: () => boolean): Promise<void> {
  for (let tries = 0; tries < 400 && !isSo(); tries++) await sleep(25)
  assert.ok(isSo(), 'it never came to be')
}
