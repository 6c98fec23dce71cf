/** What tenants ask of their deployments, answered from the lease book and the store. */
import type { Duplex } from 'node:stream'
import { Fault, isRefusal, refuse, type Refusal } from '../../../core/base/refusal.ts'
import type { DeploymentCommand } from '../../../io/store/deployment-commands.ts'
import type { LeaseRecord, StoredDeployment } from '../../../io/store/deployment-records.ts'
import type { DeploymentCommands } from './commands.ts'
import { deployOnce } from './deploy-once.ts'
import { planOf, screenPlan, wishOf, type NameCheck } from './deploying.ts'
import type { BookParts, LeaseBook } from './lease-book.ts'
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
  const { store, market, gateway, linkOf, book, commands } = parts

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

  return {
    ...serveSnapshots({ find, linkOf, volumes: parts.volumes }),

    async screen(tenant, sdl, sealed) {
      const plan = planOf(sdl)
      if (isRefusal(plan)) return plan
      return await screenPlan(market, plan, { rule: 'cheapest', tenant, sealed })
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

    deploy: deployOnce(parts, { view, viewOf }),

    async deployments(account, page) {
      return (await store.deploymentsOf(account, page)).map(viewOf)
    },

    deployment: view,

    async bids(account, id) {
      const stored = await find(account, id)
      if (isRefusal(stored)) return stored
      const { rule } = stored.deployment
      const orders = stored.leases.map(({ doc }) => doc)
      const how = { rule, tenant: account, sealed: false }
      return await screenPlan(market, { orders, warnings: [] }, how)
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
