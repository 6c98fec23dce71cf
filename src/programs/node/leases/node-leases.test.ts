/** The whole node over real links, leasing out containers of a fake runtime. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { describe, it, type TestContext } from 'node:test'
import { bidSchema, totalRate } from '../../../core/protocol/bid.ts'
import { leaseText } from '../../../core/protocol/lease.ts'
import { leaseReportSchema, type LeaseReport } from '../../../core/protocol/lease-control.ts'
import { Journal, startGateway } from '../../../io/link/test-kit.ts'
import { silentLogger } from '../../../io/telemetry/logger.ts'
import { nodeConfig } from '../config.ts'
import { createFakeEngine } from '../fake-engine.ts'
import { startNode, type RunningNode } from '../main.ts'
import { FAKE_FACTS, FakeRuntime, textOf } from './fake-runtime.ts'
import { findRuntime, type FoundRuntime } from './find-runtime.ts'
import { runOf } from './host-kit.ts'
import { askOf, termsOf } from './test-kit.ts'

const timeout = 30_000

describe('a node with a container engine', { timeout }, () => {
  it('offers leases, runs what it signed, is reached by tunnels, and goes on after a restart', async (t) => {
    const { gateway, start, reported } = await setup(t)
    const first = await start()
    assert.match(
      await first.said.find((line) => line.startsWith('offering leases')),
      /^offering leases: [\d.]+ CPU, [\d.]+ [GM]iB memory, [\d.]+ [GM]iB disk, docker 20\.10\.24, \$9\.00 per CPU a month$/,
    )
    const link = await first.offered()
    const { capacity, prices } = link.offer.leases ?? assert.fail('no leases are offered')
    assert.equal(capacity.runtime, 'docker/20.10.24')
    assert.equal(prices?.cpuThread, '9')

    const ask = askFor(first.node.id, gateway.identity.id)
    link.lease(ask)
    await reported('accepted')
    link.lease(runOf(ask))
    await reported('status', (one) => one.kind === 'status' && one.phase === 'running')
    const echo = new PassThrough()
    first.runtime.dialling = () => echo
    const at = { lease: ask.lease, epoch: 1, service: 'web', replica: 0 }
    const stream = await link.openTunnel({ kind: 'tcp', ...at, port: 80 })
    stream.end('hello')
    assert.equal(await textOf(stream), 'hello')
    await first.node.drain()
    assert.equal(first.runtime.closed, true)
    assert.deepEqual(first.runtime.stops, [])

    gateway.events.all.length = 0
    const second = await start()
    await second.said.find((line) => line === 'leases of an earlier run: 1')
    await reported('status', (one) => one.kind === 'status' && one.phase === 'running')
    const again = await second.offered()
    again.lease({ kind: 'keep', leases: [] })
    await reported('stopped')
    assert.equal(second.runtime.stops.length, 1)
  })

  it('bids by its pricing program, and leases nothing out where that cannot work', async (t) => {
    const { gateway, home, start, reported } = await setup(t)
    const pricingProgram = join(home, 'price.sh')
    writeFileSync(pricingProgram, '#!/bin/sh\ncat >/dev/null\necho 12.5\n', { mode: 0o755 })
    const first = await start({}, { pricingProgram })
    await first.said.find((line) => line.endsWith(`priced by ${pricingProgram}`))
    const link = await first.offered()
    assert.equal(link.offer.leases?.prices, null)
    const { group } = askFor(first.node.id, gateway.identity.id)
    link.lease({ kind: 'bid', order: 'order_1', tenant: 'acct_1', group, withinMs: 10_000 })
    const report = await reported('bid')
    assert.ok(report.kind === 'bid' && report.order === 'order_1')
    const { units } = bidSchema.parse(JSON.parse(report.bid))
    const terms = termsOf(group, { node: first.node.id, gateway: gateway.identity.id, units })
    const rate = String(totalRate(group, units))
    const ask = { kind: 'ask' as const, lease: 'lease_1', epoch: 1, group }
    const text = leaseText({ ...terms, rate, acceptByMs: Date.now() + 60_000 })
    link.lease({ ...ask, terms: text })
    assert.equal((await reported('refused')).kind, 'refused')
    link.lease({ ...ask, terms: text, bid: { bid: report.bid, signature: report.signature } })
    await reported('accepted')
    await first.node.stop()

    writeFileSync(pricingProgram, '#!/bin/sh\necho soon\n', { mode: 0o755 })
    const second = await start({}, { pricingProgram })
    const why = await second.said.find((line) => line.startsWith('no leases'))
    assert.match(why, /price\.sh: its pricing program said 'soon', no price; run it by hand/)
  })

  it('works as ever where the engine does not answer, and says why it leases nothing', async (t) => {
    const { gateway, start, reported } = await setup(t)
    const { node, said } = await start({ open: isIll })
    assert.equal(
      await said.find((line) => line.startsWith('no leases')),
      'no leases: the engine is ill',
    )
    const link = await gateway.linked(node.id)
    link.lease(askFor(node.id, gateway.identity.id))
    const refused = await reported('refused')
    assert.equal(refused.kind === 'refused' && refused.code, 'lease_unsupported')
    const at = { lease: 'lease_1', epoch: 1, service: 'web', replica: 0 }
    await assert.rejects(link.openTunnel({ kind: 'tcp', ...at, port: 80 }), {
      code: 'tunnel_unsupported',
    })
    assert.equal(link.offer.leases, null)
  })
})

describe('looking for a container engine', { timeout }, () => {
  it('says in words that there is none', async () => {
    const nowhere = await findRuntime(null, { DOCKER_HOST: 'unix:///no/such/socket' })
    assert.equal(nowhere, 'neither Docker nor Podman is running here')
    const wrong = await findRuntime('/no/such/socket', {})
    assert.ok(typeof wrong === 'string')
    assert.match(wrong, /^\/no\/such\/socket: it does not answer as Docker or Podman do/)
  })
})

const isIll = () => Promise.reject(new Error('the engine is ill'))
const reportOf = (detail: unknown) => leaseReportSchema.safeParse(detail).data

/** At a price that this node's sheet takes. */
const askFor = (node: string, gateway: string) =>
  askOf({ maxRate: '1000000000000000' }, { node, gateway, acceptByMs: Date.now() + 60_000 })

