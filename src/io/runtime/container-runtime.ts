/** The runtime over the REST socket of Docker or Podman. */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { reasonOf } from '../../core/base/refusal.ts'
import { CDI_FOLDERS } from './cdi.ts'
import type { ContainerLimits } from './container-options.ts'
import type { Context } from './context.ts'
import type { EngineFacts } from './detect.ts'
import { watchDisk } from './disk-watch.ts'
import { openSocket } from './engine-socket.ts'
import { startExec } from './exec.ts'
import { getFiles, putFiles } from './files.ts'
import { Firewall } from './firewall.ts'
import { hostLimits } from './host-limits.ts'
import { imageId, listImages, loadImage } from './images.ts'
import { pullFor } from './lease-images.ts'
import { LeaseRunner, type InOrder } from './lease-runner.ts'
import { readLogs } from './logs.ts'
import { instanceOf } from './names.ts'
import { PrivateImages } from './private-images.ts'
import { dialPort, openDatagrams, Turns, type Destination } from './reach.ts'
import type { Runtime, RuntimeEvent } from './runtime.ts'
import { SECCOMP_PROFILE } from './seccomp-profile.ts'
import { readStats } from './stats.ts'
import { DEFAULT_POOL, parseBlock } from './subnet.ts'
import { exportVolume, removeVolumes } from './volumes.ts'

export type RuntimeOptions = {
  /** As `detectEngine` found it. */
  readonly facts: EngineFacts
  /** Which agent this is, for life: a node's id. Agents on one machine do not touch each other's leases. */
  readonly agent: string
  /** The agent's own folder, which the engine can read. */
  readonly folder: string
  /** Told in order; must not throw. */
  readonly onEvent: (event: RuntimeEvent) => void
  /** IPv4 block from which each lease gets a /24. */
  readonly pool?: string
  /** Asked for names outside of leases, by Docker. Public ones, since a home router's address is closed to leases. */
  readonly nameServers?: readonly string[]
  readonly limits?: Partial<ContainerLimits>
  /** Where GPU drivers put their CDI specs; the usual places when left out. */
  readonly cdiFolders?: readonly string[]
  /** How often disk use is measured, at most: 2 s. */
  readonly diskPauseMs?: number
  /** Somebody who flushes the firewall opens leases for so long at most: 10 s. */
  readonly firewallPauseMs?: number
}

const PUBLIC_NAME_SERVERS = ['1.1.1.1', '9.9.9.9']
const DISK_PAUSE_MS = 2_000
const FIREWALL_PAUSE_MS = 10_000

/** Watches nothing until `run` or `recover`. */
export async function openRuntime(options: RuntimeOptions): Promise<Runtime> {
  const context = await contextOf(options)
  const { docker, firewall, facts } = context
  const turns = new Turns()
  const closing = new AbortController()
  const inOrder = lanes()
  const runner = new LeaseRunner(context, inOrder)
  const watching = [
    watchDisk(context, () => runner.watches, {
      pauseMs: options.diskPauseMs ?? DISK_PAUSE_MS,
      signal: closing.signal,
    }),
    watchFirewall(context, {
      pauseMs: options.firewallPauseMs ?? FIREWALL_PAUSE_MS,
      signal: closing.signal,
    }),
  ]
  const addressOf = (to: Destination): string => turns.choose(runner.watches, to).address ?? ''

  return {
    facts,
    hasImage: async (image) => (await imageId(docker, image)) !== null,
    pull: (image, credentials, signal) => pullFor(context, { image, credentials, signal }),
    images: () => listImages(docker),
    loadImage: (archive) => loadImage(docker, archive),
    run: (spec, signal) => {
      runner.leaveRemoved(spec.lease)
      return inOrder(spec.lease, () => runner.run(spec, signal))
    },
    recover: (current) => runner.recover(current),
    status: (lease) =>
      Promise.resolve(
        runner.watches.filter(({ at }) => at.lease === lease).map((watch) => watch.status()),
      ),
    stop: (lease, how) => {
      runner.leaveRemoved(lease)
      return inOrder(lease, async () => {
        await runner.stop(lease, how)
        turns.forget(lease)
      })
    },
    dial: async (to) => await dialPort(addressOf(to), to),
    datagrams: async (to) => await openDatagrams(addressOf(to), to),
    exec: async (target, task) => await startExec(context, runner.find(target).id, task),
    logs: (target, query, signal) => readLogs(context, runner.find(target), query, signal),
    stats: async (target) => await readStats(context, runner.find(target).id),
    copyIn: async (target, folder, tar) =>
      await putFiles(docker.getContainer(runner.find(target).id), folder, tar),
    copyOut: async (target, path) =>
      await getFiles(docker.getContainer(runner.find(target).id), path),
    egressBytes: (lease) => firewall.egressBytes(lease),
    exportVolume: (volume) => exportVolume(context, volume),
    removeVolumes: (lease) => removeVolumes(context, lease, { keepPersistent: false }),
    close: async () => {
      closing.abort()
      runner.leaveAll()
      await Promise.all(watching)
    },
  }
}

async function contextOf(options: RuntimeOptions): Promise<Context> {
  const { facts, agent, folder, onEvent, pool = DEFAULT_POOL, limits = {} } = options
  const block = parseBlock(pool)
  if (block === null) throw new RangeError(`'${pool}' is no block of IPv4 addresses`)
  const instance = instanceOf(agent)
  const nameServers = options.nameServers ?? PUBLIC_NAME_SERVERS
  const docker = openSocket(facts.socket)
  await mkdir(folder, { recursive: true, mode: 0o700 })
  return {
    docker,
    facts,
    instance,
    firewall: new Firewall(instance, nameServers),
    pool: block,
    privateImages: await PrivateImages.open(docker, join(folder, 'private-images.json')),
    cdiFolders: options.cdiFolders ?? CDI_FOLDERS,
    limits: { ...hostLimits(), ...limits },
    // Where the engine's name server is the host's, it asks whom the host asks.
    nameServers: facts.quirks.dnsAtGateway ? [] : nameServers,
    seccomp: await seccompFor(facts, folder),
    tell: onEvent,
  }
}

async function seccompFor(facts: EngineFacts, folder: string): Promise<string> {
  const text = JSON.stringify(SECCOMP_PROFILE)
  if (!facts.quirks.seccompByPath) return text
  const path = join(folder, 'seccomp.json')
  await writeFile(path, text)
  return path
}

async function watchFirewall(
  { firewall, tell }: Context,
  { pauseMs, signal }: { pauseMs: number; signal: AbortSignal },
): Promise<void> {
  while (!signal.aborted) {
    await sleep(pauseMs, undefined, { signal }).catch(() => {})
    if (signal.aborted) return
    try {
      if (await firewall.intact()) continue
      await firewall.apply()
      tell({ type: 'firewall.restored' })
    } catch (thrown) {
      tell({ type: 'watch.failed', reason: `firewall: ${reasonOf(thrown)}` })
    }
  }
}

/** What is done to one lease is done one after the other; leases do not wait for each other. */
function lanes(): InOrder {
  const last = new Map<string, Promise<unknown>>()
  return (lease, work) => {
    const next = (last.get(lease) ?? Promise.resolve()).then(work)
    const settled = next.catch(() => {})
    last.set(lease, settled)
    void settled.then(() => last.get(lease) === settled && last.delete(lease))
    return next
  }
}
