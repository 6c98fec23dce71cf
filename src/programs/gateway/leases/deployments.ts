/** What tenants ask of their deployments, answered from the lease book and the store. */
import { randomBytes } from 'node:crypto'
import type { Duplex } from 'node:stream'
import { canonicalJson } from '../../../core/base/canonical-json.ts'
import { Fault, isRefusal, refuse, type Refusal } from '../../../core/base/refusal.ts'
import { sha256Hex } from '../../../io/keys/identity.ts'
import type { LeaseRecord, StoredDeployment } from '../../../io/store/deployment-records.ts'
import { matchGroups, newDeployment, planOf, screenPlan } from './deploying.ts'
import { CLAIM_MS, HOLD_MS, type BookParts, type LeaseBook } from './lease-book.ts'
import { holdTargetOf } from './lease-dues.ts'
import type { DeploymentView, DeployWish, LeaseService, TunnelWish } from './lease-service.ts'
import { deploymentView, type PublicPlace } from './lease-views.ts'

const MAX_EVENTS = 1000

type ServiceParts = Pick<BookParts, 'store' | 'market' | 'gateway' | 'now' | 'linkOf'> & {
  readonly book: LeaseBook
  readonly place: () => PublicPlace
}

export function serveDeployments(parts: ServiceParts): LeaseService {
  const { store, market, gateway, now, linkOf, book } = parts

  async function find(account: string, id: string): Promise<StoredDeployment | Refusal> {
    const stored = await store.findDeployment(account, id)
    if (stored) return { ...stored, leases: stored.leases.map((lease) => book.fresh(lease)) }
    const why = `There is no deployment '${id}'. 'baseload deployments' lists yours.`
    return refuse('not_found', why)
  }

  const viewOf = ({ deployment, leases }: StoredDeployment): DeploymentView =>
    deploymentView(
      deployment,
      leases.map((lease) => book.fresh(lease)),
      parts.place(),
    )

  async function view(account: string, id: string): Promise<DeploymentView | Refusal> {
    const stored = await find(account, id)
    return isRefusal(stored) ? stored : viewOf(stored)
  }

  /** An hour of each lease is set aside before anything is ordered; all or nothing. */
  async function setAside({ leases }: StoredDeployment): Promise<Refusal | null> {
    for (const [i, { hold, account, doc }] of leases.entries()) {
      const nanoUsd = holdTargetOf(BigInt(doc.rate))
      if (hold === null || nanoUsd === 0n) continue
      const expiresAt = now() + HOLD_MS
      const refusal = await store.openHold({
        id: hold,
        account,
        nanoUsd,
        gateway: 'leases',
        expiresAt,
      })
      if (!refusal) continue
      for (const { hold: before } of leases.slice(0, i))
        if (before !== null) await store.closeHold(before)
      return refusal
    }
    return null
  }

  /** What the same key made already; null: nothing, or there is no key. */
  async function madeBefore(
    account: string,
    wish: DeployWish,
  ): Promise<DeploymentView | Refusal | null> {
    const { idempotencyKey: key = null } = wish
    const made = key === null ? null : await store.deploymentOfKey(account, key, now())
    if (made === null) return null
    if (made.contentHash === contentHashOf(wish)) return await view(account, made.deployment)
    const why = `The idempotency key '${key}' made '${made.deployment}' with other contents. Take a new key for a new deployment.`
    return refuse('idempotency_conflict', why, { details: { deployment: made.deployment } })
  }

  async function make(
    account: string,
    apiKey: string,
    deploying: DeployWish,
  ): Promise<DeploymentView | Refusal> {
    const { sdl, name, rule, idempotencyKey = null } = deploying
    const plan = planOf(sdl)
    if (isRefusal(plan)) return plan
    const screening = await screenPlan(market, plan, { rule, tenant: account })
    const wish = { account, apiKey, sdl, name, rule, plan, screening }
    const stored = newDeployment({ ...wish, now: now(), random: randomBytes })
    if (isRefusal(stored)) return stored
    if (name !== null && (await store.findDeployment(account, name)))
      return refuse(
        'conflict',
        `There is an open deployment '${name}'. Close it, update it, or take another name.`,
        { param: 'name' },
      )
    const refusal = await setAside(stored)
    if (refusal) return refusal
    const at = now()
    const orders = stored.leases.length === 1 ? 'one order' : `${stored.leases.length} orders`
    const message = `${orders}, ${screening.groups.reduce((sum, { bids }) => sum + bids.length, 0)} bids stand`
    const event = { at, type: 'deployment.ordered', lease: null, service: null, message }
    const once = idempotencyKey && { key: idempotencyKey, contentHash: contentHashOf(deploying) }
    if (!(await store.createDeployment(stored, gateway, at + CLAIM_MS, [event], once || null))) {
      for (const { hold } of stored.leases) if (hold !== null) await store.closeHold(hold)
      return refuse('conflict', 'Another request with the same idempotency key was first.')
    }
    book.adopt(stored)
    return viewOf(stored)
  }

  return {
    async screen(tenant, sdl) {
      const plan = planOf(sdl)
      return isRefusal(plan) ? plan : await screenPlan(market, plan, { rule: 'cheapest', tenant })
    },

    async deploy(account, apiKey, wish) {
      const made = await madeBefore(account, wish)
      if (made) return made
      const answer = await make(account, apiKey, wish)
      // Somebody sent the same at the same time, perhaps to another gateway, and was first.
      return isRefusal(answer) ? ((await madeBefore(account, wish)) ?? answer) : answer
    },

    async deployments(account, page) {
      return (await store.deploymentsOf(account, page)).map(viewOf)
    },

    deployment: view,

    async bids(account, id) {
      const stored = await find(account, id)
      if (isRefusal(stored)) return stored
      const { rule } = stored.deployment
      const orders = stored.leases.map(({ doc: { group, manifest } }) => ({ group, manifest }))
      return await screenPlan(market, { orders, warnings: [] }, { rule, tenant: account })
    },

    async accept(account, id, lease, node) {
      const stored = await find(account, id)
      if (isRefusal(stored)) return stored
      const wanted = stored.leases.some((one) => one.id === lease) && book.active.get(lease)
      if (!wanted)
        return refuse('not_found', `The deployment has no open lease '${lease}' at this gateway.`)
      return (await wanted.accept(node)) ?? (await view(account, id))
    },

    async update(account, id, sdl) {
      const stored = await find(account, id)
      if (isRefusal(stored)) return stored
      const plan = planOf(sdl)
      if (isRefusal(plan)) return plan
      const changes = matchGroups(stored, plan)
      if (isRefusal(changes)) return changes
      if (changes.some(({ lease }) => !book.active.has(lease))) return elsewhere()
      for (const { lease, group, manifest } of changes) {
        const taken = await book.active.get(lease)?.update({ group, manifest })
        if (!taken)
          return refuse(
            'no_matching_node',
            `No node takes the new terms of '${group.name}'; it runs on as it was. 'baseload screen' says why.`,
          )
      }
      await store.changeDeployment(stored.deployment.id, { sdl }, [])
      return await view(account, stored.deployment.id)
    },

    async close(account, id) {
      const stored = await find(account, id)
      if (isRefusal(stored)) return stored
      const open = stored.leases.filter(({ state }) => state !== 'closed')
      if (open.some(({ id: lease }) => !book.active.has(lease))) return elsewhere()
      await Promise.all(
        open.flatMap(
          ({ id: lease }) => book.active.get(lease)?.close('closed by the tenant') ?? [],
        ),
      )
      return await view(account, stored.deployment.id)
    },

    async events(account, id, after) {
      const stored = await find(account, id)
      if (isRefusal(stored)) return stored
      return await store.deploymentEvents(stored.deployment.id, after, MAX_EVENTS)
    },

    watch: (deployment, changed) => book.watch(deployment, changed),

    async openTunnel(account, id, wish, signal) {
      const stored = await find(account, id)
      if (isRefusal(stored)) return stored
      const lease = leaseFor(stored.leases, wish)
      if (isRefusal(lease)) return lease
      const { node, doc } = lease
      const link = node === null ? undefined : linkOf(node)
      if (!link || doc.ownerEpoch === null)
        return refuse('lease_unreachable', `The lease is ${lease.state}: ${doc.message}.`, {
          retryAfterS: 2,
        })
      const purpose = { ...wish, lease: lease.id, epoch: doc.ownerEpoch }
      return await opened(link.openTunnel(purpose, { signal }))
    },
  }
}

