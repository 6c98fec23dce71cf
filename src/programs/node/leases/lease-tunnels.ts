/**
 * Tunnels into leases: looks whether the lease, its epoch and the service are here, prepares what is asked for, and
 * only then dials, so that a refusal has a reason and an open tunnel works.
 */
import type { Duplex, Readable } from 'node:stream'
import { finished, pipeline } from 'node:stream/promises'
import { Fault, reasonOf } from '../../../core/base/refusal.ts'
import type { Millis } from '../../../core/base/time.ts'
import type { TunnelPurpose, TunnelRefusalCode } from '../../../core/protocol/tunnel.ts'
import type { IncomingTunnel } from '../../../io/link/tunnel-dialler.ts'
import type { Runtime } from '../../../io/runtime/runtime.ts'
import type { Logger } from '../../../io/telemetry/logger.ts'
import { carryDatagrams } from './datagram-sockets.ts'
import type { ExecSession } from './exec-session.ts'
import type { ExecSessions } from './exec-sessions.ts'
import { carryExec, hangUp, logFrames } from './exec-streams.ts'
import type { LeaseHost } from './lease-host.ts'
import type { LeaseRecord } from './lease-shelf.ts'
import type { RestoreSpool } from './restore-spool.ts'
import { carryStats } from './stats-lines.ts'

export type TunnelParts = {
  readonly host: Pick<LeaseHost, 'find' | 'accepted'>
  readonly runtime: Runtime
  readonly restores: RestoreSpool
  readonly sessions: ExecSessions
  readonly now: () => Millis
  readonly logger: Logger
}

/** The other side stands ready. */
type Ready = {
  /** Resolves when all has gone over; rejects when either side broke off. */
  carry(stream: Duplex): Promise<void>
  /** The tunnel was not dialled after all. */
  discard(): void
}
type Kind = TunnelPurpose['kind']
type Purpose<K extends Kind = Kind> = Extract<TunnelPurpose, { kind: K }>

class TunnelRefusal extends Error {
  readonly code: TunnelRefusalCode
  constructor(code: TunnelRefusalCode, message: string) {
    super(message)
    this.code = code
  }
}

/** What it means for the tenant when the runtime cannot. */
const CODE_OF_KIND: Readonly<Record<Kind, TunnelRefusalCode>> = {
  tcp: 'port_refused',
  udp: 'port_refused',
  exec: 'command_failed',
  logs: 'service_not_running',
  stats: 'service_not_running',
  'copy-in': 'path_not_found',
  'copy-out': 'path_not_found',
  snapshot: 'volume_unknown',
  restore: 'volume_unknown',
}

/** Never rejects: the gateway hears what went wrong. */
export async function serveTunnel(
  parts: TunnelParts,
  gateway: string,
  request: IncomingTunnel,
): Promise<void> {
  const { purpose } = request
  let ready: Ready
  try {
    ready = await prepare(parts, gateway, purpose)
  } catch (error) {
    const code = error instanceof TunnelRefusal ? error.code : CODE_OF_KIND[purpose.kind]
    request.refuse(code, reasonOf(error))
    return
  }
  try {
    const stream = await request.accept()
    await ready.carry(stream).catch((error: unknown) => stream.destroy(faultOf(error)))
  } catch (error) {
    ready.discard()
    parts.logger.info('tunnel not dialled', { kind: purpose.kind, error: reasonOf(error) })
  }
}

async function prepare(parts: TunnelParts, gateway: string, purpose: Purpose): Promise<Ready> {
  const accepted = parts.host.accepted(gateway, purpose.lease)
  if (purpose.kind === 'restore' && accepted?.epoch === purpose.epoch) {
    const unit = accepted.group.units
    return nothingReady((stream) => parts.restores.fill(purpose, unit, stream))
  }
  const record = recordOf(parts, gateway, purpose)
  const session = purpose.kind === 'exec' ? await knownSession(parts, purpose) : null
  if (session !== null) return session
  switch (purpose.kind) {
    case 'snapshot':
      return sending(await parts.runtime.exportVolume(purpose))
    case 'tcp':
    case 'udp':
    case 'exec':
    case 'logs':
    case 'stats':
    case 'copy-in':
    case 'copy-out':
    case 'restore':
      await checkContainer(parts.runtime, purpose)
  }
  return await prepareRunning(parts, record, purpose)
}

async function prepareRunning(
  { runtime, sessions, now }: TunnelParts,
  record: LeaseRecord,
  purpose: Exclude<Purpose, { kind: 'snapshot' }>,
): Promise<Ready> {
  switch (purpose.kind) {
    case 'tcp':
      return joining(await runtime.dial(purpose))
    case 'udp': {
      const source = { open: () => runtime.datagrams(purpose), now }
      return { carry: (stream) => carryDatagrams(stream, source), discard: () => {} }
    }
    case 'exec': {
      const { command, terminal, session } = purpose
      const start = () => runtime.exec(purpose, { command, terminal })
      if (session !== null) {
        const task = { place: purpose, secret: session.secret, stdin: purpose.stdin, start }
        const opened = await sessions.open(task)
        if (typeof opened === 'string') throw new TunnelRefusal('tunnel_limit', opened)
        return { ...resuming(opened, 0), discard: () => opened.abandon() }
      }
      const exec = await start()
      return { carry: (stream) => carryExec(stream, exec, purpose), discard: () => hangUp(exec) }
    }
    case 'logs':
      return following(runtime, purpose)
    case 'stats': {
      const { everyMs } = purpose
      const source = { runtime, target: purpose, everyMs, now }
      const first = await runtime.stats(purpose)
      return { carry: (stream) => carryStats(stream, source, first), discard: () => {} }
    }
    case 'copy-in':
      return receiving(runtime, purpose, purpose.path)
    case 'copy-out':
      return sending(await runtime.copyOut(purpose, purpose.path))
    case 'restore':
      return receiving(runtime, purpose, mountOf(record, purpose))
  }
}

