/**
 * Nodes of the built program that lease out containers of a private Docker, and a tenant with a key for deployments.
 * All nodes share the one Docker, as if each had its own: they tell their containers apart by labels.
 */
import assert from 'node:assert/strict'
import { request } from 'node:http'
import type { TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type Docker from 'dockerode'
import type { ContainerInfo } from 'dockerode'
import { accrue } from '../../src/core/base/rate.ts'
import { openSocket } from '../../src/io/runtime/engine-socket.ts'
import { loadImage } from '../../src/io/runtime/images.ts'
import { instanceOf, LABEL, labelFilter } from '../../src/io/runtime/names.ts'
import { nodeLedger, tenantLedger } from '../../src/io/store/store.ts'
import { startEngine, type PrivateEngine } from './container-engines.ts'
import { imageArchive, makeLayer } from './container-image.ts'
import { imageOf, sdlOf, type SdlPlan } from './lease-sdl.ts'
import {
  programNetwork,
  TENANT_NANO_USD,
  type NodeProcess,
  type ProgramNetwork,
} from './network-of-programs.ts'

/** Serves `/www` on port 80, and ends when it is asked to. As process 1 it hears only signals that it asked for. */
const SERVE = "trap 'exit 0' TERM; echo serving; httpd -f -p 80 -h /www & wait"
export const PAGE = 'hello from a lease\n'

export type LeaseYard = {
  readonly engine: PrivateEngine
  readonly docker: Docker
  close(): Promise<void>
}

/** A private Docker with the image, in two versions; for a whole suite, since it takes seconds. */
export async function openYard(): Promise<LeaseYard> {
  const engine = await startEngine('docker')
  const docker = openSocket(engine.socket)
  const layer = await makeLayer()
  for (const version of [1, 2]) {
    const config = { Env: ['PATH=/bin', `VERSION=${version}`], Cmd: ['sh', '-c', SERVE] }
    await loadImage(docker, await imageArchive(layer, { name: imageOf(version), config }))
  }
  return {
    engine,
    docker,
    close: async () => {
      await layer.remove()
      await engine.stop()
    },
  }
}

export type LeaseState = {
  readonly id: string
  readonly state: string
  readonly message: string
  readonly epoch: number
  readonly node: string | null
  readonly rate: { readonly atto_usd_per_second: string }
  readonly started_at: string | null
  readonly billed_until: string | null
  readonly spent: { readonly nano_usd: string }
}
export type DeploymentState = {
  readonly id: string
  readonly name: string
  readonly closed_at: string | null
  readonly leases: readonly LeaseState[]
}

export type LeaseNetwork = ProgramNetwork &
  Tenant & {
    readonly docker: Docker
    /** The tenant, asking at another gateway. */
    at(url: string): Tenant
    /** What `/` of its service `web` answers through the ingress; null: no page, or none within a second. */
    page(lease: string, gateway?: string): Promise<string | null>
    nodeOf(lease: LeaseState): NodeProcess
    /** Containers that run, of a node or of a lease. */
    containersOf(of: { node: NodeProcess } | { lease: string }): Promise<ContainerInfo[]>
    /** As if its plug were pulled: the node and all of its containers at once. */
    killMachine(node: NodeProcess): Promise<void>
  }

/** An even share of the machine for each node, so that none sells what another has sold. */
export async function leaseNetwork(
  t: TestContext,
  { engine, docker }: LeaseYard,
  options: {
    nodes: number
    gateways?: number
    databaseUrl?: string
    keepLogs?: boolean
    /** More settings of the gateway that will have this port. */
    gatewayEnv?: (port: number) => Promise<NodeJS.ProcessEnv>
  },
): Promise<LeaseNetwork> {
  const share = Math.floor(100 / options.nodes) / 100
  const network = await programNetwork(t, {
    ...options,
    nodeFlags: { 'runtime-socket': engine.socket, 'lease-share': String(share) },
  })
  const { url, account, nodes } = network
  const scopes = ['inference', 'account', 'keys', 'deployments'] as const
  const key = await network.newKey(account, { scopes })
  const tenant = tenantOf(network, key, url)
  await network.until('every node bids', async () => (await tenant.bids()) === nodes.length)
  const containersOf: LeaseNetwork['containersOf'] = async (of) => {
    const labels =
      'lease' in of ? { [LABEL.lease]: of.lease } : { [LABEL.instance]: instanceOf(of.node.id) }
    return await docker.listContainers({ filters: labelFilter(labels) })
  }
  return {
    ...network,
    ...tenant,
    docker,
    containersOf,
    at: (other) => tenantOf(network, key, other),
    page: (id, at = url) => {
      const label = id.slice(id.indexOf('_') + 1)
      return pageAt(`http://web.${label}.localhost:${new URL(at).port}/`)
    },
    nodeOf: ({ node }) => {
      const found = nodes.find(({ id }) => id === node)
      assert.ok(found, `${node} is one of ours`)
      return found
    },
    killMachine: async (node) => {
      await node.program.kill('SIGKILL')
      const running = await containersOf({ node })
      await Promise.all(running.map(({ Id }) => docker.getContainer(Id).kill()))
    },
  }
}

type Tenant = {
  readonly tenantKey: string
  /** How many nodes would run one more. */
  bids(): Promise<number>
  deploy(name: string, plan?: SdlPlan): Promise<DeploymentState>
  deployment(name: string): Promise<DeploymentState>
  /** The only lease of a deployment. */
  lease(name: string): Promise<LeaseState>
  /** The same, once it runs. */
  running(name: string): Promise<LeaseState>
  update(name: string, plan: SdlPlan): Promise<DeploymentState>
  close(name: string): Promise<DeploymentState>
}

function tenantOf(network: ProgramNetwork, tenantKey: string, url: string): Tenant {
  async function call<T>(method: string, path: string, body?: unknown): Promise<T> {
    const response = await fetch(`${url}/v1/deployments${path}`, {
      method,
      headers: { authorization: `Bearer ${tenantKey}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    assert.ok(response.ok, `${method} ${path}: ${response.status} ${text}`)
    const answer: T = JSON.parse(text)
    return answer
  }
  const deployment = (name: string) => call<DeploymentState>('GET', `/${name}`)
  const lease = async (name: string): Promise<LeaseState> => {
    const [only] = (await deployment(name)).leases
    assert.ok(only, `${name} has a lease`)
    return only
  }
  return {
    tenantKey,
    deployment,
    lease,
    bids: async () => {
      type Screening = { groups: { bids: unknown[] }[] }
      const { groups } = await call<Screening>('POST', '/screen', { sdl: sdlOf() })
      return groups[0]?.bids.length ?? 0
    },
    deploy: (name, plan) => call('POST', '', { sdl: sdlOf(plan), name }),
    running: async (name) => {
      await network.until(`${name} runs`, async () => (await lease(name)).state === 'running')
      return await lease(name)
    },
    update: (name, plan) => call('PUT', `/${name}`, { sdl: sdlOf(plan) }),
    close: (name) => call('DELETE', `/${name}`),
  }
}

/** When all leases are closed: the books add up, and leases were the only thing that cost something. */
export async function checkLeaseMoney({ store, account, nodes }: LeaseNetwork): Promise<{
  readonly paidNanoUsd: bigint
  /** By node. */
  readonly earned: ReadonlyMap<string, bigint>
}> {
  const audit = await store.audit()
  assert.deepEqual([audit.sumNanoUsd, audit.wrong], [0n, []])
  const { balanceNanoUsd, heldNanoUsd } = await store.balance(tenantLedger(account))
  assert.equal(heldNanoUsd, 0n, 'what was set aside has returned')
  const balances = await Promise.all(nodes.map(({ id }) => store.balance(nodeLedger(id))))
  const earned = new Map(nodes.map(({ id }, i) => [id, balances[i]?.balanceNanoUsd ?? 0n]))
  const paidNanoUsd = TENANT_NANO_USD - balanceNanoUsd
  const sum = [...earned.values()].reduce((all, one) => all + one, 0n)
  assert.equal(paidNanoUsd, sum, 'what the tenant paid is what the nodes have')
  return { paidNanoUsd, earned }
}

/**
 * The page at a URL of a lease; null: none, or none within a second. Not `fetch`: `*.localhost` is this machine, also
 * where no resolver says so, and `fetch` sends no Host header of ours.
 */
export function pageAt(place: string): Promise<string | null> {
  const { host, port, pathname: path } = new URL(place)
  const signal = AbortSignal.timeout(1_000)
  const options = { host: '127.0.0.1', port, path, headers: { host }, agent: false, signal }
  return new Promise((resolve) => {
    const asked = request(options, (answer) => {
      let text = ''
      answer.setEncoding('utf8').on('data', (piece: string) => (text += piece))
      answer.on('end', () => resolve(answer.statusCode === 200 ? text : null))
      answer.on('error', () => resolve(null))
    })
    asked.on('error', () => resolve(null)).end()
  })
}

/** What it costs from its start until then, and a nano-dollar for the fraction that was carried. */
export function worth({ rate, started_at }: LeaseState, until: number): bigint {
  const ms = Math.max(0, until - Date.parse(started_at ?? ''))
  return accrue({ rate: BigInt(rate.atto_usd_per_second), ms, carry: 0n }).nanoUsd + 1n
}

const LOOK_MS = 50

/** Who ran a lease under which epoch, looked up again and again. */
export class EpochWatch {
  readonly #owners = new Map<number, Set<string>>()
  readonly #over = new AbortController()
  readonly #watching: Promise<void>
  #newest = 0
  readonly #doubles: string[] = []
  /** When a container of an epoch ran although one of a newer epoch had been seen, ms since 1970. */
  readonly relapses: { readonly epoch: number; readonly at: number }[] = []

  constructor(network: LeaseNetwork, lease: string) {
    this.#watching = this.#watch(network, lease)
    // A test that fails before it asks has closed the engine under us; who asks is told.
    this.#watching.catch(() => undefined)
  }

  async #watch(network: LeaseNetwork, lease: string): Promise<void> {
    for (; !this.#over.signal.aborted; await sleep(LOOK_MS))
      this.#note(await network.containersOf({ lease }))
  }

  #note(running: readonly ContainerInfo[]): void {
    const epochs = running.map(({ Labels }) => Number(Labels[LABEL.epoch]))
    this.#newest = Math.max(this.#newest, ...epochs)
    if (new Set(epochs).size < epochs.length) this.#doubles.push(epochs.join())
    for (const [i, epoch] of epochs.entries()) {
      const owners = this.#owners.get(epoch) ?? new Set()
      this.#owners.set(epoch, owners.add(running[i]?.Labels[LABEL.instance] ?? ''))
      if (epoch < this.#newest) this.relapses.push({ epoch, at: Date.now() })
    }
  }

  /** So many epochs ran, each at one node only, and never two containers at a time under one. */
  async checkOwners(epochs: number): Promise<void> {
    this.#over.abort()
    await this.#watching
    assert.deepEqual(this.#doubles, [])
    const owners = [...this.#owners.values()].map(({ size }) => size)
    assert.deepEqual(owners, Array<number>(epochs).fill(1))
  }
}
