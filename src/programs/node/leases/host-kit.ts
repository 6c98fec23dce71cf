/** For tests of the lease host: one over a fake runtime, a folder of its own, a clock in hand and a gateway that listens. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import type { LeaseCommand, LeaseOrder, LeaseReport } from '../../../core/protocol/lease-control.ts'
import { readPrices } from '../../../core/protocol/price-sheet.ts'
import { ephemeralIdentity } from '../../../io/keys/identity.ts'
import { ephemeralSealingKey } from '../../../io/keys/sealed-box.ts'
import { Journal } from '../../../io/link/test-kit.ts'
import { silentLogger } from '../../../io/telemetry/logger.ts'
import { FakeRuntime } from './fake-runtime.ts'
import { openLeaseHost, type LeaseHost } from './lease-host.ts'
import { LeaseShelf } from './lease-shelf.ts'
import { RestoreSpool } from './restore-spool.ts'
import type { HostRoom } from './room.ts'
import { askOf, GATEWAY, HOST, LEASE, manifestOf, NOW, SHEET, type Wish } from './test-kit.ts'

export type Reported<K extends LeaseReport['kind']> = Extract<LeaseReport, { kind: K }>

export async function setupHost(t: TestContext, room: HostRoom = HOST) {
  const home = mkdtempSync(join(tmpdir(), 'baseload-leases-'))
  t.after(() => rmSync(home, { recursive: true, force: true }))
  const folder = join(home, 'leases')
  const identity = ephemeralIdentity('node')
  const sealing = ephemeralSealingKey()
  const clock = { now: NOW }
  const restores = new RestoreSpool(join(home, 'restores'))
  const open = async (runtime: FakeRuntime, leaving = false): Promise<LeaseHost> => {
    const host = await openLeaseHost({
      identity,
      opener: { node: identity.id, key: sealing },
      runtime,
      shelf: new LeaseShelf(folder, silentLogger),
      room,
      seller: {
        node: identity.id,
        nodeKey: identity.publicKey,
        prices: readPrices(SHEET),
        noticeS: 3600,
      },
      restores,
      leaving,
      now: () => clock.now,
      logger: silentLogger,
      stopAgainMs: 1,
    })
    t.after(() => host.close())
    return host
  }
  const runtime = new FakeRuntime()
  const host = await open(runtime)
  const gateway = gatewayOf(host)
  gateway.link()
  /** As a gateway leases: asks, hears yes, and has it run. */
  const lease = async (wish: Wish = {}, more: { id?: string; epoch?: number } = {}) => {
    const ask = askFor(wish, more)
    host.command(GATEWAY, ask)
    await gateway.heard('accepted', ask)
    const run = runOf(ask)
    host.command(GATEWAY, run)
    await gateway.heardPhase('running', ask)
    return { ask, run }
  }
  const askFor = (wish: Wish = {}, more: { id?: string; epoch?: number } = {}) =>
    askOf(wish, { node: identity.id, ...more })
  return { host, runtime, gateway, folder, restores, identity, sealing, clock, open, askFor, lease }
}

type Run = Extract<LeaseCommand, { kind: 'run' }>

export const runOf = (
  { lease, epoch, group }: ReturnType<typeof askOf>,
  manifest = manifestOf(),
  secrets: Run['secrets'] = null,
): Run => ({ kind: 'run', lease, epoch, group, manifest, secrets })

export const stopOf = (epoch = 1, keepVolumes = false): LeaseOrder => ({
  kind: 'stop',
  lease: LEASE,
  epoch,
  graceS: 30,
  keepVolumes,
  reason: 'the tenant closed it',
})

/** Hears what the host says to one gateway. */
export function gatewayOf(host: LeaseHost, id = GATEWAY) {
  const reports = new Journal<LeaseReport>()
  /** Cleared, the link takes nothing. */
  const line = { open: true }
  return {
    reports,
    line,
    link: () =>
      host.linked(id, (report) => {
        if (line.open) reports.add(report)
        return line.open
      }),
    unlink: () => host.unlinked(id),
    kinds: () => reports.all.map(({ kind }) => kind),
    async heard<K extends LeaseReport['kind']>(
      kind: K,
      at = { lease: LEASE, epoch: 1 },
    ): Promise<Reported<K>> {
      const is = (report: LeaseReport): report is Reported<K> =>
        report.kind === kind && fits(report, at)
      const found = await reports.find(is)
      if (!is(found)) throw new Error('a journal found what does not fit')
      return found
    },
    heardPhase: (phase: Reported<'status'>['phase'], at = { lease: LEASE, epoch: 1 }) =>
      reports.find((one) => one.kind === 'status' && one.phase === phase && fits(one, at)),
  }
}

const fits = (report: LeaseReport, at: { lease: string; epoch: number }): boolean =>
  'lease' in report && report.lease === at.lease && report.epoch === at.epoch
