/**
 * Gateways of one network vouch for each other, so that one can speak about the leases of another: when that one is dead,
 * or when a tenant happens to ask here. A node believes the signature, not the one who shows it.
 */
import { z } from 'zod'
import { canonicalJson } from '../base/canonical-json.ts'

/** More gateways over one database than anyone runs. */
export const MAX_KIN = 64
export const KIN_DOMAIN = 'baseload kin v1\n'

export const kinProofSchema = z.object({
  /** Who vouches; its id is derived from its key. */
  gateway: z.string().max(60),
  key: z.string().max(100),
  /** base64url Ed25519 over `KIN_DOMAIN` + `kinText`. */
  signature: z.string().max(200),
})
export type KinProof = z.infer<typeof kinProofSchema>

/** What `gateway` signs: `kin` may speak for it about its leases. */
export const kinText = (gateway: string, kin: string): string =>
  canonicalJson({ v: 1, gateway, kin })
