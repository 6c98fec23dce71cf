/**
 * The gateways of this node's leases: what each has to be told, since when it is away, and for which others it may speak.
 */
import type { Millis } from '../../../core/base/time.ts'
import { KIN_DOMAIN, kinText, type KinProof } from '../../../core/protocol/kin.ts'
import { idOfKey, verifySignature } from '../../../io/keys/identity.ts'
import { LeaseNews, type SendReport } from './lease-news.ts'

export class LeaseGateways {
  readonly #news = new Map<string, LeaseNews>()
  readonly #lastLinkedAt = new Map<string, Millis>()
  /** Who speaks → for whom. */
  readonly #kin = new Map<string, ReadonlySet<string>>()

  linked(gateway: string, send: SendReport, now: Millis): void {
    this.#lastLinkedAt.set(gateway, now)
    this.newsOf(gateway).linked(send)
  }

  unlinked(gateway: string): void {
    this.newsOf(gateway).unlinked()
  }

  /** A lease of an earlier run is this gateway's: its time to come back begins now. */
  expect(gateway: string, now: Millis): void {
    this.#lastLinkedAt.set(gateway, now)
  }

  awayMs(gateway: string, now: Millis): Millis {
    return now - (this.#lastLinkedAt.get(gateway) ?? now)
  }

  newsOf(gateway: string): LeaseNews {
    const news = this.#news.get(gateway) ?? new LeaseNews()
    this.#news.set(gateway, news)
    return news
  }

  tick(now: Millis): void {
    for (const [gateway, news] of this.#news) {
      if (news.isLinked) this.#lastLinkedAt.set(gateway, now)
      news.flush()
    }
  }

  /** What does not prove itself is passed over. */
  learn(speaker: string, proofs: readonly KinProof[]): void {
    const proven = proofs.filter(
      ({ gateway, key, signature }) =>
        idOfKey('gw', key) === gateway &&
        verifySignature(key, KIN_DOMAIN, kinText(gateway, speaker), signature),
    )
    this.#kin.set(speaker, new Set(proven.map(({ gateway }) => gateway)))
  }

  /** About a lease of `gateway`: it itself, or one for which it has vouched. */
  maySpeak(speaker: string, gateway: string): boolean {
    return speaker === gateway || this.#kin.get(speaker)?.has(gateway) === true
  }
}
