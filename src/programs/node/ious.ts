/**
 * What gateways owe this provider, by their own signatures. A gateway signs what it owes since the beginning, about once a
 * second while it grows; the newest is kept on disk, where it is worth money without that gateway: `baseload payouts claim`.
 *
 * What an IOU says is compared with what the gateway has acknowledged of this node's own receipts. It may say more (other
 * nodes of the same provider, leases), but not much less: then the provider is told, with the numbers.
 */
import { chmodSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { type Address } from '../../core/base/hex.ts'
import { formatUsd, type NanoUsd } from '../../core/base/money.ts'
import { reasonOf } from '../../core/base/refusal.ts'
import { MINUTE, SECOND, type Millis } from '../../core/base/time.ts'
import type { Iou, PayoutNews } from '../../core/protocol/payout.ts'
import type { Logger } from '../../io/telemetry/logger.ts'
import { replaceDurably } from './durable-file.ts'
import { bestIou, fileNameOf, isSigned, readIouFiles, type IouFile } from './iou-file.ts'

export { IOU_FOLDER } from './iou-file.ts'

/** Keys that gateways owe with: more than any node serves, and a gateway that invents new ones fills no disk. */
export const MAX_DEBTORS = 64
/** An IOU of an epoch is good for challenging the root of that epoch and later ones. */
const EPOCHS_KEPT = 4
/** An acknowledged receipt is in an IOU within seconds; what is younger does not count as missing. */
export const IOU_LAG_MS = 30 * SECOND
/** Answers that reached nobody, and disputed ones, are acknowledged and paid less or not: so much may be missing… */
export const IOU_LAG_NANO_USD: NanoUsd = 10_000_000n
/** …or this part of what was acknowledged, whichever is more. */
export const IOU_LAG_PERCENT = 2n
const WARN_EVERY_MS = 60 * MINUTE
const NANO_USD_PER_UNIT = 1_000n

export type DrawerParts = {
  readonly folder: string
  /** This provider's addresses: of now, then of before. None: nothing is kept. */
  readonly addresses: readonly Address[]
  readonly now: () => Millis
  /** One line for people. */
  readonly say: (line: string) => void
  readonly logger: Logger
}

type Debtor = {
  file: IouFile
  /** Acknowledged so lately that an IOU need not have it. */
  young: { readonly at: Millis; readonly nanoUsd: NanoUsd }[]
  /** When the first IOU came in this run: what was on its way then may be in it already. */
  readonly since: Millis
  warnedAt: Millis | null
  writing: Promise<void> | null
  dirty: boolean
}

export class IouDrawer {
  readonly #parts: DrawerParts
  readonly #debtors = new Map<string, Debtor>()
  /** Gateway on a link → file of what it owes. */
  readonly #owedBy = new Map<string, string>()
  /** Gateways of which the provider has heard that they pay nothing on chain. */
  readonly #told = new Set<string>()
  /** Acknowledged by gateways that signed nothing yet. */
  readonly #unsigned = new Map<string, NanoUsd>()

  constructor(parts: DrawerParts) {
    this.#parts = parts
    for (const file of readIouFiles(parts.folder)) this.#keep(fileNameOf(file), file)
  }

  /** What a gateway said on the link. Whatever is wrong with it, the one that is kept stays. */
  heard({ gateway, url }: { gateway: string; url: string }, news: PayoutNews): void {
    if (news.kind === 'unpaid') {
      this.#unpaid(gateway, BigInt(news.nanoUsd))
      return
    }
    const problem = this.#take(gateway, url, news)
    if (problem === null) return
    this.#parts.logger.warn('iou not taken', { gateway, problem, iou: { ...news } })
    this.#once(
      `${gateway} ${problem}`,
      `gateway ${gateway} sent an IOU that is worth nothing: ${problem}`,
    )
  }

  /** The gateway has committed receipts of so much. */
  acknowledged(gateway: string, nanoUsd: NanoUsd): void {
    if (this.#parts.addresses.length === 0) return
    const debtor = this.#debtors.get(this.#owedBy.get(gateway) ?? '')
    if (debtor === undefined) {
      this.#withoutIou(gateway, nanoUsd)
      return
    }
    const now = this.#parts.now()
    const net = nanoUsd - (nanoUsd * BigInt(debtor.file.feeBps)) / 10_000n
    if (now - debtor.since >= MINUTE) debtor.young.push({ at: now, nanoUsd: net })
    this.#compare(gateway, debtor)
  }

  /** Resolves when all that was heard is on the disk. */
  async close(): Promise<void> {
    for (const debtor of this.#debtors.values()) {
      if (debtor.dirty) this.#write(debtor)
      while (debtor.writing !== null) await debtor.writing
    }
  }

  /** Null, or why it is not kept. */
  #take(gateway: string, url: string, iou: Iou): string | null {
    const { addresses, now, say } = this.#parts
    if (!addresses.includes(iou.provider)) return `it is made out to ${iou.provider}, not to you`
    const name = fileNameOf(iou)
    const debtor = this.#debtors.get(name)
    if (debtor === undefined && this.#debtors.size >= MAX_DEBTORS)
      return `this node keeps IOUs of ${MAX_DEBTORS} keys at most`
    const held = debtor ? bestIou(debtor.file) : null
    // Of two gateways that share a key the slower one is a moment behind: nothing is wrong with that.
    if (debtor && held && BigInt(iou.cumulative) <= BigInt(held.cumulative)) {
      this.#owedBy.set(gateway, name)
      this.#compare(gateway, debtor)
      return null
    }
    if (!isSigned(iou)) return `it is not signed by ${iou.gateway}`
    const before = this.#owedBy.get(gateway)
    if (before !== undefined && before !== name && !before.endsWith(`${iou.provider}.json`))
      this.#once(`${gateway} ${name}`, `gateway ${gateway} owes to ${iou.provider} now`)
    else if (before !== undefined && before !== name)
      this.#once(
        `${gateway} ${name}`,
        `gateway ${gateway} owes with another key now: ${iou.gateway}; IOUs of before stay good`,
      )
    this.#owedBy.set(gateway, name)
    const { epoch, cumulative, signature, chainId, payouts, provider, feeBps } = iou
    const ious = [
      { epoch, cumulative, signature, atMs: now() },
      ...(debtor?.file.ious.filter((one) => one.epoch !== epoch) ?? []),
    ]
      .toSorted((a, b) => b.epoch - a.epoch)
      .slice(0, EPOCHS_KEPT)
    const file: IouFile = {
      v: 1,
      chainId,
      payouts,
      gateway: iou.gateway,
      provider,
      feeBps,
      via: gateway,
      url: withoutSecrets(url),
      ious,
      firstCumulative: debtor?.file.firstCumulative ?? cumulative,
      acknowledgedNanoUsd: debtor?.file.acknowledgedNanoUsd ?? '0',
    }
    const kept = debtor ?? this.#keep(name, file)
    kept.file = file
    if (debtor === undefined)
      say(`gateway ${gateway} signs what it owes you: kept in ${this.#parts.folder}`)
    this.#write(kept)
    this.#compare(gateway, kept)
    return null
  }

  #keep(name: string, file: IouFile): Debtor {
    const since = this.#parts.now()
    const debtor = { file, young: [], since, warnedAt: null, writing: null, dirty: false }
    this.#debtors.set(name, debtor)
    return debtor
  }

  /** What the best IOU has grown by, beside what the node's own receipts have. */
  #compare(gateway: string, debtor: Debtor): void {
    const now = this.#parts.now()
    const ripe = debtor.young.filter(({ at }) => now - at >= IOU_LAG_MS)
    if (ripe.length > 0) {
      debtor.young = debtor.young.filter(({ at }) => now - at < IOU_LAG_MS)
      const sum = ripe.reduce((total, { nanoUsd }) => total + nanoUsd, 0n)
      const acknowledged = BigInt(debtor.file.acknowledgedNanoUsd) + sum
      debtor.file = { ...debtor.file, acknowledgedNanoUsd: String(acknowledged) }
      debtor.dirty = true
    }
    const earned = BigInt(debtor.file.acknowledgedNanoUsd)
    const best = BigInt(bestIou(debtor.file)?.cumulative ?? 0)
    const signed = (best - BigInt(debtor.file.firstCumulative)) * NANO_USD_PER_UNIT
    const missing = earned - signed
    const share = (earned * IOU_LAG_PERCENT) / 100n
    const bound = share > IOU_LAG_NANO_USD ? share : IOU_LAG_NANO_USD
    if (missing <= bound) return
    if (debtor.warnedAt !== null && now - debtor.warnedAt < WARN_EVERY_MS) return
    debtor.warnedAt = now
    this.#parts.say(
      `gateway ${gateway} owes more than it signs: your receipts earned $${formatUsd(earned)} that it has acknowledged, its IOU grew by $${formatUsd(signed)}; $${formatUsd(missing)} is missing. Ask its operator, and consider leaving it`,
    )
  }

  #unpaid(gateway: string, nanoUsd: NanoUsd): void {
    this.#unsigned.delete(gateway)
    this.#once(
      `${gateway} unpaid`,
      `gateway ${gateway} keeps $${formatUsd(nanoUsd)} for you in its ledger: it pays on chain once you name an address (--payout-address 0x…)`,
    )
  }

  #withoutIou(gateway: string, nanoUsd: NanoUsd): void {
    const sum = (this.#unsigned.get(gateway) ?? 0n) + nanoUsd
    this.#unsigned.set(gateway, sum)
    if (sum <= IOU_LAG_NANO_USD) return
    this.#once(
      `${gateway} silent`,
      `gateway ${gateway} has acknowledged $${formatUsd(sum)} and signs no IOUs: it does not pay on chain, what you earn is in its ledger`,
    )
  }

  #once(key: string, line: string): void {
    if (this.#told.has(key) || this.#told.size > 1_000) return
    this.#told.add(key)
    this.#parts.say(line)
  }

  #write(debtor: Debtor): void {
    debtor.dirty = true
    debtor.writing ??= this.#writeAll(debtor).finally(() => (debtor.writing = null))
  }

  /** Never rejects. What cannot be written now is written with the next IOU. */
  async #writeAll(debtor: Debtor): Promise<void> {
    const { folder, logger } = this.#parts
    try {
      mkdirSync(folder, { recursive: true, mode: 0o700 })
      chmodSync(folder, 0o700)
      while (debtor.dirty) {
        debtor.dirty = false
        const path = join(folder, fileNameOf(debtor.file))
        await replaceDurably(path, `${JSON.stringify(debtor.file, null, 2)}\n`)
      }
    } catch (error) {
      logger.error('iou not kept', { folder, error: reasonOf(error) })
    }
  }
}

/** No user, no password. */
function withoutSecrets(url: string): string {
  const { protocol, host, pathname } = new URL(url)
  return `${protocol.replace(/^ws/, 'http')}//${host}${pathname.replace(/\/+$/, '')}`
}
