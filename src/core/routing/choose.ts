/**
 * Which replica gets the next attempt. The common case looks at two replicas (power of two choices) or at the
 * one that its prompt's prefix is at home on; only when these will not do are all of them looked at.
 */
import type { Random } from '../base/random.ts'
import { isRefusal, refuse, type Refusal } from '../base/refusal.ts'
import type { Millis } from '../base/time.ts'
import type { Capability } from '../protocol/offer.ts'
import type { ProviderPreferences } from '../protocol/provider-preferences.ts'
import { demandsOf, type Demands } from './demands.ts'
import { expectedFinishMs, measuredMs } from './expected-finish.ts'
import { explainNone, modelNotFound } from './explain.ts'
import { preferenceOrder, type Compare } from './preference-order.ts'
import { busySlots, isFull, isWell, type Pool, type Replica } from './replica.ts'
import type { ModelReplicas, ReplicaTable } from './replica-table.ts'

export type Choice = {
  readonly table: ReplicaTable
  readonly model: string
  /** What the request cannot do without; see `needsOf`, and a resume plan's own needs. */
  readonly needs: readonly Capability[]
  /** Prompt and answer together, estimated. A wish: when no replica holds so much, the node will say so. 0: none. */
  readonly contextTokensAtLeast: number
  /** Tokens the answer may have, estimated: weighs speed against first-token time. */
  readonly expectedTokens: number
  readonly preferences: ProviderPreferences
  /** Hash of the prompt's beginning, see `affinityOf`; null: no prefix worth a cache. */
  readonly affinity: number | null
  /**
   * Ids of nodes or of links already tried. A node that comes back has a new link: put the link's id in to allow
   * the node again, the node's id to be done with it.
   */
  readonly exclude: ReadonlySet<string>
  /** Resume needs the same weights and may need the same engine family; null: any. */
  readonly digest: string | null
  readonly engineFamily: string | null
  readonly now: Millis
  readonly random: Random
}

export type Chosen = { readonly chosen: Replica }
/** Somebody could serve it, and nobody has room now: queue it, or answer 429 with this retry-after. */
export type Full = { readonly full: true; readonly retryAfterS: number }

/** Random draws before all replicas are looked at. With half of them unfit, eight miss once in 256. */
const DRAWS = 8
/** Up to so many replicas, looking at all is as cheap as drawing, and better. */
const SCAN_BELOW = 5
/** How far along the ring a prompt may go from its home before load alone decides. */
const AFFINITY_STEPS = 4
/** SGLang's imbalance: a home so much fuller than the average is passed by. */
const AFFINITY_MAX_OVERLOAD = 1.5
/** A home so much slower than another replica is passed by: no cache makes up for it. */
const AFFINITY_MAX_SLOWDOWN = 3

/**
 * Chooses a replica, or says that all that fit are full, or refuses: `model_not_found`, `no_node_available`,
 * `no_matching_node`, `unsupported_feature`, or `invalid_value` for an ambiguous name. Records nothing: call
 * `recordDispatch` when the attempt is sent.
 */
export function chooseReplica(choice: Choice): Chosen | Full | Refusal {
  const shelf = choice.table.of(choice.model)
  if (!shelf) return modelNotFound(choice.model, choice.table.models())
  const pinned = refusePinned(choice)
  if (pinned) return pinned
  const demands = demandsOf(choice, shelf.replicas)
  if (isRefusal(demands)) return demands
  const chosen = shelf.pool.roomy > 0 ? chooseRoomy(choice, shelf, demands) : null
  return chosen ? { chosen } : noneFree(choice, shelf, demands)
}

function chooseRoomy(choice: Choice, shelf: ModelReplicas, demands: Demands): Replica | null {
  const order = preferenceOrder(choice, demands)
  const quick = order === null ? quickChoice(choice, shelf, demands) : null
  return quick ?? bestOfAll(choice, shelf, demands, order ?? byFinish(choice))
}

/** Without fallbacks and without an order the first replica tried is the only one. */
function refusePinned({ preferences, exclude, model }: Choice): Refusal | null {
  if (preferences.allowFallbacks || preferences.order.length > 0 || exclude.size === 0) return null
  return refuse(
    'no_node_available',
    `The node chosen for '${model}' failed, and provider.allow_fallbacks is false.`,
    { retryAfterS: RETRY_LOST_S, details: { model, tried: exclude.size } },
  )
}

/** A link comes back within seconds of a restart. */
const RETRY_LOST_S = 5

function quickChoice(choice: Choice, shelf: ModelReplicas, demands: Demands): Replica | null {
  const home = choice.affinity === null ? null : replicaAtHome(choice, shelf, demands)
  if (home) return home
  return shelf.replicas.length < SCAN_BELOW ? null : betterOfTwo(choice, shelf, demands)
}