/** Equal for equal wishes. */
const contentHashOf = ({ sdl, name, rule }: DeployWish): string =>
  sha256Hex(canonicalJson({ sdl, name, rule }))

/** Of several gateways over one store each deployment has one that decides. */
const elsewhere = (): Refusal =>
  refuse(
    'conflict',
    'Another gateway looks after this deployment, or did until a moment ago. Ask that one, or this one again in 15 s.',
    { retryAfterS: 15 },
  )

/** The lease that is named, or the only one that has the service. */
function leaseFor(leases: readonly LeaseRecord[], wish: TunnelWish): LeaseRecord | Refusal {
  const open = leases.filter(
    ({ id, state, doc }) =>
      state !== 'closed' &&
      (wish.lease ? wish.lease === id : true) &&
      doc.manifest.services.some(({ name }) => name === wish.service),
  )
  const [first, second] = open
  if (!first)
    return refuse('not_found', `No open lease has a service '${wish.service}'.`, {
      param: 'service',
    })
  return second
    ? refuse(
        'invalid_value',
        `Several leases have a service '${wish.service}': name one of them.`,
        {
          param: 'lease',
        },
      )
    : first
}

/** What the node refuses is the tenant's to mend; what broke is not. */
async function opened(tunnel: Promise<Duplex>): Promise<Duplex | Refusal> {
  try {
    return await tunnel
  } catch (error) {
    if (!(error instanceof Fault)) throw error
    const code = error.retryable ? 'tunnel_failed' : 'tunnel_refused'
    return refuse(code, error.message, { details: { code: error.code } })
  }
}
