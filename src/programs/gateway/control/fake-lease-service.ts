/** For tests: a fake lease service. No market and no node: it keeps what it is told, and a test plays the rest. */
import { HTTP_DEFAULTS } from '../../../core/sdl/http-options.ts'
import type { LeaseState } from '../../../core/protocol/lease-control.ts'
import type { Duplex } from 'node:stream'
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

type Mutable<T> = { -readonly [K in keyof T]: T[K] }
type Kept = {
  readonly account: string
  view: Mutable<DeploymentView>
  readonly events: DeploymentEvent[]
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
        leases: [leaseOf(id, wish.rule === 'manual' ? 'bid' : 'accepted')],
        spentNanoUsd: 0n,
      }
      this.#kept.set(id, { account, view, events: [] })
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
      if (!kept.view.leases.some((one) => one.id === lease && one.state === 'bid'))
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
  node: state === 'bid' ? null : (FAKE_NODES[0] ?? null),
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
