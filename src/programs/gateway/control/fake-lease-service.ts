/** For tests: a fake lease service. No market and no node: it keeps what it is told, and a test plays the rest. */
import { HTTP_DEFAULTS } from '../../../core/sdl/http-options.ts'
import type { LeaseState } from '../../../core/protocol/lease-control.ts'
import type { Duplex } from 'node:stream'
import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { isRefusal, refuse, type Refusal } from '../../../core/base/refusal.ts'
import { rateOf } from '../../../core/base/rate.ts'
import type { Expose } from '../../../core/protocol/manifest.ts'
import type { SecretEnvelope } from '../../../core/protocol/secrets.ts'
import { ephemeralIdentity } from '../../../io/keys/identity.ts'
import { ephemeralSealingKey } from '../../../io/keys/sealed-box.ts'
import { signSealingKey } from '../../../io/keys/secret-envelope.ts'
import type {
  BidView,
  DeploymentEvent,
  DeploymentView,
  LeaseService,
  LeaseView,
  DeployWish,
  NewSecrets,
  Screening,
  SealingKeys,
  TunnelWish,
} from '../leases/lease-service.ts'
import type { SnapshotList, VolumeWish } from '../leases/tenant-snapshots.ts'
import type { SnapshotRecord } from '../../../io/store/snapshot-records.ts'

type Mutable<T> = { -readonly [K in keyof T]: T[K] }
type Kept = {
  readonly account: string
  view: Mutable<DeploymentView>
  readonly events: DeploymentEvent[]
  readonly snapshots: SnapshotRecord[]
}

/** One page of the real service's events. */
const PAGE = 3
const FAKE_NODES = ['a', 'b'].map((letter) => `node_${letter.repeat(24)}`)

export class FakeLeaseService implements LeaseService {
  readonly #kept = new Map<string, Kept>()
  readonly #watchers = new Map<string, Set<() => void>>()
  readonly #now: () => number
  /** The idempotency key of each deployment that was asked for. */
  readonly keys: (string | null)[] = []
  /** Every tunnel that was asked for. */
  readonly wishes: TunnelWish[] = []
  /** The node's end of tunnels: a test says what is there. */
  tunnel: (wish: TunnelWish, signal: AbortSignal) => Promise<Duplex | Refusal> = () =>
    Promise.resolve(refuse('tunnel_refused', 'The fake has no node.'))
  /** What came sealed with each `deploy` and `update`. */
  readonly secrets: (NewSecrets | readonly SecretEnvelope[] | null)[] = []
  /** Nodes that secrets may be sealed for, and the groups of whatever file comes. */
  sealers = [newSealer(), newSealer()]
  groups = ['here']
  /** What the only volume, `data` of `web`, holds; a test may have a download break off after so many bytes. */
  volume: Buffer = Buffer.from('what the volume holds')
  breakAfter: number | null = null
  /** A download stands still at half of it. */
  hangAfter = false
  /** Whether a snapshot was ever asked for. */
  taking = false
  /** How often a list is read before what is being taken is ready, or why it fails then. */
  readsToReady = 1
  takingFails: string | null = null
  limitBytes = 100 * 2 ** 30
  /** The volumes of each deployment, all as if they were the one. */
  volumes = [{ service: 'web', replica: 0, volume: 'data' }]
  /** Thrown by each method while set: the database is away. */
  away: Error | null = null

  constructor(now: () => number) {
    this.#now = now
  }

  async screen(_account: string, sdl: string, _sealed = false): Promise<Screening | Refusal> {
    return this.#present(() => this.#screening(sdl))
  }

