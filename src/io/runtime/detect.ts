/** Finds the container engine of this machine, and says whether what it runs can be sold, or why not. */
import { z } from 'zod'
import { reasonOf } from '../../core/base/refusal.ts'
import { firewallProblem } from './firewall.ts'
import { openSocket } from './engine-socket.ts'
import { quirksOf, type Quirks } from './quirks.ts'

export type EngineFacts = {
  readonly socket: string
  readonly engine: 'docker' | 'podman'
  readonly version: string
  readonly cgroupVersion: 1 | 2
  readonly storageDriver: string
  /**
   * What stands between a container and the kernel; `runsc` is gVisor. It is the engine's default runtime, so the
   * provider's choice: gVisor refuses images that runc runs, and needs a kernel that it knows.
   */
  readonly isolation: 'runc' | 'runsc'
  /** Root in a container is nobody on the host. */
  readonly userNamespaces: boolean
  readonly architecture: string
  readonly quirks: Quirks
}

/** A machine's answer for one socket. `problem` says what is wrong and `fix` what to do about it. */
export type Detection =
  | { readonly socket: string; readonly usable: true; readonly facts: EngineFacts }
  | Unusable
type Unusable = {
  readonly socket: string
  readonly usable: false
  readonly problem: string
  readonly fix: string
}

/** An engine that does not answer within this time is of no use to a lease either. */
const ANSWER_MS = 5_000

export async function detectEngine(socket: string): Promise<Detection> {
  try {
    const docker = openSocket(socket, ANSWER_MS)
    const answers = await Promise.all([docker.version(), docker.info()])
    const judged = judgeEngine(socket, ...answers)
    if (!judged.usable) return judged
    const problem = await firewallProblem()
    return problem === null ? judged : { socket, usable: false, ...problem }
  } catch (thrown) {
    return {
      socket,
      usable: false,
      problem: `it does not answer as Docker or Podman do: ${reasonOf(thrown)}`,
      fix: 'start the engine, and run this as root or as a member of its group',
    }
  }
}

const versionSchema = z.object({
  Version: z.string(),
  Arch: z.string().default(''),
  Components: z
    .array(z.object({ Name: z.string() }))
    .nullish()
    .transform((list) => list ?? []),
})

const infoSchema = z.object({
  OSType: z.string().default('linux'),
  Driver: z.string().default(''),
  CgroupVersion: z.coerce.number().default(1),
  DefaultRuntime: z.string().default('runc'),
  SecurityOptions: z
    .array(z.string())
    .nullish()
    .transform((list) => list ?? []),
  /** Podman's. */
  Rootless: z.boolean().default(false),
  MemoryLimit: z.boolean().default(true),
  PidsLimit: z.boolean().default(true),
  CpuCfsQuota: z.boolean().optional(),
})
type Info = z.infer<typeof infoSchema>

/** Judges what the engine answered to `/version` and `/info`. */
export function judgeEngine(socket: string, version: unknown, info: unknown): Detection {
  const said = versionSchema.parse(version)
  const about = infoSchema.parse(info)
  const engine = said.Components.some(({ Name }) => Name.startsWith('Podman')) ? 'podman' : 'docker'
  const problem = problemOf(engine, about)
  if (problem !== null) return { socket, usable: false, ...problem }
  return {
    socket,
    usable: true,
    facts: {
      socket,
      engine,
      version: said.Version,
      cgroupVersion: about.CgroupVersion >= 2 ? 2 : 1,
      storageDriver: about.Driver,
      isolation: about.DefaultRuntime.includes('runsc') ? 'runsc' : 'runc',
      userNamespaces: about.SecurityOptions.some((option) => option.startsWith('name=userns')),
      architecture: said.Arch,
      quirks: quirksOf(engine, said.Version),
    },
  }
}

function problemOf(
  engine: 'docker' | 'podman',
  info: Info,
): { problem: string; fix: string } | null {
  const rootless = info.Rootless || info.SecurityOptions.some((one) => one === 'name=rootless')
  const asRoot = `run ${engine} as root: its system service, at ${engine === 'docker' ? '/var/run/docker.sock' : '/run/podman/podman.sock'}`
  if (info.OSType !== 'linux')
    return {
      problem: `its containers run on ${info.OSType}`,
      fix: 'leases are Linux containers: use an engine on Linux',
    }
  if (rootless && info.CgroupVersion < 2)
    return {
      problem: 'rootless on cgroup v1: limits of CPU and memory are ignored, so no lease is safe',
      fix: asRoot,
    }
  if (rootless)
    return {
      problem: 'rootless: its network cannot be kept from the LAN and from this host',
      fix: asRoot,
    }
  const missing = [
    ...(info.MemoryLimit ? [] : ['memory']),
    ...(info.PidsLimit ? [] : ['process']),
    ...(info.CpuCfsQuota === false ? ['CPU'] : []),
  ]
  if (missing.length === 0) return null
  return {
    problem: `the kernel gives it no ${missing.join(', no ')} limits`,
    fix: 'enable the missing cgroup controllers (memory, pids, cpu), by kernel parameters or in the host of this machine',
  }
}
