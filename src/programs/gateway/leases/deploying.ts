/** From an SDL file to orders: read, matched to what runs, and written down with the money that is set aside. */
import type { AuctionRule } from '../../../core/market/auction.ts'
import { idFrom } from '../../../core/base/id.ts'
import { refuse, type Refusal } from '../../../core/base/refusal.ts'
import type { Millis } from '../../../core/base/time.ts'
import { NEW_PURSE } from '../../../core/market/deployment-life.ts'
import type { Remark } from '../../../core/sdl/report.ts'
import { readSdl } from '../../../core/sdl/sdl.ts'
import type { StoredDeployment } from '../../../io/store/deployment-records.ts'
import { SCREENED_BID_MS } from './bid-desk.ts'
import { NOBODY, type Plan } from './lease-file.ts'
import type { LeaseMarket, Wish } from './lease-market.ts'
import { openersOf, refuseInClear } from './lease-secrets.ts'
import type { Screening } from './lease-service.ts'
import { isIngress } from './lease-views.ts'

export type Planned = {
  readonly orders: readonly Plan[]
  readonly warnings: readonly string[]
}

const MAX_TOLD = 5

/** What the file asks for, or what is wrong with it. */
export function planOf(sdl: string): Planned | Refusal {
  const read = readSdl(sdl, 'sdl')
  if ('problems' in read) {
    const told = read.problems.slice(0, MAX_TOLD).map(remarkText)
    const more = read.problems.length - told.length
    if (more > 0) told.push(`and ${more} more`)
    return refuse('invalid_sdl', `${told.join('; ')}. 'baseload sdl check' tells more.`, {
      param: 'sdl',
    })
  }
  const { groups, manifests } = read.sdl
  const inClear = refuseInClear(manifests)
  if (inClear) return inClear
  const orders = groups.flatMap((group, i) => {
    const manifest = manifests[i]
    return manifest ? [{ group, manifest, secrets: null }] : []
  })
  return { orders, warnings: read.warnings.map(remarkText) }
}

function remarkText({ line, column, path, message, found, allowed }: Remark): string {
  const at = `${line}:${column}${path === '' ? '' : ` ${path}`}`
  const was = found === null ? '' : `, found ${found}`
  return `${at}: ${message}${was}${allowed === null ? '' : `; allowed: ${allowed}`}`
}

export const wishOf = (plan: Plan, rule: AuctionRule): Wish => ({
  group: plan.group,
  images: plan.manifest.services.map(({ image }) => image),
  rule,
  avoid: NOBODY,
  openers: openersOf(plan),
})

/** Why a name of choice is not for these leases; null: nothing is in the way. */
export type NameCheck = (host: string, leases: readonly string[]) => 'own' | 'taken' | null

/** A name leads to one lease: whoever has it keeps it, and who comes second hears so before anything is ordered. */
export function checkNames(
  { orders }: Planned,
  leases: readonly string[],
  whyNot: NameCheck,
): Refusal | null {
  const exposed = orders.flatMap(({ manifest }) =>
    manifest.services.flatMap(({ expose }) => expose),
  )
  for (const host of exposed.filter(isIngress).flatMap(({ hosts }) => hosts)) {
    const why = whyNot(host, leases)
    if (why === null) continue
    const said =
      why === 'own'
        ? `'${host}' is the gateway's own name.`
        : `'${host}' leads to another lease already.`
    const next = 'Take it out of `accept`, or close the deployment that has it.'
    return refuse('conflict', `${said} ${why === 'own' ? 'Take it out of `accept`.' : next}`, {
      param: 'sdl',
      details: { host },
    })
  }
  return null
}

export type ScreenFor = {
  readonly rule: AuctionRule
  readonly tenant: string
  /** It will come with secrets. */
  readonly sealed: boolean
}

/** Asks pricing programs, too: all groups at once. */
export async function screenPlan(
  market: LeaseMarket,
  { orders, warnings }: Planned,
  { rule, tenant, sealed }: ScreenFor,
): Promise<Screening> {
  const screened = orders.map(async (plan) => {
    const wish = wishOf(plan, rule)
    const openers = wish.openers ?? (sealed ? 'any with a key' : null)
    const answers = await market.gather({ ...wish, openers }, { tenant, maxAgeMs: SCREENED_BID_MS })
    return market.screen({ ...wish, openers }, answers)
  })
  return { groups: await Promise.all(screened), warnings }
}

/** The deployment as it is written down: an order for each group, at the best bid's price until a node accepts. */
export function newDeployment(input: {
  readonly id: string
  readonly account: string
  readonly apiKey: string
  readonly sdl: string
  readonly name: string | null
  readonly rule: AuctionRule
  readonly plan: Planned
  readonly screening: Screening
  readonly now: Millis
  readonly random: (bytes: number) => Uint8Array
}): StoredDeployment | Refusal {
  const { id, account, apiKey, sdl, rule, plan, screening, now, random } = input
  const none = screening.groups.find(({ bids }) => bids.length === 0)
  if (none) {
    const why = none.reasons.join('; ')
    const help =
      none.relaxations.length > 0 ? ` What would help: ${none.relaxations.join('; ')}.` : ''
    return refuse('no_matching_node', `No node can run '${none.group}': ${why}.${help}`)
  }
  const deployment = { id, account, apiKey, rule, sdl, createdAt: now, closedAt: null }
  return {
    deployment: { ...deployment, name: input.name ?? nameOf(plan, id), closeReason: null },
    leases: plan.orders.map(({ group, manifest, secrets }, i) => ({
      id: idFrom('lease', random(15)),
      deployment: id,
      account,
      state: 'ordered' as const,
      epoch: 0,
      node: null,
      hold: idFrom('hold', random(15)),
      billedUntil: null,
      carry: 0n,
      spentNanoUsd: 0n,
      revision: 1,
      doc: {
        group,
        manifest,
        secrets,
        message: 'looking for a node',
        rate: String(screening.groups[i]?.bids[0]?.rate ?? 0n),
        terms: null,
        signature: null,
        ownerEpoch: null,
        startedAt: null,
        replicas: [],
        avoid: [],
        failedStarts: 0,
        drain: null,
        purse: NEW_PURSE,
      },
    })),
  }
}

/** `web-7g3k2q`: the first service, and enough of the id that two never meet. */
function nameOf({ orders }: Planned, id: string): string {
  const service = orders[0]?.manifest.services[0]?.name ?? 'deployment'
  return `${service}-${id.slice(-6)}`
}

/** An update keeps the placements: each group of the new file is a lease that runs. */
export function matchGroups(
  { leases }: StoredDeployment,
  { orders }: Planned,
): (Plan & { readonly lease: string })[] | Refusal {
  const matched = []
  for (const plan of orders) {
    const { name } = plan.group
    const lease = leases.find(({ doc }) => doc.group.name === name)
    if (!lease) return otherPlacements(`'${name}' is new`)
    matched.push({ ...plan, lease: lease.id })
  }
  const gone = leases.find(({ doc }) => !orders.some(({ group }) => group.name === doc.group.name))
  return gone ? otherPlacements(`'${gone.doc.group.name}' is missing`) : matched
}

const otherPlacements = (what: string): Refusal =>
  refuse(
    'invalid_value',
    `An update keeps the placements of the deployment: ${what}. Deploy another for other placements.`,
    { param: 'sdl' },
  )
