/**
 * The market as the lease book uses it: the linked nodes that lease, the best place for a group by the tenant's rule,
 * and why others cannot have it. Nodes' words decide; this only knows whom to ask first.
 */
import { randomBytes } from 'node:crypto'
import type { SignedBid, UnitPrice } from '../../../core/protocol/bid.ts'
import type { BidReport } from '../../../core/protocol/lease-control.ts'
import type { Group } from '../../../core/protocol/group.ts'
import type { AttoUsdPerSecond } from '../../../core/base/rate.ts'
import { gpuName, type Gpu } from '../../../core/protocol/capacity.ts'
import {
  BIDS_TO_FALL_BACK_ON,
  MAX_BIDS_PER_ORDER,
  type Ask,
  type StandingBid,
  type AuctionRule,
} from '../../../core/market/auction.ts'
import { weigh } from '../../../core/market/bids.ts'
import { MAX_SEALED_NODES, type SignedSealingKey } from '../../../core/protocol/secrets.ts'
import { Market, type Placing } from '../../../core/market/market.ts'
import { survival } from '../../../core/market/survival.ts'
import type { Audits } from '../../../core/market/attributes.ts'
import type { Millis } from '../../../core/base/time.ts'
import { imageMark } from '../../../core/protocol/image-mark.ts'
import { sha256Hex } from '../../../io/keys/identity.ts'
import type { NodeLink } from '../../../io/link/node-link.ts'
import type { NodeRecord } from '../../../io/store/store.ts'
import { BidDesk, NO_ANSWERS, noBidReasons, type ProgramAnswers } from './bid-desk.ts'
import { canOpen, type Openers } from './lease-secrets.ts'
import type { BidView, GroupScreening } from './lease-service.ts'

