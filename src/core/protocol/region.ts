/**
 * How nodes learn the gateways of their region: any of them tells where the others are, each by a card that is signed by the one
 * it is about, so that nobody can lead nodes to another address.
 */
import { z } from 'zod'
import { canonicalJson } from '../base/canonical-json.ts'
import { MAX_KIN } from './kin.ts'

/** As regions in offers. */
export const MAX_REGION_CHARACTERS = 40
export const CARD_DOMAIN = 'baseload gateway card v1\n'

export const gatewayCardSchema = z.object({
  gateway: z.string().max(60),
  key: z.string().max(100),
  /** Where nodes dial it. */
  url: z.url({ protocol: /^https?$/ }).max(300),
  /** Null: it has none, and is for all. */
  region: z.string().max(MAX_REGION_CHARACTERS).nullable(),
  /** base64url Ed25519 of `gateway` over `CARD_DOMAIN` + `cardText`. */
  signature: z.string().max(200),
})
export type GatewayCard = z.infer<typeof gatewayCardSchema>

/** In a REGION frame: all that are there now, the speaker among them, whole each time. */
export const regionNewsSchema = z.object({ gateways: z.array(gatewayCardSchema).max(MAX_KIN) })
export type RegionNews = z.infer<typeof regionNewsSchema>

export const cardText = ({
  gateway,
  url,
  region,
}: Pick<GatewayCard, 'gateway' | 'url' | 'region'>): string =>
  canonicalJson({ v: 1, gateway, url, region })

/** A node in `eu-de` is served by gateways of `eu-de`, of `eu`, and by those without a region; a node that has none, by all. */
export const servesRegion = (gateway: string | null, node: string | null): boolean =>
  gateway === null || node === null || node === gateway || node.startsWith(`${gateway}-`)
