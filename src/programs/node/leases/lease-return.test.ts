/** What becomes of leases when links, agents or gateways go and come back. */
import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { FakeRuntime } from './fake-runtime.ts'
import { gatewayOf, runOf, setupHost, stopOf } from './host-kit.ts'
import { KEEP_VOLUMES_MS } from './kept-volumes.ts'
import { ORPHAN_MS } from './lease-host.ts'
import { GATEWAY, GIB, LEASE, manifestOf } from './test-kit.ts'

const timeout = 20_000
const DATA = { volumes: [['default', 10 * GIB] as const] }

describe('a gateway that is back', { timeout }, () => {
  it('hears the latest state again, and the events that it missed', async (t) => {
    const { host, gateway, runtime, lease } = await setupHost(t)
    await lease()
    gateway.unlink()
    gateway.reports.all.length = 0
    const at = { lease: LEASE, epoch: 1, service: 'web', replica: 0 }
    host.hear({ type: 'container.exited', ...at, exitCode: 1, cause: 'exit', restartInMs: 1000 })
    host.hear({ type: 'container.started', ...at })
    assert.deepEqual(gateway.kinds(), [])
    gateway.link()
    assert.deepEqual(gateway.kinds(), ['event', 'event', 'status'])
    assert.equal(runtime.stops.length, 0)
  })

  it('keeps what it names; the rest that runs for it is stale and stops', async (t) => {
    const { host, gateway, runtime, lease } = await setupHost(t)
    await lease()
    await lease({}, { id: 'lease_b' })
    await lease({}, { id: 'lease_c', epoch: 2 })
    host.command(GATEWAY, {
      kind: 'keep',
      leases: [
        { lease: LEASE, epoch: 1 },
        { lease: 'lease_c', epoch: 3 },
        { lease: 'lease_d', epoch: 5 },
      ],
    })
    const unnamed = await gateway.heard('stopped', { lease: 'lease_b', epoch: 1 })
    assert.match(unnamed.reason, /^stale/)
    const overtaken = await gateway.heard('stopped', { lease: 'lease_c', epoch: 2 })
    assert.match(overtaken.reason, /epoch 3 has taken over from 2/)
    const unknown = await gateway.heard('stopped', { lease: 'lease_d', epoch: 5 })
    assert.equal(unknown.reason, 'unknown here')
    assert.deepEqual(
      runtime.stops.map((one) => [one.lease, one.graceS > 0]),
      [
        ['lease_b', true],
        ['lease_c', true],
      ],
    )
    assert.equal(host.find(GATEWAY, LEASE)?.runs, true)
  })

  it('does not stop what it was promised and has not started', async (t) => {
    const { host, gateway, runtime, askFor } = await setupHost(t)
    host.command(GATEWAY, askFor())
    host.command(GATEWAY, { kind: 'keep', leases: [{ lease: LEASE, epoch: 1 }] })
    host.command(GATEWAY, runOf(askFor()))
    await gateway.heardPhase('running')
    assert.deepEqual(runtime.stops, [])
  })

  it("does not touch another gateway's leases", async (t) => {
    const { host, runtime, lease } = await setupHost(t)
    await lease()
    const other = gatewayOf(host, 'gw_other')
    other.link()
    host.command('gw_other', { kind: 'keep', leases: [] })
    host.command('gw_other', stopOf())
    assert.equal((await other.heard('stopped')).reason, 'unknown here')
    assert.deepEqual(runtime.stops, [])
  })

  it('hears once a minute what runs, in case that it has given it away', async (t) => {
    const { host, gateway, clock, lease } = await setupHost(t)
    await lease()
    gateway.reports.all.length = 0
    host.tick()
    assert.deepEqual(gateway.kinds(), [])
    clock.now += 60_000
    host.tick()
    host.tick()
    assert.deepEqual(gateway.kinds(), ['status'])
  })

  it('hears what a congested link did not take, a little later', async (t) => {
    const { host, gateway, lease } = await setupHost(t)
    await lease()
    gateway.line.open = false
    host.command(GATEWAY, stopOf(1))
    while (host.running > 0) await turn()
    assert.ok(!gateway.kinds().includes('stopped'))
    gateway.line.open = true
    host.tick()
    await gateway.heard('stopped')
  })
})

