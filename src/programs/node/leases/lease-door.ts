/**
 * Where gateways meet the node's leases. They may come before the container engine has answered: then they wait, in
 * order; where there is none, they hear so.
 */
import type { BidRequest, LeaseCommand, LeaseOrder } from '../../../core/protocol/lease-control.ts'
import type { Heartbeat } from '../../../core/protocol/link.ts'
import type { Offer } from '../../../core/protocol/offer.ts'
import type { IncomingTunnel } from '../../../io/link/tunnel-dialler.ts'
import type { SendReport } from './lease-news.ts'
import { serveTunnel } from './lease-tunnels.ts'
import type { OpenLeases } from './open-leases.ts'

const WHY = 'this node runs no containers'
const NO_PROGRAM = 'this node has no pricing program'

export class LeaseDoor {
  readonly #opening: Promise<OpenLeases | null>
  #open: OpenLeases | null = null
  readonly #lines = new Map<string, SendReport>()

  /** `opening` never rejects. */
  constructor(opening: Promise<OpenLeases | null>) {
    this.#opening = opening
    this.#then((open) => (this.#open = open))
  }

  /** What the node's offer says of leases, as soon as that is known. */
  async offer(): Promise<Offer['leases']> {
    return (await this.#opening)?.offer ?? null
  }

  /** What each heartbeat tells of them; nothing before they are open. */
  beat(gateway: string | null): Pick<Heartbeat, 'room' | 'images'> {
    if (this.#open === null) return {}
    const images = gateway === null ? null : this.#open.images.news(gateway)
    return { room: this.#open.free(), ...(images && { images }) }
  }

  linked(gateway: string, send: SendReport): void {
    this.#lines.set(gateway, send)
    this.#open?.images.linked(gateway)
    this.#then((open) => open?.host.linked(gateway, send))
  }

  unlinked(gateway: string): void {
    this.#lines.delete(gateway)
    this.#then((open) => open?.host.unlinked(gateway))
  }

  command(gateway: string, command: LeaseCommand): void {
    this.#then((open) => {
      if (command.kind === 'bid') void this.#bid(gateway, command, open)
      else if (open !== null) open.host.command(gateway, command)
      else this.#refuse(gateway, command)
    })
  }

  tunnel(gateway: string, request: IncomingTunnel): void {
    this.#then((open) => {
      if (open !== null) void serveTunnel(open.tunnels, gateway, request)
      else request.refuse('tunnel_unsupported', WHY)
    })
  }

  /** Nothing new begins; what runs runs on. */
  drain(): void {
    this.#then((open) => {
      open?.host.drain()
      open?.bidder?.drain()
    })
  }

  /** Containers run on without the agent. */
  async close(): Promise<void> {
    await (await this.#opening)?.close()
  }

  #then(use: (open: OpenLeases | null) => void): void {
    void this.#opening.then(use)
  }

  /** To the link that asked, or to nobody: a bid that is late is none. */
  async #bid(gateway: string, request: BidRequest, open: OpenLeases | null): Promise<void> {
    const send = this.#lines.get(gateway)
    const { order } = request
    const none = { kind: 'no_bid', order, code: 'lease_unsupported', message: NO_PROGRAM } as const
    send?.((await open?.bidder?.answer(gateway, request)) ?? none)
  }

  #refuse(gateway: string, command: LeaseOrder): void {
    if (command.kind !== 'ask') return
    const { lease, epoch } = command
    const send = this.#lines.get(gateway)
    send?.({ kind: 'refused', lease, epoch, code: 'lease_unsupported', message: WHY })
  }
}
