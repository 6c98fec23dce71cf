/**
 * Asks nodes that price by a program what they want for an order, and judges what they say. The auction waits no longer
 * than the bid window; whoever is late, silent, absurd or unsigned does not bid, and is counted with its reason.
 */
import { idFrom } from '../../../core/base/id.ts'
import type { Millis } from '../../../core/base/time.ts'
import {
  BID_DOMAIN,
  bidSchema,
  checkBid,
  MAX_BID_MS,
  type Bid,
  type SignedBid,
} from '../../../core/protocol/bid.ts'
import type { Group } from '../../../core/protocol/group.ts'
import type { BidReport } from '../../../core/protocol/lease-control.ts'
import { groupText } from '../../../core/protocol/lease.ts'
import { sha256Hex, verifySignature } from '../../../io/keys/identity.ts'
import type { NodeLink } from '../../../io/link/node-link.ts'

/** Orders whose answers are remembered: a tenant who screens, deploys and chooses asks each program once. */
export const MAX_REMEMBERED_ORDERS = 1000

/** How old an answer may be that a screening, or the order right after it, takes for a new one. */
export const SCREENED_BID_MS: Millis = 10_000

export type Question = {
  readonly group: Group
  readonly tenant: string
  readonly nodes: readonly NodeLink[]
  /** How old an answer may be that is taken for a new one. */
  readonly maxAgeMs: Millis
}

export type ProgramBid = { readonly node: string; readonly bid: Bid; readonly signed: SignedBid }
export type NoBid = { readonly node: string; readonly code: string; readonly why: string }
export type ProgramAnswers = {
  readonly bids: readonly ProgramBid[]
  readonly none: readonly NoBid[]
}
export const NO_ANSWERS: ProgramAnswers = { bids: [], none: [] }

type Answer = (ProgramBid | NoBid) & { readonly at: Millis }
type Order = {
  readonly group: Group
  readonly groupHash: string
  readonly tenant: string
  readonly nodes: ReadonlyMap<string, (answer: ProgramBid | NoBid) => void>
}

export type BidDeskParts = {
  readonly gateway: string
  readonly windowMs: Millis
  readonly now: () => Millis
  readonly random: (bytes: number) => Uint8Array
}

export class BidDesk {
  readonly #parts: BidDeskParts
  /** Those that are out. */
  readonly #orders = new Map<string, Order>()
  /** What each node said last, by tenant and work. */
  readonly #answers = new Map<string, Map<string, Answer>>()

  constructor(parts: BidDeskParts) {
    this.#parts = parts
  }

