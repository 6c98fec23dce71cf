/**
 * Signs what this gateway's key owes each provider, about once a second while it grows, and sends it on the link. What is owed
 * is read off the database in one snapshot: closed epochs, and what nodes have earned since, less the fee. So no IOU is
 * ever above the truth, whichever of the gateways with this key signs it, and the epoch's root owes no less.
 */
import type { LocalAccount } from 'viem'
import { hexOf, lowerHex, type Address, type Hex } from '../../../core/base/hex.ts'
import { reasonOf } from '../../../core/base/refusal.ts'
import type { Millis } from '../../../core/base/time.ts'
import type { Iou } from '../../../core/protocol/payout.ts'
import { payoutsTypedData, type Iou as IouFields } from '../../../io/chain/typed-data.ts'
import { readPayout } from '../../../io/link/hello-check.ts'
import type { NodeLink } from '../../../io/link/node-link.ts'
import type { OwedNow } from '../../../io/store/payout-records.ts'
import { nodeLedger, type Store } from '../../../io/store/store.ts'
import type { Logger } from '../../../io/telemetry/logger.ts'

export type SignDigest = (digest: Uint8Array) => Promise<Hex>

export type IouDeskParts = {
  readonly store: Pick<Store, 'notePayoutAddress' | 'payoutAddress' | 'owedToNodes' | 'balance'>
  readonly chainId: number
  readonly payouts: Address
  /** Signs the digest with the operator's key: 65 bytes, hex. */
  readonly sign: SignDigest
  readonly operator: Address
  readonly links: () => Iterable<NodeLink>
  readonly linkOf: (node: string) => NodeLink | undefined
  /** Makes sure that an epoch is open. */
  readonly openEpoch: () => Promise<unknown>
  readonly now: () => Millis
  readonly logger: Logger
  readonly everyMs?: Millis
}

const EVERY_MS = 1_000
/** What others have changed is found by looking: other gateways' settlements, leases, closed epochs. */
const SWEEP_EVERY_MS = 10_000
const MAX_NODES_A_QUERY = 1_000

type Sent = {
  readonly provider: Address | null
  readonly epoch: number
  readonly cumulativeUnits: bigint
  readonly feeBps: number
}

export class IouDesk {
  readonly #parts: IouDeskParts
  readonly #digestOf: (iou: IouFields) => Uint8Array
  readonly #timer: NodeJS.Timeout
  /** Nodes that have earned something since the last round. */
  #earned = new Set<string>()
  /** On this link: what was sent last. */
  readonly #sent = new WeakMap<NodeLink, Sent>()
  /** Whose wish is in the database. */
  readonly #noted = new WeakSet<NodeLink>()
  #sweptAt: Millis = 0
  #running: Promise<void> | null = null

  constructor(parts: IouDeskParts) {
    this.#parts = parts
    const verifyingContract = lowerHex(parts.payouts)
    const typed = payoutsTypedData({ chainId: parts.chainId, verifyingContract })
    this.#digestOf = (iou) => typed.iouDigest(iou)
    this.#timer = setInterval(() => void this.round(), parts.everyMs ?? EVERY_MS)
    this.#timer.unref()
  }

  /** A node linked: its payout address is noted, and it hears what it is owed. */
  linked(link: NodeLink): void {
    this.#earned.add(link.node)
  }

  /** Their earnings were committed. */
  settled(nodes: Iterable<string>): void {
    for (const node of nodes) this.#earned.add(node)
  }

