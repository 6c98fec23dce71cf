/**
 * The market as the lease book uses it: the linked nodes that lease, the best place for a group by the tenant's rule,
 * and why others cannot have it. Nodes' words decide; this only knows whom to ask first.
 */
import type { UnitPrice } from '../../../core/protocol/bid.ts'
import type { Group } from '../../../core/protocol/group.ts'
import type { AttoUsdPerSecond } from '../../../core/base/rate.ts'
import { gpuName } from '../../../core/protocol/capacity.ts'
import {
  BIDS_TO_FALL_BACK_ON,
  type Ask,
  type StandingBid,
  type AuctionRule,
} from '../../../core/market/auction.ts'
import { MAX_SEALED_NODES, type SignedSealingKey } from '../../../core/protocol/secrets.ts'
import { Market, type Placing } from '../../../core/market/market.ts'
import { survival } from '../../../core/market/survival.ts'
import type { Audits } from '../../../core/market/attributes.ts'
import type { Millis } from '../../../core/base/time.ts'
import type { NodeLink } from '../../../io/link/node-link.ts'
import type { NodeRecord } from '../../../io/store/store.ts'
import { canOpen, type Openers } from './lease-secrets.ts'
import type { BidView, GroupScreening } from './lease-service.ts'

/** Whom to ask, on which terms, and what to reserve when it says yes. */
export type Candidate = {
  readonly bid: BidView
  readonly units: readonly UnitPrice[]
  readonly placing: Placing
}

export type Wish = {
  readonly group: Group
  readonly images: readonly string[]
  readonly rule: AuctionRule
  /** Nodes not to be asked. */
  readonly avoid: ReadonlySet<string>
  /** Others cannot read its secrets. */
  readonly openers: Openers
}

/** A linked node's word on its sealing key, for tenants to check. */
export type NodeSealingKey = SignedSealingKey & { readonly node: string; readonly nodeKey: string }

export class LeaseMarket {
  readonly #market = new Market()
  readonly #links = new Map<string, NodeLink>()
  readonly #linkedAt = new Map<string, Millis>()
  readonly #tierOf: (node: string) => NodeRecord['tier']
  readonly #now: () => Millis

  constructor(parts: {
    readonly tierOf: (node: string) => NodeRecord['tier']
    readonly now: () => Millis
  }) {
    this.#tierOf = parts.tierOf
    this.#now = parts.now
  }

  /** Nodes that lease. */
  get size(): number {
    return this.#market.size
  }

