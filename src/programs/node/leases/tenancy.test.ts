/** What a tenant reads of a lease while it lives. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { PullProgress, ReplicaStatus, RuntimeEvent } from '../../../io/runtime/runtime.ts'
import { runOf, setupHost } from './host-kit.ts'
import { phaseOf, PullWords } from './replica-words.ts'
import { gpusByService } from './tenancy.ts'
import { GATEWAY, GIB, groupOf, LEASE, manifestOf } from './test-kit.ts'

const timeout = 20_000
const MIB = 2 ** 20
const AT = { lease: LEASE, epoch: 1, service: 'web', replica: 0 }

describe('a lease that starts', { timeout }, () => {
  it('tells how its pull goes, at most once a second, then that it starts and runs', async (t) => {
    const { host, gateway, runtime, clock, askFor } = await setupHost(t)
    const downloaded = (bytes: number) =>
      host.hear({ type: 'image.progress', lease: LEASE, progress: layer('a', bytes * MIB) })
    runtime.running = () => {
      for (let i = 1; i <= 10; i++) {
        clock.now += 250
        downloaded(i)
      }
      host.hear({ type: 'container.started', ...AT })
    }
    host.command(GATEWAY, askFor())
    host.command(GATEWAY, runOf(askFor()))
    await gateway.heardPhase('running')
    const said = gateway.reports.all.flatMap((one) =>
      one.kind === 'status' ? [`${one.phase}: ${one.message}`] : [],
    )
    assert.deepEqual(said, [
      'starting: ',
      'pulling: pulling web:1: 1.0 MiB of 100.0 MiB',
      'pulling: pulling web:1: 5.0 MiB of 100.0 MiB',
      'pulling: pulling web:1: 9.0 MiB of 100.0 MiB',
      'starting: web/0 started',
      'running: ',
    ])
  })
})

describe('a lease that runs', { timeout }, () => {
  it('tells of exits, memory, disk and health, and is degraded or failed by them', async (t) => {
    const { host, gateway, runtime, lease } = await setupHost(t)
    await lease()
    const cases: [RuntimeEvent, Partial<ReplicaStatus>, string, string][] = [
      [
        { type: 'container.exited', ...AT, exitCode: 1, cause: 'exit', restartInMs: 2000 },
        { state: 'exited', exitCode: 1 },
        'container.exited: web/0 exited with 1; restarting in 2.0 s',
        'degraded: web/0 exited with 1',
      ],
      [
        { type: 'container.exited', ...AT, exitCode: 137, cause: 'oom', restartInMs: 2000 },
        { state: 'exited', exitCode: 137 },
        'container.oom: web/0 used more memory than it leased; restarting in 2.0 s',
        'degraded: web/0 exited with 137',
      ],
      [
        { type: 'container.started', ...AT },
        { state: 'running', restarts: 2 },
        'container.started: web/0 started',
        'running: ',
      ],
      [
        { type: 'container.exited', ...AT, exitCode: 137, cause: 'removed', restartInMs: 1000 },
        { state: 'exited', exitCode: 137 },
        'container.removed: web/0 was removed by somebody at its node; restarting in 1.0 s',
        'degraded: web/0 exited with 137',
      ],
      [
        { type: 'container.health', ...AT, healthy: false },
        { state: 'running', healthy: false },
        'container.unhealthy: web/0 is unhealthy',
        'degraded: web/0 is unhealthy',
      ],
      [
        { type: 'disk.exceeded', ...AT, volume: 'data', usedBytes: 2 * GIB, limitBytes: GIB },
        { state: 'exited', stopped: 'disk' },
        'disk.exceeded: web/0 wrote 2.0 GiB of 1.0 GiB in volume data and was stopped',
        'failed: web/0 was stopped: it wrote more than it leased',
      ],
    ]
    for (const [event, status, said, phase] of cases) {
      const [before] = await runtime.status(LEASE)
      assert.ok(before)
      runtime.statuses.set(LEASE, [{ ...before, ...status }])
      gateway.reports.all.length = 0
      host.hear(event)
      await turn()
      assert.deepEqual(
        gateway.reports.all.map((one) =>
          one.kind === 'event'
            ? `${one.type}: ${one.message}`
            : one.kind === 'status'
              ? `${one.phase}: ${one.message}`
              : one.kind,
        ),
        [said, phase],
      )
    }
  })

  it("says nothing of an earlier owner's containers", async (t) => {
    const { host, gateway, lease } = await setupHost(t)
    await lease({}, { epoch: 2 })
    const heard = gateway.reports.all.length
    host.hear({ type: 'container.started', ...AT })
    host.hear({ type: 'firewall.restored' })
    await turn()
    assert.equal(gateway.reports.all.length, heard)
  })
})

describe('words and shares', () => {
  it('miss containers that are not there', () => {
    assert.deepEqual(phaseOf([], 2), {
      phase: 'failed',
      message: '2 of 2 containers are missing',
    })
  })

  it('count layers that are done as whole, and each image on its own', () => {
    const words = new PullWords()
    words.add(layer('a', 100 * MIB))
    words.add(layer('b', 50 * MIB))
    assert.equal(
      words.add({ ...layer('b', 0), phase: 'Pull complete', bytes: null, totalBytes: null }),
      'pulling web:1: 200.0 MiB of 200.0 MiB',
    )
    assert.equal(words.add({ ...layer('a', 0), layer: null, image: 'db:1' }), 'pulling db:1')
  })

  it('deal the GPUs of a unit out to the copies of its services', () => {
    const gpus = [{ unit: 1, cdi: ['0', '1', '2', '3'] }]
    const dealt = gpusByService({ group: groupOf({ gpus: 2 }), manifest: manifestOf('a', 2), gpus })
    assert.deepEqual(dealt, {
      web: [
        ['0', '1'],
        ['2', '3'],
      ],
    })
  })
})

const layer = (name: string, bytes: number): PullProgress => ({
  image: 'web:1',
  phase: 'Downloading',
  layer: name,
  bytes,
  totalBytes: 100 * MIB,
})