/** The first two fitting draws; the one expected to finish earlier. */
function betterOfTwo(choice: Choice, shelf: ModelReplicas, demands: Demands): Replica | null {
  const { expectedTokens, now } = choice
  let first: Replica | null = null
  for (let i = 0; i < DRAWS; i++) {
    const drawn = draw(choice, shelf)
    if (drawn === first || !isAvailable(drawn, choice, demands)) continue
    if (first === null) first = drawn
    else
      return expectedFinishMs(drawn, expectedTokens, now) <
        expectedFinishMs(first, expectedTokens, now)
        ? drawn
        : first
  }
  return first
}

function draw({ random }: Choice, { replicas }: ModelReplicas): Replica {
  const drawn = replicas[Math.floor(random() * replicas.length)]
  if (!drawn) throw new RangeError(`no replica drawn of ${replicas.length}`)
  return drawn
}

/** The replica whose cache likely holds the prompt's beginning, unless going there would unbalance the load. */
function replicaAtHome(choice: Choice, shelf: ModelReplicas, demands: Demands): Replica | null {
  const { affinity, expectedTokens } = choice
  const { ring, pool } = shelf
  if (affinity === null || ring.size < 2) return null
  const place = ring.home(affinity)
  for (let step = 0; step < Math.min(AFFINITY_STEPS, ring.size); step++) {
    const home = ring.at(place + step)
    if (!home || !hasRoomAtHome(home, pool) || !isAvailable(home, choice, demands)) continue
    const own = measuredMs(home, expectedTokens)
    const other = measuredMs(draw(choice, shelf), expectedTokens)
    const slow = own !== null && other !== null && own > AFFINITY_MAX_SLOWDOWN * other
    return slow ? null : home
  }
  return null
}

/**
 * Affinity never makes an attempt wait for a slot, and beyond half of the home's slots it may not make the
 * home fuller than the average by more than the bound (consistent hashing with bounded loads).
 */
function hasRoomAtHome(home: Replica, pool: Readonly<Pool>): boolean {
  const busy = busySlots(home)
  if (busy >= home.slots) return false
  if (busy < home.slots / 2) return true
  return (busy + 1) * pool.slots <= AFFINITY_MAX_OVERLOAD * (pool.running + 1) * home.slots
}

/** Whether it may be chosen right now. */
function isAvailable(replica: Replica, choice: Choice, demands: Demands): boolean {
  return !isFull(replica) && isWell(replica, choice.now) && isOpen(replica, choice, demands)
}

/** Whether it may be chosen at all: not leaving, not tried, and all demands met. */
function isOpen(replica: Replica, { exclude }: Choice, demands: Demands): boolean {
  if (replica.draining) return false
  if (exclude.size > 0 && (exclude.has(replica.node) || exclude.has(replica.link))) return false
  for (const demand of demands.list) if (!demand.passes(replica)) return false
  return true
}

const byFinish =
  ({ expectedTokens, now }: Choice): Compare =>
  (a, b) =>
    expectedFinishMs(a, expectedTokens, now) - expectedFinishMs(b, expectedTokens, now)

/**
 * The best free replica. When all that fit are cooling down, the one whose cooldown ends first is tried all
 * the same (half-open): a bad chance is better than a refusal. Starts anywhere, so that equals share the load.
 */
function bestOfAll(
  choice: Choice,
  { replicas }: ModelReplicas,
  demands: Demands,
  compare: Compare,
): Replica | null {
  let best: Replica | null = null
  let resting: Replica | null = null
  const start = Math.floor(choice.random() * replicas.length)
  for (let i = 0; i < replicas.length; i++) {
    const replica = replicas[(start + i) % replicas.length]
    if (!replica || isFull(replica) || !isOpen(replica, choice, demands)) continue
    if (isWell(replica, choice.now)) {
      if (best === null || compare(replica, best) < 0) best = replica
    } else if (resting === null || restsUntil(replica) < restsUntil(resting)) resting = replica
  }
  return best ?? resting
}

const restsUntil = (replica: Replica): Millis => replica.cooldown?.until ?? 0

/** Nobody is free: those that fit are full, or the context wish was too great, or nobody fits. */
function noneFree(choice: Choice, shelf: ModelReplicas, demands: Demands): Chosen | Full | Refusal {
  const open: Replica[] = []
  for (const replica of shelf.replicas) {
    if (isOpen(replica, choice, demands)) open.push(replica)
    if (open.length === ESTIMATED_FROM) break
  }
  if (open.length > 0) return { full: true, retryAfterS: retryAfterS(open, choice) }
  if (choice.contextTokensAtLeast > 0) return chooseReplica({ ...choice, contextTokensAtLeast: 0 })
  return explainNone(choice, shelf.replicas, demands)
}

/** So many full replicas tell how long it takes: a full network must not cost a look at all of it. */
const ESTIMATED_FROM = 8
const MAX_RETRY_AFTER_S = 30

/** When the first of these is expected to have a slot free, in whole seconds from 1 to 30. */
function retryAfterS(open: readonly Replica[], { expectedTokens }: Choice): number {
  const waitsMs = open.map((one) => (measuredMs(one, expectedTokens) ?? 1000) / one.slots)
  return Math.min(MAX_RETRY_AFTER_S, Math.max(1, Math.ceil(Math.min(...waitsMs) / 1000)))
}
