/**
 * Real Docker and Podman for tests: private daemons with folders of their own, started for a suite and stopped by
 * their process ids, without a trace in the machine's network. Needs Linux, root and apt; where those are missing,
 * `containersUnavailable` says so.
 */
import assert from 'node:assert/strict'
import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync } from 'node:fs'
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { get } from 'node:http'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import type Docker from 'dockerode'
import { openSocket } from '../../src/io/runtime/engine-socket.ts'
import { restoreNetwork, saveNetwork } from './container-firewall.ts'

const run = promisify(execFile)

export type EngineName = 'docker' | 'podman'
export type PrivateEngine = {
  readonly name: EngineName
  readonly socket: string
  /** For whatever belongs to the suite; removed with the engine. */
  readonly folder: string
  /** Kills the daemon and starts it anew over the same folder. */
  restart(): Promise<void>
  stop(): Promise<void>
}

/** Linux's numbers: linux/capability.h. */
const CAP_NET_ADMIN = 12n
const CAP_SYS_ADMIN = 21n

/** For a test's `skip`: false where containers can be tried. */
export function containersUnavailable(): string | false {
  if (process.platform !== 'linux') return 'containers need Linux'
  if (process.getuid?.() !== 0) return 'a private container engine needs root'
  const [, hex = '0'] =
    /^CapEff:\s*([0-9a-f]+)/m.exec(readFileSync('/proc/self/status', 'utf8')) ?? []
  const allowed = BigInt(`0x${hex}`)
  if ([CAP_NET_ADMIN, CAP_SYS_ADMIN].some((bit) => ((allowed >> bit) & 1n) === 0n))
    return 'root has neither CAP_SYS_ADMIN nor CAP_NET_ADMIN here: an unprivileged container'
  const missing = missingPackages()
  if (missing.length > 0 && !existsSync('/usr/bin/apt-get'))
    return `these Debian packages are missing, and so is apt: ${missing.join(' ')}`
  return false
}

/** What each package is needed for. */
const PACKAGES: Readonly<Record<string, string>> = {
  '/usr/sbin/dockerd': 'docker.io',
  '/usr/bin/podman': 'podman',
  '/usr/bin/runc': 'runc',
  '/usr/lib/podman/netavark': 'netavark',
  '/usr/lib/podman/aardvark-dns': 'aardvark-dns',
  '/usr/sbin/iptables': 'iptables',
  '/bin/busybox': 'busybox-static',
  '/usr/sbin/ip': 'iproute2',
  '/usr/bin/perl': 'perl-base',
}

const missingPackages = (): string[] =>
  Object.entries(PACKAGES).flatMap(([file, name]) =>
    existsSync(file) || existsSync(`/usr${file}`) ? [] : [name],
  )

/** Keeps Debian from starting the services that it installs. */
const POLICY = '/usr/sbin/policy-rc.d'

async function installPackages(): Promise<void> {
  const missing = missingPackages()
  if (missing.length === 0) return
  const guard = !existsSync(POLICY)
  if (guard) await writeFile(POLICY, '#!/bin/sh\nexit 101\n', { mode: 0o755 })
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  const apt = (...args: string[]) =>
    run('apt-get', ['-o', 'DPkg::Lock::Timeout=300', '-q', ...args], { env, maxBuffer: 1 << 26 })
  try {
    await apt('update')
    await apt('install', '-y', '--no-install-recommends', ...missing)
  } finally {
    if (guard) await rm(POLICY)
  }
}

export async function startEngine(name: EngineName): Promise<PrivateEngine> {
  await installPackages()
  const before = await saveNetwork()
  const folder = mkdtempSync(join(tmpdir(), `${FOLDER_PREFIX}${name}-`))
  const socket = join(folder, 'engine.sock')
  const daemon = new Daemon(name, await commandOf(name, folder, socket))
  await daemon.start(socket)
  return {
    name,
    socket,
    folder,
    restart: async () => {
      await daemon.stop()
      await daemon.start(socket)
    },
    stop: async () => {
      try {
        await removeAll(openSocket(socket))
      } finally {
        await daemon.stop()
        await killUnder(folder)
        await unmountUnder(folder)
        await rm(folder, { recursive: true, force: true })
        // Engines share their chains in the firewall: the last one to go takes them away.
        if (!(await othersRun())) await restoreNetwork(before)
      }
    },
  }
}

const FOLDER_PREFIX = 'baseload-engine-'

type Command = {
  readonly program: string
  readonly args: string[]
  readonly env: NodeJS.ProcessEnv
}