describe('a gateway that stays away', { timeout }, () => {
  it('loses its leases after half an hour, and not while it is there', async (t) => {
    const { host, gateway, runtime, clock, lease } = await setupHost(t)
    await lease()
    clock.now += ORPHAN_MS + 1
    host.tick()
    gateway.unlink()
    clock.now += ORPHAN_MS
    host.tick()
    assert.equal(runtime.stops.length, 0)
    clock.now += 1
    host.tick()
    gateway.link()
    assert.match((await gateway.heard('stopped')).reason, /no word of its gateway for 30 min/)
    assert.equal(runtime.stops[0]?.keepVolumes, true)
  })
})

describe('an agent that restarts', { timeout }, () => {
  it('goes on with what runs, in its room', async (t) => {
    const { host, runtime, folder, open, lease } = await setupHost(t)
    await lease({ cpuMilli: 3000, gpus: 1 })
    await host.close()
    assert.equal(runtime.closed, true)
    assert.deepEqual(runtime.stops, [])
    await writeFile(join(folder, 'lease_x.json'), '{"v":7}')
    const second = new FakeRuntime()
    const again = await open(second)
    assert.deepEqual([...(second.recovered ?? [])], [[LEASE, 1]])
    assert.equal(again.free.cpuMilli, 1000)
    assert.equal(again.free.gpus.length, 1)
    const gateway = gatewayOf(again)
    gateway.link()
    await gateway.heardPhase('running')
    assert.deepEqual(second.specs[0]?.gpus, { web: [['nvidia.com/gpu=0']] })
    assert.ok(readdirSync(folder).includes('lease_x.json.damaged'))
    again.command(GATEWAY, { kind: 'keep', leases: [] })
    await gateway.heard('stopped')
  })
})

describe('a machine that was rebooted', { timeout }, () => {
  it('starts nothing until its gateway names the epoch, and then at once', async (t) => {
    const { host, gateway, runtime, clock } = await reboot(t)
    gateway.link()
    clock.now += 60_000
    host.tick()
    for (let i = 0; i < 10; i++) await turn()
    assert.deepEqual([runtime.specs, gateway.reports.all], [[], []])
    assert.equal(host.free.cpuMilli, 3500)
    host.command(GATEWAY, { kind: 'keep', leases: [{ lease: LEASE, epoch: 1 }] })
    await gateway.heardPhase('running')
    host.command(GATEWAY, { kind: 'keep', leases: [{ lease: LEASE, epoch: 1 }] })
    for (let i = 0; i < 10; i++) await turn()
    assert.equal(runtime.specs.length, 1)
  })

  it('starts when it is told to run what it has', async (t) => {
    const { host, gateway, runtime, run } = await reboot(t)
    gateway.link()
    host.command(GATEWAY, run)
    await gateway.heardPhase('running')
    assert.equal(runtime.specs.length, 1)
  })

  it('never starts what another node has by now, and keeps its volumes', async (t) => {
    for (const leases of [[], [{ lease: LEASE, epoch: 2 }]]) {
      const { host, gateway, runtime } = await reboot(t)
      gateway.link()
      host.command(GATEWAY, { kind: 'keep', leases })
      assert.match((await gateway.heard('stopped')).reason, /^stale/)
      assert.deepEqual(runtime.specs, [])
      assert.equal(runtime.stops[0]?.keepVolumes, true)
    }
  })

  it("does not hear a stranger's word", async (t) => {
    const { host, runtime } = await reboot(t)
    const other = gatewayOf(host, 'gw_other')
    other.link()
    host.command('gw_other', { kind: 'keep', leases: [{ lease: LEASE, epoch: 1 }] })
    await other.heard('stopped')
    assert.deepEqual([runtime.specs, runtime.stops], [[], []])
  })

  it('gives up what nobody names for half an hour, with or without a link', async (t) => {
    for (const linked of [true, false]) {
      const { host, gateway, runtime, clock } = await reboot(t)
      if (linked) gateway.link()
      clock.now += ORPHAN_MS
      host.tick()
      assert.equal(runtime.stops.length, 0)
      clock.now += 1
      host.tick()
      if (!linked) gateway.link()
      assert.match((await gateway.heard('stopped')).reason, /no word of its gateway for 30 min/)
      assert.deepEqual(runtime.specs, [])
    }
  })
})

