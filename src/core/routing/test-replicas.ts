/** Replicas, tables and choices for the tests of this room. */
import { seededRandom } from '../base/random.ts'
import type { Refusal } from '../base/refusal.ts'
import type { Capability } from '../protocol/offer.ts'
import type { Tier } from '../protocol/tier.ts'
import { ANY_PROVIDER, type ProviderPreferences } from '../protocol/provider-preferences.ts'
import type { Choice, Chosen, Full } from './choose.ts'
import { replicaFrom, type Replica } from './replica.ts'
import { ReplicaTable } from './replica-table.ts'

export type Traits = {
  readonly node?: string
  readonly link?: string
  readonly model?: string
  readonly digest?: string
  readonly engine?: string
  readonly quantization?: string | null
  readonly contextTokens?: number
  readonly slots?: number
  readonly capabilities?: readonly Capability[]
  readonly inputPrice?: string
  readonly outputPrice?: string
  readonly region?: string | null
  readonly tier?: Tier
  readonly providerName?: string | null
  readonly dataCollection?: 'allow' | 'deny'
  readonly offerIndex?: number
}

/** `node_` and 24 characters that begin with the name. */
export const nodeId = (name: string | number): string => `node_${String(name).padEnd(24, '0')}`

export function aReplica(traits: Traits = {}): Replica {
  const node = traits.node ?? nodeId('a')
  return replicaFrom({
    link: traits.link ?? `link_${node.slice(5)}`,
    offer: {
      node,
      region: traits.region === undefined ? 'eu-de' : traits.region,
      providerName: traits.providerName ?? null,
      dataCollection: traits.dataCollection ?? 'deny',
    },
    model: {
      model: traits.model ?? 'bard-3m',
      digest: traits.digest ?? 'name:bard',
      engine: traits.engine ?? 'llama.cpp/3.22.1',
      quantization: traits.quantization ?? null,
      contextTokens: traits.contextTokens ?? 4096,
      slots: traits.slots ?? 4,
      capabilities: [...(traits.capabilities ?? ['chat', 'stop', 'resume_ids', 'seed'])],
      inputNanoUsdPerMTok: traits.inputPrice ?? '10000000',
      outputNanoUsdPerMTok: traits.outputPrice ?? '50000000',
    },
    offerIndex: traits.offerIndex ?? 0,
    tier: traits.tier ?? 'community',
    now: 0,
  })
}

/** A table of nodes n0, n1, … with these traits, each on its own link. */
export function aTable(traits: readonly Traits[]): { table: ReplicaTable; replicas: Replica[] } {
  const table = new ReplicaTable()
  const replicas = traits.map((one, index) => aReplica({ node: nodeId(`n${index}x`), ...one }))
  for (const replica of replicas) table.setOffer(replica.link, [replica], 0)
  return { table, replicas }
}

/** A chat that wants nothing special. */
export function aChoice(
  table: ReplicaTable,
  more: Partial<Omit<Choice, 'preferences'>> & { preferences?: Partial<ProviderPreferences> } = {},
): Choice {
  return {
    table,
    model: 'bard-3m',
    needs: ['chat'],
    contextTokensAtLeast: 0,
    expectedTokens: 100,
    affinity: null,
    exclude: new Set(),
    digest: null,
    engineFamily: null,
    now: 1000,
    random: seededRandom(7),
    ...more,
    preferences: { ...ANY_PROVIDER, ...more.preferences },
  }
}

/** What an answer says, for an assertion's message. */
export function reasonIn(answer: Chosen | Full | Refusal): string {
  if ('chosen' in answer) return `chose ${answer.chosen.node}`
  return 'full' in answer ? 'full' : answer.message
}
