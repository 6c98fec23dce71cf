/** The gateways of this one's region, told to each node that is linked: it chooses which of them to link to. */
import { reasonOf } from '../../core/base/refusal.ts'
import { SECOND, type Millis } from '../../core/base/time.ts'
import {
  CARD_DOMAIN,
  cardText,
  type GatewayCard,
  type RegionNews,
} from '../../core/protocol/region.ts'
import type { Identity } from '../../io/keys/identity.ts'
import type { NodeLink } from '../../io/link/node-link.ts'
import type { Store } from '../../io/store/store.ts'
import type { Logger } from '../../io/telemetry/logger.ts'

const LOOK_EVERY_MS: Millis = 5 * SECOND
/** One that was not there for so long is told to nobody. Longer than a restart: links should not move for one. */
export const ABSENT_MS: Millis = 60 * SECOND

type Parts = {
  readonly identity: Identity
  /** Where nodes dial this gateway; null: nobody is told of it. */
  readonly url: string | null
  readonly region: string | null
  readonly store: Pick<Store, 'showCard' | 'cardsOf'>
  readonly links: () => Iterable<NodeLink>
  readonly now: () => Millis
  readonly logger: Logger
}

export class RegionGateways {
  readonly #parts: Parts
  readonly #card: GatewayCard | null
  readonly #timer: NodeJS.Timeout
  #news: RegionNews = { gateways: [] }
  #looking = false

  constructor(parts: Parts) {
    this.#parts = parts
    const { identity, url, region } = parts
    const { id: gateway, publicKey: key, sign } = identity
    this.#card =
      url === null
        ? null
        : {
            gateway,
            key,
            url,
            region,
            signature: sign(CARD_DOMAIN, cardText({ gateway, url, region })),
          }
    this.#timer = setInterval(() => void this.look(), LOOK_EVERY_MS)
    this.#timer.unref()
    void this.look()
  }

  /** Shows its own card, reads the others', and tells the nodes when something changed. Never rejects. */
  async look(): Promise<void> {
    if (this.#looking) return
    this.#looking = true
    const { store, region, links, now, logger } = this.#parts
    try {
      if (this.#card) await store.showCard(this.#card, now())
      const news = { gateways: await store.cardsOf(region, now() - ABSENT_MS) }
      if (JSON.stringify(news) !== JSON.stringify(this.#news)) {
        this.#news = news
        for (const link of links()) this.tell(link)
      }
    } catch (error) {
      // What the nodes know holds meanwhile.
      logger.warn('gateways of the region not read', { error: reasonOf(error) })
    }
    this.#looking = false
  }

  tell(link: NodeLink): void {
    if (this.#news.gateways.length > 0) link.tellRegion(this.#news)
  }

  close(): void {
    clearInterval(this.#timer)
  }
}
