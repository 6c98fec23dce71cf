/** Sealed secrets and the keys they are sealed to, as JSON. */
import { z } from '@hono/zod-openapi'
import { secretEnvelopeSchema } from '../../../core/protocol/secrets.ts'
import type { SealingKeys } from '../leases/lease-service.ts'

/** An SDL file with more placements is none that we know. */
const MAX_ENVELOPES = 64

const groups = z.array(secretEnvelopeSchema).max(MAX_ENVELOPES).openapi({
  description: 'An envelope for each group that has secrets; docs/protocol.md draws it.',
})

export const secretsSchema = z.strictObject({ groups }).openapi({
  description: 'In the place of all that were sealed before; left out, those stay.',
})

export const newSecretsSchema = z
  .strictObject({
    nonce: z
      .string()
      .regex(/^[\w-]{22}$/)
      .openapi({ description: "16 random bytes, base64url. The deployment's id follows from it." }),
    groups,
  })
  .openapi({ description: 'Sealed by `baseload deploy`; the gateway cannot open them.' })

export const sealingKeysSchema = z
  .object({
    object: z.literal('sealing_keys'),
    tenant: z.string(),
    deployment: z.string().nullable(),
    groups: z.array(
      z.object({
        group: z.string(),
        nodes: z.array(
          z.object({
            node: z.string(),
            node_key: z.string().openapi({ description: 'Ed25519, base64url.' }),
            sealing_key: z.string().openapi({ description: 'X25519, base64url.' }),
            signature: z.string().openapi({ description: "The node's, over its sealing key." }),
          }),
        ),
        reasons: z.array(z.string()).openapi({ description: 'Why the other nodes cannot.' }),
      }),
    ),
  })
  .openapi('SealingKeys')

export const sealingKeysJson = ({ tenant, deployment, groups: all }: SealingKeys) => ({
  object: 'sealing_keys' as const,
  tenant,
  deployment,
  groups: all.map(({ group, nodes, reasons }) => ({
    group,
    nodes: nodes.map(({ node, nodeKey, key, signature }) => ({
      node,
      node_key: nodeKey,
      sealing_key: key,
      signature,
    })),
    reasons: [...reasons],
  })),
})
