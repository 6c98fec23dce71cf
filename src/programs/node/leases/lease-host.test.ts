import assert from 'node:assert/strict'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { LEASE_DOMAIN, MAX_ASK_MS } from '../../../core/protocol/lease-control.ts'
import { verifySignature } from '../../../io/keys/identity.ts'
import { runOf, setupHost, stopOf } from './host-kit.ts'
import { GATEWAY, GIB, LEASE, manifestOf } from './test-kit.ts'

const timeout = 20_000

describe('asking a node for a lease', { timeout }, () => {
  it('brings its signature over the terms, the same again for who did not hear it', async (t) => {
    const { host, gateway, identity, askFor } = await setupHost(t)
    const ask = askFor()
    host.command(GATEWAY, ask)
    host.command(GATEWAY, ask)
    const [first, second] = await gateway.reports.count(2)
    assert.deepEqual(first, second)
    assert.ok(first?.kind === 'accepted')
    assert.ok(verifySignature(identity.publicKey, LEASE_DOMAIN, ask.terms, first.signature))
    assert.equal(host.free.cpuMilli, 3500)
  })

  it('brings the numbers where there is no room, and room comes back after a minute', async (t) => {
    const { host, gateway, askFor, clock } = await setupHost(t)
    host.command(GATEWAY, askFor({ memoryBytes: 5 * GIB }, { id: 'lease_a' }))
    const late = askFor({ memoryBytes: 4 * GIB })
    host.command(GATEWAY, late)
    const { code, message } = await gateway.heard('refused')
    assert.equal(code, 'lease_no_room')
    assert.equal(message, 'memory 3.0 GiB free < 4.0 GiB asked')
    clock.now += MAX_ASK_MS + 1
    host.tick()
    host.command(GATEWAY, late)
    await gateway.heard('accepted')
    const expired = { lease: 'lease_a', epoch: 1 }
    host.command(GATEWAY, runOf(askFor({ memoryBytes: 5 * GIB }, { id: 'lease_a' })))
    assert.match((await gateway.heard('stopped', expired)).reason, /ask first/)
  })

  it('is refused for an epoch that was overtaken, another gateway, and while the node drains', async (t) => {
    const { host, gateway, askFor, lease } = await setupHost(t)
    await lease({}, { epoch: 3 })
    host.command(GATEWAY, askFor({}, { epoch: 2 }))
    const stale = await gateway.heard('refused', { lease: LEASE, epoch: 2 })
    assert.deepEqual([stale.code, stale.message], ['lease_epoch_stale', 'epoch 2 < 3 known here'])
    host.drain()
    host.command(GATEWAY, askFor({}, { id: 'lease_b' }))
    assert.equal(
      (await gateway.heard('refused', { lease: 'lease_b', epoch: 1 })).code,
      'node_draining',
    )
    const other = [] as string[]
    host.linked('gw_other', (report) => {
      if (report.kind === 'refused') other.push(report.code)
      return true
    })
    host.command('gw_other', askFor({}, { epoch: 9 }))
    assert.deepEqual(other, ['lease_taken'])
  })

  it('lets a newer epoch take over the room of what runs', async (t) => {
    const { host, gateway, runtime, askFor, lease } = await setupHost(t)
    await lease({ cpuMilli: 4000, gpus: 2 })
    const newer = askFor({ cpuMilli: 3000, gpus: 2 }, { epoch: 2 })
    host.command(GATEWAY, newer)
    await gateway.heard('accepted', newer)
    assert.equal(host.free.cpuMilli, 0)
    host.command(GATEWAY, runOf(newer))
    await gateway.heardPhase('running', newer)
    await turn()
    assert.equal(host.free.cpuMilli, 1000)
    assert.deepEqual(runtime.specs[1]?.gpus, { web: [['nvidia.com/gpu=0', 'nvidia.com/gpu=1']] })
  })
})