/** Whom to ask, on which terms, and what to reserve when it says yes. */
export type Candidate = {
  readonly bid: BidView
  readonly units: readonly UnitPrice[]
  /** What the node's program said; left out where its price sheet did. */
  readonly signed?: SignedBid
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
  /** Marks of what each holds. */
  readonly #images = new Map<string, readonly string[]>()
  readonly #linkedAt = new Map<string, Millis>()
  readonly #gateway: string
  readonly #tierOf: (node: string) => NodeRecord['tier']
  readonly #now: () => Millis
  readonly #desk: BidDesk

  constructor(parts: {
    readonly gateway: string
    readonly tierOf: (node: string) => NodeRecord['tier']
    readonly now: () => Millis
    /** How long an auction waits for pricing programs. */
    readonly bidWindowMs: Millis
  }) {
    this.#gateway = parts.gateway
    this.#tierOf = parts.tierOf
    this.#now = parts.now
    const { gateway, now, bidWindowMs: windowMs } = parts
    this.#desk = new BidDesk({ gateway, windowMs, now, random: randomBytes })
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
      capacity: {
        ...capacity,
        tier: this.#tierOf(node),
        region: offer.region,
        cachedImages: [...(this.#images.get(node) ?? [])],
      },
      sheet: prices,
      audits: NO_AUDITS,
      survival: survival(this.#now() - link.linkedAt),
    })
  }

  /** What its last heartbeat says is free. Old nodes say nothing: then what this gateway leased there is all it knows. */
  heard(link: NodeLink): void {
    const room = link.heartbeat?.room
    if (room && this.#links.get(link.node) === link) this.#market.setFree(link.node, room)
  }

  /** Which images it holds, where this heartbeat tells. */
  holds({ node, heartbeat }: NodeLink): void {
    const images = heartbeat?.images
    if (!images || images === this.#images.get(node)) return
    this.#images.set(node, images)
    this.#market.setImages(node, new Set(images))
  }

  remove(node: string): void {
    this.#links.delete(node)
    this.#images.delete(node)
    this.#linkedAt.delete(node)
    this.#market.removeNode(node)
  }

  /** What the pricing programs of those that could run it say; of one node, where it is named. */
  async gather(
    wish: Wish,
    { tenant, maxAgeMs, node }: { tenant: string; maxAgeMs: Millis; node?: string },
  ): Promise<ProgramAnswers> {
    const asked = node === undefined ? this.#market.toAsk(this.#askOf(wish)) : [node]
    const nodes = asked.flatMap((one) => {
      const link = this.#canOpen(one, wish.openers) ? this.#links.get(one) : undefined
      return link?.offer.leases?.prices === null ? [link] : []
    })
    return await this.#desk.gather({ group: wish.group, tenant, nodes, maxAgeMs })
  }

  /** A node's answer to `gather`. */
  answer(link: NodeLink, report: BidReport): void {
    this.#desk.answer(link, report)
  }

  /** The first to be asked; null when nobody can. */
  best(wish: Wish, answers: ProgramAnswers = NO_ANSWERS): Candidate | null {
    const ask = this.#askOf(wish)
    const standing = this.#market.bids(ask, BIDS_TO_FALL_BACK_ON)
    for (const bid of weigh(wish.rule, standing, this.#programBids(ask, answers))) {
      const placing = this.#market.place(ask, bid)
      if (placing) return this.#candidate(wish.group, bid, placing, answers)
    }
    return null
  }

  /** At this very node: for an amended bid. Null when it has no room or sells no such thing. */
  at(node: string, wish: Wish, answers: ProgramAnswers = NO_ANSWERS): Candidate | null {
    if (!this.#canOpen(node, wish.openers)) return null
    const ask = { ...this.#askOf(wish), rule: 'manual' as const }
    const programs = this.#programBids(ask, answers)
    const bid = this.#market.bidAt(ask, node) ?? programs.find((one) => one.node === node) ?? null
    const placing = bid && this.#market.place(ask, bid)
    return bid && placing ? this.#candidate(wish.group, bid, placing, answers) : null
  }

  screen(wish: Wish, answers: ProgramAnswers = NO_ANSWERS): GroupScreening {
    const ask = this.#askOf(wish)
    const { size } = this.#market
    const { nodes, reasons: cannot, relaxations } = this.#market.screen(wish.group)
    const locked = [...this.#leasing()].filter((node) => !this.#canOpen(node, wish.openers)).length
    const noKey = { nodes: locked, text: `${locked} of ${nodes} nodes: no key for your secrets` }
    const reasons = [
      ...cannot,
      ...noBidReasons(answers.none, size),
      ...(locked > 0 ? [noKey] : []),
    ].toSorted((a, b) => b.nodes - a.nodes)
    const programs = this.#programBids(ask, answers)
    return {
      group: wish.group.name,
      bids: weigh(wish.rule, this.#market.bids(ask), programs)
        .slice(0, MAX_BIDS_PER_ORDER)
        .map((bid) => this.#view(bid, bid.node)),
      reasons: size > 0 ? reasons.map(({ text }) => text) : [NOBODY_LEASES],
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

  /** Notes the room of a lease that runs there already, whatever it costs. */
  occupy(lease: string, group: Group, node: string, gpus: readonly (Gpu | null)[]): void {
    this.#market.release(lease)
    const placing = this.#market.placeAt(group, node, gpus)
    if (placing) this.#market.reserve(lease, placing)
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
    const marks = images.map((image) => imageMark(this.#gateway, image, sha256Hex))
    const exclude = {
      has: (node: string) => avoid.has(node) || !this.#canOpen(node, openers),
    }
    return { group, rule, images: marks, exclude: openers === null ? avoid : exclude }
  }

  #programBids(ask: Ask, { bids }: ProgramAnswers): StandingBid[] {
    return bids.flatMap(({ node, bid }) => this.#market.answered(ask, node, bid.units) ?? [])
  }

  #candidate(
    group: Group,
    bid: StandingBid,
    placing: Placing,
    { bids }: ProgramAnswers,
  ): Candidate {
    const program = this.#byProgram(placing.node) && bids.find(({ node }) => node === bid.node)
    const units = group.units.map((unit, i) => ({
      unit: unit.id,
      gpu: bid.way.gpus[i] ?? null,
      rate: String(bid.unitRates[i] ?? 0n),
    }))
    const view = this.#view(bid, placing.node)
    return { bid: view, units, placing, ...(program && { signed: program.signed }) }
  }

  #byProgram(node: string): boolean {
    return this.#links.get(node)?.offer.leases?.prices === null
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
      by: this.#byProgram(node) ? 'program' : 'sheet',
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