/** The command that this tenant comes back to, also after its container's end; null: it is to be started. */
async function knownSession(
  { sessions }: TunnelParts,
  { session, ...place }: Purpose<'exec'>,
): Promise<Ready | null> {
  if (session === null) return null
  const taken = session.taken ?? 0
  const known = await sessions.find(place, session.secret)
  if (known?.has(taken) === true) return resuming(known, taken)
  if (known === null && session.taken === null) return null
  const why = 'no such command waits here: it was hung up, or the node was started anew'
  throw new TunnelRefusal('session_unknown', why)
}

const resuming = (session: ExecSession, taken: number): Ready => ({
  carry: (stream) => session.carry(stream, taken),
  discard: () => {},
})

function recordOf({ host }: TunnelParts, gateway: string, purpose: Purpose): LeaseRecord {
  const { lease, epoch, service, replica } = purpose
  const found = host.find(gateway, lease)
  if (found === null) throw new TunnelRefusal('lease_unknown', `no lease ${lease} runs here`)
  const { record, runs } = found
  if (record.epoch !== epoch)
    throw new TunnelRefusal('lease_epoch_stale', `epoch ${record.epoch} is here, not ${epoch}`)
  const count = record.manifest.services.find(({ name }) => name === service)?.count ?? 0
  if (replica >= count)
    throw new TunnelRefusal('service_unknown', `lease ${lease} has no ${service}/${replica}`)
  if (!runs && purpose.kind !== 'snapshot')
    throw new TunnelRefusal('service_not_running', `lease ${lease} has ended`)
  return record
}

/** Its files and logs are there as soon as it was made; ports and commands need it running. */
async function checkContainer(runtime: Runtime, purpose: Purpose): Promise<void> {
  const { lease, service, replica, kind } = purpose
  const all = await runtime.status(lease)
  const found = all.find((one) => one.service === service && one.replica === replica)
  const running = found?.state === 'running'
  if (found === undefined || (!running && NEEDS_RUNNING.has(kind)))
    throw new TunnelRefusal('service_not_running', `${service}/${replica} does not run just now`)
}

const NEEDS_RUNNING: ReadonlySet<Kind> = new Set(['tcp', 'udp', 'exec', 'stats'])

/** Where the service has the volume. */
function mountOf({ manifest }: LeaseRecord, { service, volume }: Purpose<'restore'>): string {
  const mounts = manifest.services.find(({ name }) => name === service)?.mounts ?? []
  const mount = mounts.find((one) => one.volume === volume)
  if (mount === undefined)
    throw new TunnelRefusal('volume_unknown', `${service} has no volume ${volume}`)
  return mount.path
}

function joining(socket: Duplex): Ready {
  socket.on('error', () => {}) // who carries it hears of it, too
  return { carry: (stream) => join(stream, socket), discard: () => void socket.destroy() }
}

function following(runtime: Runtime, purpose: Purpose<'logs'>): Ready {
  const { follow, tailLines, sinceMs, timestamps } = purpose
  const ended = new AbortController()
  const query = {
    follow,
    timestamps,
    ...(tailLines !== null && { tail: tailLines }),
    ...(sinceMs !== null && { sinceMs }),
  }
  const output = runtime.logs(purpose, query, ended.signal)
  return {
    carry: async (stream) => {
      stream.once('close', () => ended.abort())
      stream.resume() // nothing is said this way
      await pipeline(logFrames(output), stream)
    },
    discard: () => ended.abort(),
  }
}

const sending = (tar: Readable): Ready => ({
  carry: async (stream) => {
    stream.resume()
    await pipeline(tar, stream)
  },
  discard: () => void tar.destroy(),
})

const receiving = (runtime: Runtime, to: Purpose, folder: string): Ready =>
  nothingReady(async (stream) => {
    await runtime.copyIn(to, folder, stream)
  })

/** The node's end of the stream says that all is written. */
const nothingReady = (carry: (stream: Duplex) => Promise<void>): Ready => ({
  carry: async (stream) => {
    await carry(stream)
    stream.end()
  },
  discard: () => {},
})

/** Bytes both ways, each direction ended on its own, until both are or one side breaks off. */
async function join(stream: Duplex, socket: Duplex): Promise<void> {
  stream.pipe(socket)
  socket.pipe(stream)
  const broken = finished(stream).catch(() => void socket.destroy())
  await finished(socket)
  await broken
}

/** Codes of the tunnel stay; anything else is why this end broke off. */
function faultOf(error: unknown): Fault {
  return error instanceof Fault ? error : new Fault('tunnel_failed', reasonOf(error))
}