/** With a lease whose containers do not run any more, and no gateway yet. */
async function reboot(t: TestContext) {
  const site = await setupHost(t)
  const { run } = await site.lease()
  await site.host.close()
  const runtime = new FakeRuntime()
  runtime.fallen.add(LEASE)
  const host = await site.open(runtime)
  return { clock: site.clock, run, runtime, host, gateway: gatewayOf(host) }
}

describe('volumes that are kept', { timeout }, () => {
  it('take their disk for a day, and are removed then', async (t) => {
    const { host, gateway, runtime, folder, clock, open, lease } = await setupHost(t)
    await lease(DATA)
    host.command(GATEWAY, stopOf(1, true))
    await gateway.heard('stopped')
    assert.equal(host.free.cpuMilli, 4000)
    assert.equal(host.free.diskBytes[0], 90 * GIB)
    assert.equal(host.find(GATEWAY, LEASE)?.runs, false)
    await host.close()

    const second = new FakeRuntime()
    const again = await open(second)
    assert.equal(second.recovered?.size, 0)
    assert.equal(again.free.diskBytes[0], 90 * GIB)
    clock.now += KEEP_VOLUMES_MS + 1
    again.tick()
    while (again.find(GATEWAY, LEASE) !== null) await turn()
    assert.deepEqual([...runtime.removedVolumes, ...second.removedVolumes], [LEASE])
    assert.deepEqual(readdirSync(folder), [])
    assert.equal(again.free.diskBytes[0], 100 * GIB)
  })

  it('go when a second stop says so', async (t) => {
    const { host, gateway, runtime, lease } = await setupHost(t)
    await lease(DATA)
    host.command(GATEWAY, stopOf(1, true))
    await gateway.heard('stopped')
    gateway.reports.all.length = 0
    host.command(GATEWAY, stopOf(1, false))
    await gateway.heard('stopped')
    assert.deepEqual(runtime.removedVolumes, [LEASE])
    assert.equal(host.free.diskBytes[0], 100 * GIB)
  })

  it('serve the next owner of the lease here, and never one after an owner elsewhere', async (t) => {
    for (const [epoch, stale, removed] of [
      [2, true, 0],
      [3, true, 1],
      [3, false, 0],
    ] as const) {
      const { host, gateway, runtime, lease } = await setupHost(t)
      await lease(DATA)
      host.command(GATEWAY, stale ? { kind: 'keep', leases: [] } : stopOf(1, true))
      await gateway.heard('stopped')
      await lease(DATA, { epoch })
      await turn()
      assert.equal(runtime.removedVolumes.length, removed)
      assert.equal(host.free.diskBytes[0], 89 * GIB)
    }
  })

  it('do not wait where a lease has none', async (t) => {
    const { host, gateway, folder, lease } = await setupHost(t)
    const { ask } = await lease()
    host.command(GATEWAY, runOf(ask, manifestOf('web:2')))
    host.command(GATEWAY, stopOf(1, true))
    await gateway.heard('stopped')
    assert.deepEqual(readdirSync(folder), [])
  })
})