  /** A node is linked, or has another offer. */
  set(link: NodeLink): void {
    const { node, offer } = link
    this.#links.set(node, link)
    if (!offer.leases || link.draining) {
      this.#market.removeNode(node)
      return
    }
    const { capacity, prices } = offer.leases
    if (!this.#linkedAt.has(node)) this.#linkedAt.set(node, link.linkedAt)
    this.#market.setNode({
      node,
      provider: offer.providerName ?? node,
      capacity: { ...capacity, tier: this.#tierOf(node), region: offer.region },
      sheet: prices,
      audits: NO_AUDITS,
      survival: survival(this.#now() - link.linkedAt),
    })
  }

  remove(node: string): void {
    this.#links.delete(node)
    this.#linkedAt.delete(node)
    this.#market.removeNode(node)
  }

  /** The first to be asked; null when nobody can. */
  best(wish: Wish): Candidate | null {
    const ask = this.#askOf(wish)
    for (const bid of this.#market.bids(ask, BIDS_TO_FALL_BACK_ON)) {
      const placing = this.#market.place(ask, bid)
      if (placing) return this.#candidate(wish.group, bid, placing)
    }
    return null
  }

  /** At this very node: for an amended bid. Null when it has no room or sells no such thing. */
  at(node: string, wish: Wish): Candidate | null {
    if (!this.#canOpen(node, wish.openers)) return null
    const ask = { ...this.#askOf(wish), rule: 'manual' as const }
    const bid = this.#market.bidAt(ask, node)
    const placing = bid && this.#market.place(ask, bid)
    return bid && placing ? this.#candidate(wish.group, bid, placing) : null
  }

  screen(wish: Wish): GroupScreening {
    const { nodes, reasons, relaxations } = this.#market.screen(wish.group)
    const locked = [...this.#leasing()].filter((node) => !this.#canOpen(node, wish.openers)).length
    const noKey = { nodes: locked, text: `${locked} of ${nodes} nodes: no key for your secrets` }
    const all = locked > 0 ? [...reasons, noKey] : reasons
    return {
      group: wish.group.name,
      bids: this.#market.bids(this.#askOf(wish)).map((bid) => this.#view(bid, bid.node)),
      reasons:
        this.#market.size > 0
          ? all.toSorted((a, b) => b.nodes - a.nodes).map(({ text }) => text)
          : [NOBODY_LEASES],
      relaxations: relaxations.map(({ text }) => text),
      maxRate: maxRateOf(wish.group),
    }
  }

  /** Of nodes that could run it when idle, cheapest first; `also`: whatever else is sure of its key, before all. */
  sealingKeys(group: Group, also: string | null): NodeSealingKey[] {
    const able = this.#market.able(group).filter((node) => node !== also)
    const keys = [...(also === null ? [] : [also]), ...able].flatMap((node) => {
      const link = this.#links.get(node)
      const sealing = link?.offer.leases?.sealing
      return link && sealing ? [{ node, nodeKey: link.nodeKey, ...sealing }] : []
    })
    return keys.slice(0, MAX_SEALED_NODES)
  }

  /** Linked nodes that could open its secrets, whatever else keeps them from running it. */
  openersThere(openers: Openers): number {
    return [...this.#leasing()].filter((node) => this.#canOpen(node, openers)).length
  }

  reserve(lease: string, placing: Placing): void {
    this.#market.release(lease)
    this.#market.reserve(lease, placing)
  }

  release(lease: string): void {
    this.#market.release(lease)
  }

  observe(group: Group): void {
    this.#market.observe(group)
  }

  *#leasing(): Generator<string> {
    for (const [node, { offer, draining }] of this.#links) if (offer.leases && !draining) yield node
  }

  #canOpen(node: string, openers: Openers): boolean {
    return canOpen(node, this.#links.get(node)?.offer, openers)
  }

  #askOf({ group, rule, images, avoid, openers }: Wish): Ask {
    const exclude = {
      has: (node: string) => avoid.has(node) || !this.#canOpen(node, openers),
    }
    return { group, rule, images, exclude: openers === null ? avoid : exclude }
  }

  #candidate(group: Group, bid: StandingBid, placing: Placing): Candidate {
    const units = group.units.map((unit, i) => ({
      unit: unit.id,
      gpu: bid.way.gpus[i] ?? null,
      rate: String(bid.unitRates[i] ?? 0n),
    }))
    return { bid: this.#view(bid, placing.node), units, placing }
  }

  #view(bid: StandingBid, node: string): BidView {
    const offer = this.#links.get(node)?.offer
    const gpu = bid.way.gpus.find((one) => one !== null)
    return {
      node,
      providerName: offer?.providerName ?? null,
      region: offer?.region ?? null,
      tier: this.#tierOf(node),
      rate: bid.total,
      gpu: gpu ? gpuName(gpu) : null,
      cached: bid.cached,
      noticeS: offer?.leases?.capacity.noticeS ?? 0,
    }
  }
}

/** Auditors come with the trust that they sign for. */
const NO_AUDITS: Audits = {}

const NOBODY_LEASES = 'no node that leases is linked'

/** The most that the group may cost by its own ceilings. */
function maxRateOf(group: Group): AttoUsdPerSecond {
  let rate = 0n
  for (const unit of group.units) rate += BigInt(unit.maxRate) * BigInt(unit.count)
  return rate
}
