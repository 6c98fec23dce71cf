/** Answers gateways that ask what a node with a pricing program wants for an order: whether there is room, the price, the signature. */
import { canonicalJson, type Canonical } from '../../../core/base/canonical-json.ts'
import { idFrom } from '../../../core/base/id.ts'
import { MINUTE, type Millis } from '../../../core/base/time.ts'
import { BID_DOMAIN, checkBid, type Bid, type UnitPrice } from '../../../core/protocol/bid.ts'
import { gpuKey, gpuMeets, type Gpu } from '../../../core/protocol/capacity.ts'
import type { Group } from '../../../core/protocol/group.ts'
import type { BidReport, BidRequest } from '../../../core/protocol/lease-control.ts'
import { groupText } from '../../../core/protocol/lease.ts'
import { sha256Hex, type Identity } from '../../../io/keys/identity.ts'
import { clip } from './lease-news.ts'
import type { PricingProgram } from './pricing-program.ts'
import { needOf, shortageOf, type HostGpu, type HostRoom, type RoomBook } from './room.ts'

/** For a tenant who looks at the bids and then takes one by hand. */
export const BID_STANDS_MS = 5 * MINUTE

export type BidderParts = {
  readonly identity: Identity
  readonly program: PricingProgram
  readonly room: HostRoom
  /** What is not leased just now. */
  readonly free: () => RoomBook['free']
  readonly noticeS: number
  readonly now: () => Millis
  readonly random: (bytes: number) => Uint8Array
}

type Said = { readonly code: string; readonly message: string }

export class Bidder {
  readonly #parts: BidderParts
  #draining = false

  constructor(parts: BidderParts) {
    this.#parts = parts
  }

  drain(): void {
    this.#draining = true
  }

  close(): void {
    this.#parts.program.close()
  }

  /** Never rejects. */
  async answer(gateway: string, request: BidRequest): Promise<BidReport> {
    const { order, group, tenant, withinMs } = request
    const gpus = this.#gpusFor(group)
    const units =
      'code' in gpus
        ? gpus
        : await this.#parts.program.price({ group, gpus: gpus.chosen, tenant, withinMs })
    const bid = 'code' in units ? units : this.#bidOf(gateway, request, units)
    if ('code' in bid)
      return { kind: 'no_bid', order, code: bid.code, message: clip(bid.message, 2000) }
    const text = canonicalJson(bid satisfies Canonical)
    const signature = this.#parts.identity.sign(BID_DOMAIN, text)
    return { kind: 'bid', order, bid: text, signature }
  }

  /** What it would run on, where there is room for it: else no program is started. */
  #gpusFor(group: Group): { readonly chosen: readonly (Gpu | null)[] } | Said {
    const { room, free } = this.#parts
    if (this.#draining) return { code: 'node_draining', message: 'the node takes no new leases' }
    const now = free()
    const chosen = chooseGpus(group, now.gpus)
    if ('short' in chosen) return { code: 'lease_no_room', message: chosen.short }
    const need = needOf(group, chosen, room)
    const short = 'short' in need ? need.short : shortageOf(now, need, room)
    return short === null ? { chosen } : { code: 'lease_no_room', message: short }
  }

  #bidOf(
    gateway: string,
    { order, group, tenant }: BidRequest,
    units: readonly UnitPrice[],
  ): Bid | Said {
    const { identity, noticeS, now, random } = this.#parts
    const at = now()
    const bid: Bid = {
      v: 1,
      id: idFrom('bid', random(15)),
      order,
      node: identity.id,
      tenant,
      gateway,
      groupHash: sha256Hex(groupText(group)),
      units: [...units],
      noticeS,
      issuedAtMs: at,
      expiresAtMs: at + BID_STANDS_MS,
    }
    const refusal = checkBid(bid, group, at)
    return refusal ? { code: 'bid_failed', message: refusal.message } : bid
  }
}

/** For each unit the first kind of which enough are free for all its copies. */
function chooseGpus(
  group: Group,
  free: readonly HostGpu[],
): (Gpu | null)[] | { readonly short: string } {
  const left = [...free]
  const chosen: (Gpu | null)[] = []
  for (const { id, resources, count } of group.units) {
    if (resources.gpu === null) {
      chosen.push(null)
      continue
    }
    const { anyOf, units } = resources.gpu
    const suiting = left.filter((gpu) => anyOf.some((wanted) => gpuMeets(gpu, wanted)))
    const alike = (gpu: Gpu) => suiting.filter((other) => gpuKey(other) === gpuKey(gpu))
    const wanted = units * count
    const first = suiting.find((gpu) => alike(gpu).length >= wanted)
    if (!first)
      return { short: `GPUs for unit ${id}: ${suiting.length} free that suit < ${wanted} asked` }
    for (const taken of alike(first).slice(0, wanted)) left.splice(left.indexOf(taken), 1)
    const { cdi: _, ...gpu } = first
    chosen.push(gpu)
  }
  return chosen
}
