/** How a lease gets its room: by a signed acceptance, or because it runs already. */
import type { Millis } from '../../../core/base/time.ts'
import { LEASE_DOMAIN, MAX_ASK_MS } from '../../../core/protocol/lease-control.ts'
import type { Identity } from '../../../io/keys/identity.ts'
import { checkAsk, type Ask, type AskRefusal, type Seller } from './ask-check.ts'
import type { Asked } from './lease-entry.ts'
import type { LeaseRecord } from './lease-shelf.ts'
import { keptNeedOf, needOf, type Hold, type HostRoom, type RoomBook } from './room.ts'

/** Signs what can be signed, and keeps the room for it. */
export function acceptAsk(input: {
  readonly ask: Ask
  readonly gateway: string
  readonly parts: {
    readonly identity: Identity
    readonly room: HostRoom
    readonly seller: Seller
    readonly now: () => Millis
  }
  readonly book: RoomBook
}): Asked | AskRefusal {
  const { ask, gateway, parts, book } = input
  const { lease, epoch, group, terms } = ask
  const now = parts.now()
  const checked = checkAsk({ ask, gateway, seller: parts.seller, now })
  if ('code' in checked) return checked
  const need = needOf(group, checked.gpus, parts.room)
  const hold = 'short' in need ? need : book.take(lease, need)
  if ('short' in hold) return { code: 'lease_no_room', message: hold.short }
  const signature = parts.identity.sign(LEASE_DOMAIN, terms)
  const { owner } = checked
  return { epoch, group, owner, terms, signature, untilMs: now + MAX_ASK_MS, hold }
}

/** The room of what an earlier run of the agent left. */
export function occupyAgain(
  { lease, group, gpus, kept }: LeaseRecord,
  room: HostRoom,
  book: RoomBook,
): Hold {
  const need = kept === null ? needOf(group, [], room) : keptNeedOf(group, room)
  // The settings changed under it, and what it takes is not known: nothing more is sold until it has ended.
  const all = { ...room, diskBytes: room.disks.map(({ bytes }) => bytes), gpus: [] }
  const cdis = kept === null ? gpus.map(({ unit, cdi }) => [unit, cdi] as const) : []
  return book.takeAgain(lease, 'short' in need ? all : need, new Map(cdis))
}