  /** Signs what has grown. Never rejects. */
  round(): Promise<void> {
    this.#running ??= this.#round()
      .catch((error: unknown) =>
        this.#parts.logger.warn('ious have to wait', { error: reasonOf(error) }),
      )
      .finally(() => (this.#running = null))
    return this.#running
  }

  async close(): Promise<void> {
    clearInterval(this.#timer)
    await this.#running
  }

  async #round(): Promise<void> {
    const { now, links, linkOf, openEpoch } = this.#parts
    const sweep = now() - this.#sweptAt >= SWEEP_EVERY_MS
    const nodes = sweep ? [...links()].map(({ node }) => node) : [...this.#earned]
    if (nodes.length === 0) return
    const earned = this.#earned
    this.#earned = new Set()
    try {
      await openEpoch()
      for (let from = 0; from < nodes.length; from += MAX_NODES_A_QUERY)
        await this.#tell(nodes.slice(from, from + MAX_NODES_A_QUERY), earned)
      if (sweep) this.#sweptAt = now()
    } catch (error) {
      for (const node of earned) if (linkOf(node)) this.#earned.add(node)
      throw error
    }
  }

  async #tell(nodes: readonly string[], earned: ReadonlySet<string>): Promise<void> {
    const { store, linkOf } = this.#parts
    for (const node of nodes) {
      const link = linkOf(node)
      if (link && !this.#noted.has(link)) await this.#note(link)
    }
    // Nodes that share an address hear of what the others earn with the next sweep.
    const unnamed = new Set(nodes)
    for (const owed of await store.owedToNodes(nodes)) {
      let signature: Hex | null = null
      for (const node of owed.nodes) {
        unnamed.delete(node)
        const to = linkOf(node)
        if (to) signature = await this.#send(to, owed, signature)
      }
    }
    for (const node of unnamed) {
      const link = earned.has(node) ? linkOf(node) : undefined
      if (link) await this.#sayUnpaid(link)
    }
  }

  async #note(link: NodeLink): Promise<void> {
    const { store, now, logger } = this.#parts
    if (link.payout !== null) {
      const statement = readPayout(link.payout, link.node, link.nodeKey)
      if (typeof statement === 'string') {
        logger.warn('payout address not noted', { node: link.node, why: statement })
      } else {
        const { address, sequence } = statement
        const wish = { node: link.node, address, sequence, ...link.payout, now: now() }
        const noted = await store.notePayoutAddress(wish)
        if (noted.nextAddress !== null)
          logger.info('payout address changes with the next epoch', { ...noted })
      }
    }
    this.#noted.add(link)
  }

  /** Gives the signature, so that one is enough for all nodes of an address; null: there was nothing to sign. */
  async #send(link: NodeLink, owed: OwedNow, signed: Hex | null): Promise<Hex | null> {
    const { address: provider, epoch, cumulativeUnits, feeBps } = owed
    const { chainId } = this.#parts
    const before = this.#sent.get(link)
    const sent = before?.provider === provider ? before : undefined
    // Never less than was said: a snapshot of before a moment is just late.
    if (cumulativeUnits === 0n || (sent && cumulativeUnits < sent.cumulativeUnits)) return signed
    const same = sent?.epoch === epoch && sent.feeBps === feeBps
    if (same && cumulativeUnits === sent.cumulativeUnits) return signed
    const [gateway, payouts] = [lowerHex(this.#parts.operator), lowerHex(this.#parts.payouts)]
    const signature =
      signed ??
      (await this.#parts.sign(
        this.#digestOf({ gateway, provider, epoch, cumulative: cumulativeUnits }),
      ))
    const cumulative = String(cumulativeUnits)
    const iou = { chainId, payouts, gateway, provider, epoch, cumulative, signature, feeBps }
    link.tellPayout({ kind: 'iou', ...iou } satisfies Iou)
    this.#sent.set(link, { provider, epoch, cumulativeUnits, feeBps })
    return signature
  }

  /** Once a link, and once there is something. */
  async #sayUnpaid(link: NodeLink): Promise<void> {
    if (this.#sent.has(link) || link.payout !== null) return
    const { balanceNanoUsd } = await this.#parts.store.balance(nodeLedger(link.node))
    if (balanceNanoUsd === 0n) return
    link.tellPayout({ kind: 'unpaid', nanoUsd: String(balanceNanoUsd) })
    this.#sent.set(link, { provider: null, epoch: 0, cumulativeUnits: 0n, feeBps: 0 })
  }
}

/** By an account of viem's, as the operator key is. */
export const signerOf =
  (account: LocalAccount): SignDigest =>
  async (digest) => {
    if (account.sign === undefined) throw new Error('this account signs no digests')
    return lowerHex(await account.sign({ hash: hexOf(digest) }))
  }