  /** Resolves when all have answered, or the window is over. */
  async gather({ group, tenant, nodes, maxAgeMs }: Question): Promise<ProgramAnswers> {
    if (nodes.length === 0) return NO_ANSWERS
    const groupHash = sha256Hex(groupText(group))
    const known = this.#answersTo(`${tenant} ${groupHash}`)
    const now = this.#parts.now()
    const isNew = (answer: Answer | undefined) =>
      answer !== undefined &&
      now - answer.at <= maxAgeMs &&
      ('why' in answer || answer.bid.expiresAtMs > now)
    const asked = nodes.filter(({ node }) => !isNew(known.get(node)))
    const answers = await this.#ask(asked, { group, groupHash, tenant })
    for (const answer of answers) known.set(answer.node, { ...answer, at: this.#parts.now() })
    const all = nodes.flatMap(({ node }) => known.get(node) ?? [])
    return {
      bids: all.flatMap((one) => ('bid' in one ? [one] : [])),
      none: all.flatMap((one) => ('why' in one ? [one] : [])),
    }
  }

  /** What a node says to an order. Nobody waits for it any more: it is late, and dropped. */
  answer(link: NodeLink, report: BidReport): void {
    const order = this.#orders.get(report.order)
    const tell = order?.nodes.get(link.node)
    if (!order || !tell) return
    tell(report.kind === 'bid' ? this.#judge(link, report, order) : noBid(link, report))
  }

  #ask(
    asked: readonly NodeLink[],
    { group, groupHash, tenant }: Omit<Order, 'nodes'>,
  ): Promise<(ProgramBid | NoBid)[]> {
    if (asked.length === 0) return Promise.resolve([])
    const { windowMs, random } = this.#parts
    const order = idFrom('order', random(15))
    const answers = new Map<string, ProgramBid | NoBid>()
    return new Promise((resolve) => {
      const over = () => {
        clearTimeout(timer)
        this.#orders.delete(order)
        resolve(asked.map(({ node }) => answers.get(node) ?? silent(node, windowMs)))
      }
      const tellOf = (node: string) => (answer: ProgramBid | NoBid) => {
        if (answers.has(node)) return
        answers.set(node, answer)
        if (answers.size === asked.length) over()
      }
      const timer = setTimeout(over, windowMs)
      const nodes = new Map(asked.map(({ node }) => [node, tellOf(node)]))
      this.#orders.set(order, { group, groupHash, tenant, nodes })
      for (const link of asked)
        link.lease({ kind: 'bid', order, tenant, group, withinMs: windowMs })
    })
  }

  #judge(
    { node, nodeKey }: NodeLink,
    { bid: text, signature, order: id }: Extract<BidReport, { kind: 'bid' }>,
    { group, groupHash, tenant }: Order,
  ): ProgramBid | NoBid {
    if (!verifySignature(nodeKey, BID_DOMAIN, text, signature))
      return { node, code: 'bid_unsigned', why: 'its bid is not signed by it' }
    const bid = readBid(text)
    if (bid === null) return { node, code: 'bid_invalid', why: 'its bid cannot be read' }
    const meant = { order: id, node, tenant, gateway: this.#parts.gateway, groupHash }
    for (const key of ['order', 'node', 'tenant', 'gateway', 'groupHash'] as const)
      if (bid[key] !== meant[key])
        return { node, code: 'bid_invalid', why: `its bid is for another ${key}` }
    const refusal = checkBid(bid, group, this.#parts.now())
    if (refusal) return { node, code: 'bid_invalid', why: refusal.message }
    return { node, bid, signed: { bid: text, signature } }
  }

  #answersTo(key: string): Map<string, Answer> {
    const answers = this.#answers.get(key) ?? new Map<string, Answer>()
    const now = this.#parts.now()
    for (const [node, { at }] of answers) if (now - at > MAX_BID_MS) answers.delete(node)
    this.#answers.delete(key)
    this.#answers.set(key, answers)
    for (const oldest of this.#answers.keys()) {
      if (this.#answers.size <= MAX_REMEMBERED_ORDERS) break
      this.#answers.delete(oldest)
    }
    return answers
  }
}

/** `3 of 9 nodes: its pricing program ended with 1`, most nodes first: one of each code is told. */
export function noBidReasons(
  none: readonly NoBid[],
  nodes: number,
): { readonly nodes: number; readonly text: string }[] {
  const byCode = new Map<string, NoBid[]>()
  for (const one of none) byCode.set(one.code, [...(byCode.get(one.code) ?? []), one])
  return [...byCode].map(([code, [first, ...rest]]) => ({
    nodes: rest.length + 1,
    text: `${rest.length + 1} of ${nodes} nodes: ${first?.why ?? code} (${code})`,
  }))
}

const silent = (node: string, windowMs: Millis): NoBid => ({
  node,
  code: 'bid_late',
  why: `no bid came within ${windowMs} ms`,
})

const noBid = (
  { node }: NodeLink,
  { code, message }: Extract<BidReport, { kind: 'no_bid' }>,
): NoBid => ({ node, code, why: message })

function readBid(text: string): Bid | null {
  try {
    return bidSchema.safeParse(JSON.parse(text)).data ?? null
  } catch {
    return null
  }
}
