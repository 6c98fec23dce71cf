/** A replica's plan as the engine's create call: here all limits and all hardening are set. Pure. */
import type { ContainerCreateOptions, HostConfig, MountSettings } from 'dockerode'
import type { DeviceEdits } from './cdi.ts'
import type { EngineFacts } from './detect.ts'
import { shapeOf, type ReplicaPlan } from './lease-plan.ts'
import { containerName, LABEL, leaseLabels, networkName, volumeName } from './names.ts'

/**
 * What images from everywhere need of root's powers, inside of their own container: entry points that give data
 * folders to a user (CHOWN, FOWNER, FSETID, DAC_OVERRIDE) and then become that user (SETUID, SETGID), process managers
 * that end processes of other users (KILL), and servers on ports below 1024 (NET_BIND_SERVICE). Of Docker's default set
 * this leaves out NET_RAW (spoofing), MKNOD, SYS_CHROOT, SETPCAP, SETFCAP and AUDIT_WRITE.
 */
export const CAPABILITIES = [
  'CHOWN',
  'DAC_OVERRIDE',
  'FOWNER',
  'FSETID',
  'KILL',
  'NET_BIND_SERVICE',
  'SETGID',
  'SETUID',
] as const

/** The same for all containers of a node. */
export type ContainerLimits = {
  /** Processes and threads: far above what servers use, far below what troubles a host. */
  readonly pids: number
  /** Within what this machine allows: see `host-limits.ts`. */
  readonly openFiles: number
  readonly processesPerUser: number
  /** Kept of each container's output. */
  readonly logBytes: number
}

export type OptionsContext = {
  readonly instance: string
  readonly facts: EngineFacts
  readonly limits: ContainerLimits
  /** Asked for names outside of the lease; none: the host's own. */
  readonly nameServers: readonly string[]
  /** The profile's text, or its path where the engine wants that. */
  readonly seccomp: string
}

/** Engines refuse less. */
const LEAST_CPU_MILLI = 10
const LEAST_MEMORY_BYTES = 6 << 20
const DEFAULT_SHM_BYTES = 64 << 20
/** Of `/tmp` and `/run` under a read-only root; counted as memory. */
const SCRATCH_BYTES = 64 << 20
/** When the host runs out of memory, leases go before the node agent and the engine. */
const OOM_SCORE = 500

/** `gpus`: plain devices, or names for an engine that knows CDI. */
export function containerOptions(
  plan: ReplicaPlan,
  gpus: DeviceEdits | { readonly names: readonly string[] } | null,
  context: OptionsContext,
): ContainerCreateOptions {
  const { target, service } = plan
  const network = networkName(context.instance, target.lease)
  const edits = gpus !== null && 'env' in gpus ? gpus : null
  return {
    name: containerName(context.instance, target),
    Hostname: `${target.service}-${target.replica}`,
    Image: service.image,
    // Like in Kubernetes: a command replaces the image's entry point and with it the image's arguments.
    ...(service.command !== null && { Entrypoint: [...service.command] }),
    ...(service.args !== null && { Cmd: [...service.args] }),
    Env: [
      ...(edits?.env ?? []),
      ...service.env.map((one) => (one.includes('=') ? one : `${one}=`)),
    ],
    Labels: labelsOf(plan, context),
    HostConfig: {
      ...limitsOf(plan),
      ...hardening(plan, context),
      ...logging(context),
      NetworkMode: network,
      ...(context.nameServers.length > 0 && { Dns: [...context.nameServers] }),
      // The host's search list names the provider's own network.
      DnsSearch: ['.'],
      Mounts: [...volumeMounts(plan, context.instance), ...deviceMounts(edits)],
      ...inMemory(plan),
      ...(edits !== null && { Devices: edits.devices.map(deviceOf) }),
      ...(gpus !== null && 'names' in gpus && { DeviceRequests: [cdiRequest(gpus.names)] }),
      // We restart containers ourselves: an engine would also after a reboot, when the lease may be another's.
      RestartPolicy: { Name: 'no' },
    },
    NetworkingConfig: {
      EndpointsConfig: {
        [network]: { Aliases: [target.service, `${target.service}-${target.replica}`] },
      },
    },
  }
}