async function commandOf(name: EngineName, folder: string, socket: string): Promise<Command> {
  const at = (part: string) => join(folder, part)
  if (name === 'docker') {
    await writeFile(at('daemon.json'), '{}')
    const args = flags({
      'config-file': at('daemon.json'),
      'data-root': at('data'),
      'exec-root': at('exec'),
      pidfile: at('pid'),
      host: `unix://${socket}`,
      bridge: 'none',
    })
    return { program: 'dockerd', args, env: process.env }
  }
  await writeFile(at('containers.conf'), podmanConfig())
  await writeFile(at('registries.conf'), '[[registry]]\nlocation = "127.0.0.1"\ninsecure = true\n')
  await mkdir(at('networks'))
  const folders = flags({
    root: at('data'),
    runroot: at('run'),
    'network-config-dir': at('networks'),
    tmpdir: at('tmp'),
  })
  const env = {
    ...process.env,
    CONTAINERS_CONF: at('containers.conf'),
    CONTAINERS_REGISTRIES_CONF: at('registries.conf'),
  }
  return {
    program: 'podman',
    args: [...folders, 'system', 'service', '--time=0', `unix://${socket}`],
    env,
  }
}

const flags = (values: Record<string, string>): string[] =>
  Object.entries(values).flatMap(([flag, value]) => [`--${flag}`, value])

/** Without limits of its own Podman asks for more than a machine with low hard limits gives, and starts nothing. */
function podmanConfig(): string {
  const text = readFileSync('/proc/self/limits', 'utf8')
  const hard = (name: string) =>
    Number(new RegExp(`^${name}\\s+\\S+\\s+(\\d+)`, 'm').exec(text)?.[1] ?? 1e6)
  const files = Math.min(hard('Max open files'), 65_536)
  const processes = Math.min(hard('Max processes'), 30_000)
  return [
    '[containers]',
    `default_ulimits = ["nofile=${files}:${files}", "nproc=${processes}:${processes}"]`,
    '[engine]',
    'runtime = "runc"',
    'cgroup_manager = "cgroupfs"',
    'events_logger = "file"',
    '[network]',
    'network_backend = "netavark"\n',
  ].join('\n')
}

const MAX_SAID_CHARACTERS = 20_000
const LOOK_MS = 50
const START_MS = 60_000

class Daemon {
  readonly #name: EngineName
  readonly #command: Command
  #child: ChildProcess | null = null
  #said = ''

  constructor(name: EngineName, command: Command) {
    this.#name = name
    this.#command = command
  }

  async start(socket: string): Promise<void> {
    const { program, args, env } = this.#command
    await rm(socket, { force: true })
    // Podman's monitors leave a file 'oom' where they were started.
    const cwd = dirname(socket)
    const child = spawn(program, args, { env, cwd, stdio: ['ignore', 'pipe', 'pipe'] })
    this.#child = child
    process.once('exit', () => child.kill())
    for (const stream of [child.stdout, child.stderr])
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.#said = (this.#said + text).slice(-MAX_SAID_CHARACTERS)
      })
    const deadline = Date.now() + START_MS
    while (!(await answers(socket))) {
      assert.equal(child.exitCode, null, `${this.#name} ended:\n${this.#said}`)
      assert.ok(Date.now() < deadline, `${this.#name} does not answer:\n${this.#said}`)
      await sleep(LOOK_MS)
    }
  }

  async stop(): Promise<void> {
    const child = this.#child
    if (child === null || child.exitCode !== null) return
    const gone = once(child, 'exit')
    child.kill('SIGTERM')
    await gone
  }
}

const answers = (socketPath: string): Promise<boolean> =>
  new Promise((resolve) => {
    get({ socketPath, path: '/_ping', timeout: START_MS }, (answer) => {
      answer.resume()
      resolve(answer.statusCode === 200)
    }).once('error', () => resolve(false))
  })

/** Whether another test's engine runs: its folder is on its command line. */
async function othersRun(): Promise<boolean> {
  const lines = await Promise.all((await processIds()).map(commandLine))
  return lines.some((line) => line.includes(join(tmpdir(), FOLDER_PREFIX)))
}

const processIds = async (): Promise<string[]> =>
  (await readdir('/proc')).filter((name) => /^\d+$/.test(name))

const commandLine = (pid: string): Promise<string> =>
  readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')

/** A daemon that ends leaves its containers running. */
async function removeAll(docker: Docker): Promise<void> {
  const containers = await docker.listContainers({ all: true })
  await Promise.all(
    containers.map(({ Id }) => docker.getContainer(Id).remove({ force: true, v: true })),
  )
  const networks = (await docker.listNetworks()).filter(({ Name }) => !BUILT_IN.has(Name))
  await Promise.all(networks.map(({ Id }) => docker.getNetwork(Id).remove()))
}

const BUILT_IN = new Set(['bridge', 'host', 'none', 'podman'])

/** Podman's monitors outlive each `exec` by five minutes. They are known by the folder on their command line. */
async function killUnder(folder: string): Promise<void> {
  for (const pid of await processIds())
    if ((await commandLine(pid)).includes(`${folder}/`)) process.kill(Number(pid), 'SIGKILL')
}

/** What a daemon that was killed left mounted, innermost first. */
async function unmountUnder(folder: string): Promise<void> {
  const mounts = (await readFile('/proc/mounts', 'utf8'))
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
  for (const mount of mounts.filter((path) => path.startsWith(`${folder}/`)).toReversed())
    await run('umount', ['--lazy', mount])
}
