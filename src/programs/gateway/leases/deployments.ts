/** What tenants ask of their deployments, answered from the lease book and the store. */
import { randomBytes } from 'node:crypto'
import type { Duplex } from 'node:stream'
import { idFrom } from '../../../core/base/id.ts'
import { Fault, isRefusal, refuse, type Refusal } from '../../../core/base/refusal.ts'
import { sealedDeploymentId } from '../../../io/keys/secret-envelope.ts'
import type { DeploymentCommand } from '../../../io/store/deployment-commands.ts'
import type { LeaseRecord, StoredDeployment } from '../../../io/store/deployment-records.ts'
import type { DeploymentCommands } from './commands.ts'
import {
  checkNames,
  newDeployment,
  planOf,
  screenPlan,
  wishOf,
  type NameCheck,
} from './deploying.ts'
import { CLAIM_MS, HOLD_MS, type BookParts, type LeaseBook } from './lease-book.ts'
import { holdTargetOf } from './lease-dues.ts'
import { withEnvelopes } from './lease-secrets.ts'
import type { DeploymentView, LeaseService, TunnelWish } from './lease-service.ts'
import { deploymentView, type PublicPlace } from './lease-views.ts'
import { serveSnapshots } from './tenant-snapshots.ts'

const MAX_EVENTS = 1000

type ServiceParts = Pick<
  BookParts,
  'store' | 'market' | 'gateway' | 'now' | 'linkOf' | 'volumes'
> & {
  readonly book: LeaseBook
  readonly commands: DeploymentCommands
  readonly place: () => PublicPlace
  readonly whyNotNamed: NameCheck
}

export function serveDeployments(parts: ServiceParts): LeaseService {
  const { store, market, gateway, now, linkOf, book, commands } = parts

  async function find(account: string, id: string): Promise<StoredDeployment | Refusal> {
    const stored = await store.findDeployment(account, id)
    if (stored) return { ...stored, leases: stored.leases.map((lease) => book.fresh(lease)) }
    const why = `There is no deployment '${id}'. 'baseload deployments' lists yours, with --closed also those that are over: these are known by their ids.`
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

  async function change(
    account: string,
    id: string,
    command: DeploymentCommand,
  ): Promise<DeploymentView | Refusal> {
    const stored = await find(account, id)
    if (isRefusal(stored)) return stored
    const refusal = await commands.carryOut(stored, command)
    return refusal ?? (await view(account, stored.deployment.id))
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

  return {
    ...serveSnapshots({ find, linkOf, volumes: parts.volumes }),

    async screen(_account, sdl, sealed) {
      const plan = planOf(sdl)
      return isRefusal(plan) ? plan : screenPlan(market, plan, { rule: 'cheapest', sealed })
    },

    async sealingKeys(account, sdl, id) {
      const plan = planOf(sdl)
      if (isRefusal(plan)) return plan
      const stored = id === null ? null : await find(account, id)
      if (stored !== null && isRefusal(stored)) return stored
      const groups = plan.orders.map(({ group, manifest }) => {
        const placed = stored?.leases.find(({ doc }) => doc.group.name === group.name)
        const openers = 'any with a key'
        const { reasons } = market.screen({
          ...wishOf({ group, manifest, secrets: null }, 'cheapest'),
          openers,
        })
        return {
          group: group.name,
          nodes: market.sealingKeys(group, placed?.node ?? null),
          reasons,
        }
      })
      return { tenant: account, deployment: stored?.deployment.id ?? null, groups }
    },

    async deploy(account, apiKey, { sdl, name, rule, secrets }) {
      const read = planOf(sdl)
      if (isRefusal(read)) return read
      const orders = withEnvelopes(read.orders, secrets?.groups ?? null)
      if (isRefusal(orders)) return orders
      const plan = { ...read, orders }
      const named = checkNames(plan, [], parts.whyNotNamed)
      if (named) return named
      const screening = screenPlan(market, plan, { rule, sealed: false })
      const id = secrets
        ? sealedDeploymentId(account, secrets.nonce)
        : idFrom('dep', randomBytes(15))
      const wish = { id, account, apiKey, sdl, name, rule, plan, screening }
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
      const ordered = stored.leases.length === 1 ? 'one order' : `${stored.leases.length} orders`
      const message = `${ordered}, ${screening.groups.reduce((sum, { bids }) => sum + bids.length, 0)} bids stand`
      const event = { at, type: 'deployment.ordered', lease: null, service: null, message }
      if (!(await store.createDeployment(stored, gateway, at + CLAIM_MS, [event]))) {
        for (const { hold } of stored.leases) if (hold !== null) await store.closeHold(hold)
        return refuse(
          'conflict',
          `The deployment '${id}' exists. Seal its secrets with a new nonce.`,
          {
            param: 'secrets',
          },
        )
      }
      book.adopt(stored)
      return viewOf(stored)
    },

    async deployments(account, page) {
      return (await store.deploymentsOf(account, page)).map(viewOf)
    },

    deployment: view,

    async bids(account, id) {
      const stored = await find(account, id)
      if (isRefusal(stored)) return stored
      const { rule } = stored.deployment
      const groups = stored.leases.map(({ doc }) => market.screen(wishOf(doc, rule)))
      return { groups, warnings: [] }
    },

    accept: (account, id, lease, node) => change(account, id, { kind: 'accept', lease, node }),

    update: (account, id, sdl, secrets) =>
      change(account, id, { kind: 'update', sdl, secrets: secrets && [...secrets] }),

    close: (account, id) => change(account, id, { kind: 'close' }),

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
        return refuse('lease_unreachable', whyNoLink(lease, gateway), { retryAfterS: 2 })
      const purpose = { ...wish, lease: lease.id, epoch: doc.ownerEpoch }
      return await opened(link.openTunnel(purpose, { signal }))
    },
  }
}

/** A lease that runs may have its node at other gateways only: this one has no way to it. */
const whyNoLink = ({ state, node, doc }: LeaseRecord, gateway: string): string =>
  node !== null && (state === 'running' || state === 'degraded')
    ? `The lease is ${state}, but its node ${node} is not linked to this gateway (${gateway}) just now. ` +
      'Ask another gateway, or again; its provider can link it to all: baseload join <url> <url>.'
    : `The lease is ${state}: ${doc.message}.`

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