/** What can change while it runs, where the engine can. */
export function limitsOf({ cpuMilli, memoryBytes }: ReplicaPlan) {
  const memory = Math.max(memoryBytes, LEAST_MEMORY_BYTES)
  return {
    NanoCpus: Math.max(cpuMilli, LEAST_CPU_MILLI) * 1e6,
    Memory: memory,
    // The same as memory: no swap.
    MemorySwap: memory,
  }
}

function labelsOf(plan: ReplicaPlan, { instance, facts }: OptionsContext): Record<string, string> {
  const { lease, service, replica } = plan.target
  return {
    ...leaseLabels(instance, lease, plan.epoch),
    [LABEL.service]: service,
    [LABEL.replica]: String(replica),
    [LABEL.shape]: shapeOf(plan, facts.quirks.noLiveUpdate),
    [LABEL.restart]: plan.restart,
    [LABEL.diskBytes]: String(plan.diskBytes),
  }
}

function hardening(plan: ReplicaPlan, { facts, limits, seccomp }: OptionsContext): HostConfig {
  const { openFiles, processesPerUser } = limits
  const both = [
    { Name: 'nofile', Soft: openFiles, Hard: openFiles },
    { Name: 'nproc', Soft: processesPerUser, Hard: processesPerUser },
  ]
  return {
    PidsLimit: limits.pids,
    Ulimits: facts.quirks.needsOwnUlimits ? both : both.slice(0, 1),
    OomScoreAdj: OOM_SCORE,
    CapDrop: ['ALL'],
    CapAdd: [...CAPABILITIES],
    SecurityOpt: ['no-new-privileges', `seccomp=${seccomp}`],
    ReadonlyRootfs: plan.readOnlyRoot,
    IpcMode: 'private',
    // The lease's network has no IPv6; its interfaces should have no link-local address either.
    Sysctls: { 'net.ipv6.conf.all.disable_ipv6': '1' },
  }
}

const logging = ({ facts, limits }: OptionsContext): HostConfig => ({
  LogConfig:
    facts.quirks.logDriver === 'json-file'
      ? // Two files of half the size: the older half goes when the newer one is full.
        {
          Type: 'json-file',
          Config: { 'max-size': String(Math.ceil(limits.logBytes / 2)), 'max-file': '2' },
        }
      : { Type: 'k8s-file', Config: { 'max-size': String(limits.logBytes) } },
})

const volumeMounts = (plan: ReplicaPlan, instance: string): MountSettings[] =>
  plan.volumes.map(({ volume, path, readOnly }) => ({
    Type: 'volume',
    Source: volumeName(instance, { ...plan.target, volume }),
    Target: path,
    ReadOnly: readOnly,
  }))

const deviceMounts = (edits: DeviceEdits | null): MountSettings[] =>
  (edits?.mounts ?? []).map(({ hostPath, containerPath, readOnly }) => ({
    Type: 'bind',
    Source: hostPath,
    Target: containerPath,
    ReadOnly: readOnly,
  }))

function inMemory({ inMemory: mounts, readOnlyRoot }: ReplicaPlan): HostConfig {
  const shm = mounts.find(({ path }) => path === '/dev/shm')
  const others = mounts.filter(({ path }) => path !== '/dev/shm')
  const scratch = readOnlyRoot ? ['/tmp', '/run'] : []
  return {
    ShmSize: shm?.bytes ?? DEFAULT_SHM_BYTES,
    Tmpfs: Object.fromEntries([
      ...scratch.map((path) => [path, tmpfs(SCRATCH_BYTES)]),
      ...others.map(({ path, bytes }) => [path, tmpfs(bytes)]),
    ]),
  }
}

const tmpfs = (bytes: number): string => `rw,exec,nosuid,nodev,mode=1777,size=${bytes}`

const deviceOf = ({ hostPath, containerPath, permissions }: DeviceEdits['devices'][number]) => ({
  PathOnHost: hostPath,
  PathInContainer: containerPath,
  CgroupPermissions: permissions,
})

const cdiRequest = (names: readonly string[]) => ({ Driver: 'cdi', DeviceIDs: [...names] })