  async deploy(
    account: string,
    _apiKey: string,
    wish: DeployWish,
  ): Promise<DeploymentView | Refusal> {
    this.keys.push(wish.idempotencyKey ?? null)
    return this.#present(() => {
      this.secrets.push(wish.secrets)
      const screening = this.#screening(wish.sdl)
      if (isRefusal(screening)) return screening
      const id = `dep_${this.#kept.size + 1}`
      const view: DeploymentView = {
        id,
        name: wish.name ?? `calm-${this.#kept.size + 1}`,
        rule: wish.rule,
        createdAt: this.#now(),
        closedAt: null,
        closeReason: null,
        sdl: wish.sdl,
        leases: [leaseOf(id, wish.rule === 'manual' ? 'ordered' : 'accepted')],
        spentNanoUsd: 0n,
      }
      this.#kept.set(id, { account, view, events: [], snapshots: [] })
      this.happen(id, 'deployment.screened', '2 of 9 nodes can run it')
      this.happen(id, 'lease.ordered', 'the order is out')
      if (wish.rule !== 'manual') this.happen(id, 'lease.accepted', 'the cheapest bid won')
      return this.#kept.get(id)?.view ?? view
    })
  }

  async sealingKeys(
    account: string,
    sdl: string,
    id: string | null,
  ): Promise<SealingKeys | Refusal> {
    const screening = await this.screen(account, sdl)
    if (isRefusal(screening)) return screening
    const kept = id === null ? null : await this.deployment(account, id)
    if (kept !== null && isRefusal(kept)) return kept
    const nodes = this.sealers.map(({ identity, key }) => ({
      node: identity.id,
      nodeKey: identity.publicKey,
      ...signSealingKey(identity, key),
    }))
    const groups = this.groups.map((group) => ({ group, nodes, reasons: ['1 of 3 nodes: busy'] }))
    return { tenant: account, deployment: kept?.id ?? null, groups }
  }

  async deployments(account: string, page: { limit: number; closed: boolean }) {
    return this.#present(() =>
      [...this.#kept.values()]
        .filter((kept) => kept.account === account && (page.closed || kept.view.closedAt === null))
        .map(({ view }) => view)
        .toReversed()
        .slice(0, page.limit),
    )
  }

  async deployment(account: string, id: string): Promise<DeploymentView | Refusal> {
    return this.#with(account, id, ({ view }) => view)
  }

  async bids(account: string, id: string): Promise<Screening | Refusal> {
    return this.#with(account, id, ({ view }) => this.#screening(view.sdl))
  }

  async accept(account: string, id: string, lease: string, node: string) {
    return this.#with(account, id, (kept) => {
      if (!kept.view.leases.some((one) => one.id === lease && one.state === 'ordered'))
        return refuse('conflict', `The lease '${lease}' waits for no choice.`)
      this.set(kept.view.id, { state: 'accepted', node })
      return kept.view
    })
  }

  async update(
    account: string,
    id: string,
    sdl: string,
    secrets: readonly SecretEnvelope[] | null,
  ): Promise<DeploymentView | Refusal> {
    this.secrets.push(secrets)
    return this.#with(account, id, (kept) => {
      const screening = this.#screening(sdl)
      if (isRefusal(screening)) return screening
      kept.view = { ...kept.view, sdl }
      return kept.view
    })
  }

  async close(account: string, id: string): Promise<DeploymentView | Refusal> {
    return this.#with(account, id, (kept) => {
      kept.view = { ...kept.view, closedAt: this.#now(), closeReason: 'the tenant closed it' }
      this.set(kept.view.id, { state: 'closed' })
      this.happen(kept.view.id, 'deployment.closed', 'the tenant closed it')
      return kept.view
    })
  }

  async events(account: string, id: string, after: number) {
    return this.#with(account, id, ({ events }) =>
      events.filter(({ seq }) => seq > after).slice(0, PAGE),
    )
  }

  watch(deployment: string, changed: () => void): () => void {
    const watchers = this.#watchers.get(deployment) ?? new Set()
    this.#watchers.set(deployment, watchers.add(changed))
    return () => void watchers.delete(changed)
  }

  async openTunnel(account: string, id: string, wish: TunnelWish, signal: AbortSignal) {
    const found = await this.deployment(account, id)
    if (isRefusal(found)) return found
    this.wishes.push(wish)
    return await this.tunnel(wish, signal)
  }

  async snapshots(account: string, id: string): Promise<SnapshotList | Refusal> {
    return this.#with(account, id, ({ snapshots, view }) => {
      const lease = view.leases[0]?.id ?? ''
      const volumes = view.closedAt === null ? this.volumes.map((one) => ({ lease, ...one })) : []
      snapshots.forEach((one, i) => (snapshots[i] = this.#later(one)))
      const usedBytes = snapshots.reduce((sum, { bytes }) => sum + bytes, 0)
      return { volumes, snapshots: snapshots.toReversed(), usedBytes, limitBytes: this.limitBytes }
    })
  }

  async takeSnapshots(account: string, id: string, { service, volume }: VolumeWish) {
    return this.#with(account, id, (kept) => {
      if (kept.view.closedAt !== null) return refuse('conflict', 'The deployment is closed.')
      const meant = this.volumes.filter(
        (one) => one.volume === (volume ?? one.volume) && one.service === (service ?? one.service),
      )
      if (meant.length === 0)
        return refuse('not_found', 'No persistent volume is called so. There are: web data.')
      this.taking = true
      for (const one of meant)
        kept.snapshots.push({
          ...NEW_SNAPSHOT,
          ...one,
          id: `snap_${kept.snapshots.length + 1}`,
          account,
          deployment: kept.view.id,
          lease: kept.view.leases[0]?.id ?? '',
          begunAt: this.#now(),
        })
      return kept.snapshots.slice(-meant.length)
    })
  }

  async openSnapshot(account: string, id: string, which: string) {
    return this.#with(account, id, ({ snapshots }) => {
      const snapshot = snapshots.find((one) => one.id === which)
      if (!snapshot) return refuse('not_found', `The deployment has no snapshot '${which}'.`)
      if (snapshot.state !== 'ready') return refuse('conflict', `${which} is not ready.`)
      return { snapshot, body: Readable.from(this.#pieces(), { objectMode: false }) }
    })
  }

  async removeSnapshot(account: string, id: string, which: string) {
    return this.#with(account, id, ({ snapshots }) => {
      const at = snapshots.findIndex((one) => one.id === which)
      const why = `The deployment has no snapshot '${which}'.`
      return snapshots.splice(at, at < 0 ? 0 : 1)[0] ?? refuse('not_found', why)
    })
  }

  async *#pieces(): AsyncGenerator<Buffer> {
    const { volume, breakAfter, hangAfter } = this
    yield volume.subarray(0, hangAfter ? volume.length / 2 : (breakAfter ?? volume.length))
    if (hangAfter) await new Promise(() => {})
    if (breakAfter !== null) throw new Error('it broke off')
  }

  #later(one: SnapshotRecord): SnapshotRecord {
    if (one.state !== 'taking') return one
    if ((this.readsToReady -= 1) > 0) return { ...one, bytes: Math.floor(this.volume.length / 2) }
    if (this.takingFails !== null)
      return { ...one, state: 'failed' as const, problem: this.takingFails }
    const sha256 = createHash('sha256').update(this.volume).digest('hex')
    return { ...one, state: 'ready', bytes: this.volume.length, sha256 }
  }

  /** Watchers of all deployments: none is left once nobody follows. */
  get watching(): number {
    return [...this.#watchers.values()].reduce((sum, set) => sum + set.size, 0)
  }

  /** Something happens to a deployment, and its watchers hear of it. */
  happen(id: string, type: string, message: string, service: string | null = null): void {
    const kept = this.#kept.get(id)
    if (!kept) throw new Error(`the fake has no ${id}`)
    const lease = type.startsWith('deployment.') ? null : (kept.view.leases[0]?.id ?? null)
    const seq = kept.events.length + 1
    kept.events.push({ seq, at: this.#now(), type, lease, service, message })
    for (const changed of this.#watchers.get(id) ?? []) changed()
  }

  /** Changes the only lease of a deployment. */
  set(id: string, change: Partial<LeaseView>): void {
    const kept = this.#kept.get(id)
    if (!kept) throw new Error(`the fake has no ${id}`)
    kept.view = { ...kept.view, leases: kept.view.leases.map((one) => ({ ...one, ...change })) }
  }

  #present<T>(then: () => T): T {
    if (this.away) throw this.away
    return then()
  }

  #with<T>(account: string, id: string, then: (kept: Kept) => T): T | Refusal {
    return this.#present(() => {
      const kept = [...this.#kept.values()].find(
        (one) =>
          one.account === account &&
          (one.view.id === id || (one.view.name === id && one.view.closedAt === null)),
      )
      const why = `Your account has no deployment '${id}'. GET /v1/deployments lists them.`
      return kept ? then(kept) : refuse('not_found', why)
    })
  }

  /** Whatever says `services` is an SDL to it. */
  #screening(sdl: string): Screening | Refusal {
    if (!sdl.includes('services'))
      return refuse('invalid_sdl', "app.yaml:1:1: 'services' is missing; it lists what runs.")
    const group = {
      group: 'dcloud',
      bids: FAKE_NODES.map((node, i) => bidOf(node, BigInt(i + 4))),
      reasons: ['4 of 9 nodes: GPU memory 24 GiB < 80 GiB', '3 of 9 nodes: region'],
      relaxations: ['drop region: 7 bids, −18 %'],
      maxRate: rateOf(100_000_000n, 'hour'),
    }
    return { groups: [group], warnings: ['app.yaml:3:1: depends_on is ignored'] }
  }
}