async function setup(t: TestContext) {
  const gateway = await startGateway()
  const home = mkdtempSync(join(tmpdir(), 'baseload-node-'))
  const nodes: RunningNode[] = []
  // Nodes first: one that still runs writes into its home.
  t.after(async () => {
    await Promise.all(nodes.map((node) => node.stop()))
    await gateway.close()
    rmSync(home, { recursive: true, force: true })
  })
  const reported = async (
    kind: LeaseReport['kind'],
    fits: (report: LeaseReport) => boolean = () => true,
  ): Promise<LeaseReport> => {
    const { detail } = await gateway.events.find((event) => {
      const report = event.kind === 'leaseReport' ? reportOf(event.detail) : undefined
      return report?.kind === kind && fits(report)
    })
    return reportOf(detail) ?? assert.fail('it was one a moment ago')
  }
  const start = async (change: Partial<FoundRuntime> = {}, settings: object = {}) => {
    const runtime = new FakeRuntime()
    const said = new Journal<string>()
    const config = nodeConfig.parse({
      gateways: [gateway.url],
      home,
      models: [{ source: 'words.gguf' }],
      leasePrices: { ...nodeConfig.shape.leasePrices.parse(undefined), cpuThread: '9' },
      ...settings,
    })
    const found: FoundRuntime = {
      facts: FAKE_FACTS,
      dataFolder: tmpdir(),
      cdiFolders: null,
      open: () => Promise.resolve(runtime),
      ...change,
    }
    const node = await startNode(config, {
      logger: silentLogger,
      say: (line) => said.add(line),
      engine: createFakeEngine(),
      runtime: found,
      settleMs: 1,
    })
    nodes.push(node)
    const offered = async () => {
      const link = await gateway.linked(node.id)
      if (link.offer.leases === null)
        await gateway.events.find(({ kind }) => kind === 'offerChanged')
      return link
    }
    return { node, said, runtime, offered }
  }
  return { gateway, home, start, reported }
}
