/**
 * Which gateways a node links to beside those that its provider named: of each network the few that rendezvous hashing picks, so
 * that a thousand gateways do not mean a thousand links of each node, and each gateway has its share of the nodes.
 */
import {
  CARD_DOMAIN,
  cardText,
  servesRegion,
  type GatewayCard,
} from '../../core/protocol/region.ts'
import { pickByRendezvous } from '../../core/routing/rendezvous.ts'
import { idOfKey, verifySignature } from '../../io/keys/identity.ts'

type Place = {
  readonly node: string
  readonly region: string | null
  /** Gateways of one network that it links to; those named by hand are on top of them where they are not picked. */
  readonly perNetwork: number
  /** Links in all, those by hand left out: rivals could name gateways without end. */
  readonly most: number
}

export class RegionLinks {
  readonly #place: Place
  /** By who told of them: gateways that were named by hand. */
  readonly #heard = new Map<string, readonly GatewayCard[]>()

  constructor(place: Place) {
    this.#place = place
  }

  /** A gateway that the provider named tells which there are now. Cards that do not prove themselves are passed over. */
  heard(speaker: string, cards: readonly GatewayCard[]): void {
    const { region } = this.#place
    this.#heard.set(
      speaker,
      cards.filter((card) => servesRegion(card.region, region) && isProven(card)),
    )
  }

  /** Gateway → where to dial it. What one said that is away now still holds. */
  wanted(): ReadonlyMap<string, string> {
    const { node, perNetwork, most } = this.#place
    const wanted = new Map<string, string>()
    for (const cards of this.#heard.values()) {
      const urls = new Map(cards.map(({ gateway, url }) => [gateway, url]))
      for (const gateway of pickByRendezvous(node, [...urls.keys()], perNetwork)) {
        if (wanted.size < most || wanted.has(gateway)) wanted.set(gateway, urls.get(gateway) ?? '')
      }
    }
    return wanted
  }
}

const isProven = (card: GatewayCard): boolean =>
  idOfKey('gw', card.key) === card.gateway &&
  verifySignature(card.key, CARD_DOMAIN, cardText(card), card.signature)