const newSealer = () => ({ identity: ephemeralIdentity('node'), key: ephemeralSealingKey() })
const NEW_SNAPSHOT = {
  place: 'here',
  object: 'there',
  state: 'taking' as const,
  bytes: 0,
  sha256: null,
  problem: null,
  expiresAt: null,
}

const bidOf = (node: string, cents: bigint): BidView => ({
  node,
  providerName: 'Ada',
  region: 'eu-de',
  tier: 'community',
  rate: rateOf(cents * 10_000_000n, 'hour'),
  gpu: null,
  cached: true,
  by: 'sheet',
  noticeS: 3600,
})

const leaseOf = (deployment: string, state: LeaseState): LeaseView => ({
  id: `lease_of_${deployment}`,
  group: 'dcloud',
  state,
  message: '',
  epoch: 1,
  node: state === 'ordered' ? null : (FAKE_NODES[0] ?? null),
  rate: rateOf(40_000_000n, 'hour'),
  startedAt: null,
  billedUntil: null,
  spentNanoUsd: 1234n,
  secrets: [],
  services: [
    {
      name: 'web',
      image: 'nginx:1.27',
      count: 1,
      expose: [expose],
      urls: ['http://web.fake.localhost:8420'],
      replicas: [
        {
          service: 'web',
          replica: 0,
          state: 'running',
          healthy: true,
          exitCode: null,
          restarts: 0,
        },
      ],
    },
  ],
})

const expose: Expose = {
  port: 8080,
  externalPort: 80,
  proto: 'tcp',
  service: null,
  global: true,
  hosts: [],
  ip: null,
  http: HTTP_DEFAULTS,
}