describe('a lease that runs', { timeout }, () => {
  it('is on disk, for its owner only, before it starts', async (t) => {
    const { host, gateway, runtime, folder, askFor } = await setupHost(t)
    runtime.running = () => {
      const path = join(folder, `${LEASE}.json`)
      assert.equal(statSync(path).mode & 0o777, 0o600)
      assert.match(readFileSync(path, 'utf8'), /SECRET=hush/)
    }
    host.command(GATEWAY, askFor())
    host.command(GATEWAY, runOf(askFor()))
    await gateway.heardPhase('running')
    const { specs } = runtime
    assert.deepEqual(specs[0]?.manifest, manifestOf())
    assert.deepEqual(specs[0]?.units, askFor().group.units)
    assert.equal(host.find(GATEWAY, LEASE)?.runs, true)
    assert.equal(host.find('gw_other', LEASE), null)
  })

  it('needs an acceptance; so does a change of its resources', async (t) => {
    const { host, gateway, runtime, askFor, lease } = await setupHost(t)
    host.command(GATEWAY, runOf(askFor()))
    assert.match((await gateway.heard('stopped')).reason, /ask first/)
    await lease()
    host.command(GATEWAY, runOf(askFor({ cpuMilli: 1000 })))
    assert.equal((await gateway.heard('refused')).code, 'lease_terms')
    assert.equal(runtime.specs.length, 1)
  })

  it('changes in place, and says nothing new for the same again', async (t) => {
    const { host, gateway, runtime, lease } = await setupHost(t)
    const { ask, run } = await lease()
    gateway.reports.all.length = 0
    host.command(GATEWAY, run)
    await gateway.heardPhase('running')
    assert.equal(runtime.specs.length, 1)
    gateway.reports.all.length = 0
    host.command(GATEWAY, runOf(ask, manifestOf('web:2')))
    await gateway.heardPhase('running')
    assert.equal(runtime.specs[1]?.manifest.services[0]?.image, 'web:2')
    assert.equal(host.free.cpuMilli, 3500)
  })

  it('ends: stopped, its room free, its file gone', async (t) => {
    const { host, gateway, runtime, folder, lease } = await setupHost(t)
    await lease()
    host.command(GATEWAY, stopOf())
    assert.equal((await gateway.heard('stopped')).reason, 'the tenant closed it')
    assert.deepEqual(runtime.stops, [{ lease: LEASE, graceS: 30, keepVolumes: false }])
    assert.equal(host.free.cpuMilli, 4000)
    assert.deepEqual(readdirSync(folder), [])
  })

  it('outlives an amendment that came to nothing', async (t) => {
    const { host, gateway, runtime, askFor, lease } = await setupHost(t)
    await lease()
    const amended = askFor({ cpuMilli: 2000 }, { epoch: 2 })
    host.command(GATEWAY, amended)
    await gateway.heard('accepted', amended)
    assert.equal(host.free.cpuMilli, 2000)
    host.command(GATEWAY, stopOf(2))
    await gateway.heard('stopped', amended)
    assert.equal(host.free.cpuMilli, 3500)
    assert.deepEqual(runtime.stops, [])
  })

  it('is stopped again until that works, and only then is its room free', async (t) => {
    const { host, gateway, runtime, lease } = await setupHost(t)
    await lease()
    let failures = 3
    runtime.stopping = () => {
      assert.equal(host.free.cpuMilli, 3500)
      if (failures-- > 0) throw new Error('the engine does not answer')
    }
    host.command(GATEWAY, stopOf())
    await gateway.heard('stopped')
    assert.equal(runtime.stops.length, 4)
    assert.equal(host.free.cpuMilli, 4000)
  })

  it('starts anew when it is wanted again while it ends', async (t) => {
    const { host, gateway, runtime, lease } = await setupHost(t)
    const { ask, run } = await lease()
    host.command(GATEWAY, stopOf())
    host.command(GATEWAY, ask)
    host.command(GATEWAY, run)
    await gateway.heard('stopped')
    gateway.reports.all.length = 0
    await gateway.heardPhase('running')
    assert.equal(runtime.specs.length, 2)
    assert.equal(host.free.cpuMilli, 3500)
  })

  it('breaks off a start that is no longer wanted', async (t) => {
    const { host, gateway, runtime, askFor } = await setupHost(t)
    runtime.running = (_, signal) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(new Error('aborted')))
      })
    host.command(GATEWAY, askFor())
    host.command(GATEWAY, runOf(askFor()))
    await gateway.heardPhase('starting')
    host.command(GATEWAY, stopOf())
    await gateway.heard('stopped')
    assert.ok(!gateway.reports.all.some((one) => one.kind === 'status' && one.phase === 'failed'))
  })

  it('that cannot start says why, keeps its room, and may be tried again', async (t) => {
    const { host, gateway, runtime, askFor } = await setupHost(t)
    runtime.running = () => Promise.reject(new Error('no such image: web:1'))
    host.command(GATEWAY, askFor())
    host.command(GATEWAY, runOf(askFor()))
    const failed = await gateway.heardPhase('failed')
    assert.equal(failed.kind === 'status' && failed.message, 'no such image: web:1')
    assert.equal(host.free.cpuMilli, 3500)
    runtime.running = () => {}
    host.command(GATEWAY, runOf(askFor()))
    await gateway.heardPhase('running')
  })
})
