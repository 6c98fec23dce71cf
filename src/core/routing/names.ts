/**
 * Names in `provider.order`, `only` and `ignore`: a node's id, a provider's name (case does not matter), or
 * the beginning of a node's id where only one node begins so.
 */
import { refuse, type Refusal } from '../base/refusal.ts'
import type { ProviderPreferences } from '../protocol/provider-preferences.ts'
import type { Replica } from './replica.ts'

export type NameRanks = {
  /** Place of the first name that means this replica; null when none does. */
  readonly rank: (replica: Replica) => number | null
}

/** `node_` and four characters: shorter ones are taken for a provider's name. */
const MIN_PREFIX = 9
const NODE_ID_LENGTH = 29

export function readNames(
  key: 'order' | 'only' | 'ignore',
  preferences: ProviderPreferences,
  replicas: readonly Replica[],
): NameRanks | Refusal {
  const names = preferences[key]
  const ranks = new Map<string, number>()
  names.forEach((name, index) => addRank(ranks, name.toLowerCase(), index))
  const prefixes = names.filter(isPrefix)
  for (const [prefix, nodes] of nodesByPrefix(prefixes, replicas)) {
    const [node, another] = nodes
    if (another !== undefined) return ambiguous(key, prefix, nodes.size)
    if (node !== undefined) addRank(ranks, node, names.indexOf(prefix))
  }
  return { rank: (replica) => rankIn(ranks, replica) }
}

const isPrefix = (name: string): boolean =>
  name.startsWith('node_') && name.length >= MIN_PREFIX && name.length < NODE_ID_LENGTH

function addRank(ranks: Map<string, number>, name: string, rank: number): void {
  ranks.set(name, Math.min(rank, ranks.get(name) ?? rank))
}

function rankIn(ranks: ReadonlyMap<string, number>, replica: Replica): number | null {
  const byNode = ranks.get(replica.node)
  const byProvider = replica.providerName
    ? ranks.get(replica.providerName.toLowerCase())
    : undefined
  if (byNode === undefined) return byProvider ?? null
  return byProvider === undefined ? byNode : Math.min(byNode, byProvider)
}

/** One pass over the replicas: only those whose first characters some prefix shares are compared. */
function nodesByPrefix(
  prefixes: readonly string[],
  replicas: readonly Replica[],
): Map<string, Set<string>> {
  const found = new Map(prefixes.map((prefix) => [prefix, new Set<string>()]))
  if (found.size === 0) return found
  const byStart = new Map<string, string[]>()
  for (const prefix of found.keys()) {
    const start = prefix.slice(0, MIN_PREFIX)
    byStart.set(start, [...(byStart.get(start) ?? []), prefix])
  }
  for (const { node } of replicas) {
    for (const prefix of byStart.get(node.slice(0, MIN_PREFIX)) ?? []) {
      if (node.startsWith(prefix)) found.get(prefix)?.add(node)
    }
  }
  return found
}

function ambiguous(key: string, prefix: string, nodes: number): Refusal {
  return refuse(
    'invalid_value',
    `'${prefix}' in 'provider.${key}' is the beginning of ${nodes} nodes' ids: write more of it.`,
    { param: `provider.${key}`, details: { nodes } },
  )
}
