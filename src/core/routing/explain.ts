/** Why nobody can be chosen, with the numbers: which demand excludes how many nodes, and what would help. */
import { refuse, type Refusal, type RefusalDetails } from '../base/refusal.ts'
import type { Capability } from '../protocol/offer.ts'
import type { Demands } from './demands.ts'
import { nearNames } from './near-names.ts'
import { can, type Replica } from './replica.ts'

/** A lost node is usually back within seconds. */
const RETRY_S = 5

/** Nothing is known of this model: it does not exist, or no node at all is here to tell. */
export function modelNotFound(model: string, known: readonly string[]): Refusal {
  if (known.length === 0)
    return unavailable(`No node is linked now, so nobody can serve '${model.slice(0, 200)}'.`, {
      nodes: 0,
    })
  const near = nearNames(model, known)
  const hint = near.length > 0 ? ` Did you mean ${near.join(' or ')}?` : ''
  return refuse(
    'model_not_found',
    `No node serves the model '${model.slice(0, 200)}'.${hint} GET /v1/models lists all ${known.length}.`,
    { param: 'model', details: { models: known.length, near: near.join(', ') } },
  )
}

/** For when no replica at all is open to the request: not even a full one. */
export function explainNone(
  asked: {
    model: string
    needs: readonly Capability[]
    exclude: ReadonlySet<string>
  },
  replicas: readonly Replica[],
  { list }: Demands,
): Refusal {
  const { model, needs } = asked
  if (replicas.length === 0)
    return unavailable(`No node that serves '${model}' is linked now.`, { model, nodes: 0 })
  const missing = needs.find((need) => !replicas.some((replica) => can(replica, need)))
  if (missing) return unsupported(model, missing, replicas.length)
  const matching = replicas.filter((replica) => list.every(({ passes }) => passes(replica)))
  if (matching.length === 0) return noMatch(model, replicas, { list })
  const draining = matching.filter((replica) => replica.draining).length
  const tried = matching.length - draining
  return unavailable(
    `Of ${matching.length} fitting nodes for '${model}', ${tried} failed this request already and ${draining} are leaving.`,
    { model, nodes: replicas.length, fitting: matching.length, tried, draining },
  )
}

const unavailable = (what: string, details: RefusalDetails): Refusal =>
  refuse('no_node_available', `${what} Nothing was charged; try again in ${RETRY_S} s.`, {
    retryAfterS: RETRY_S,
    details,
  })

function noMatch(model: string, replicas: readonly Replica[], { list }: Pick<Demands, 'list'>) {
  const total = replicas.length
  const details: Record<string, string | number> = { model, nodes: total }
  const reasons: string[] = []
  for (const { name, passes, says } of list) {
    const failing = replicas.filter((replica) => !passes(replica))
    if (failing.length === 0) continue
    details[name] = failing.length
    reasons.push(`${failing.length} of ${total} ${says(failing)}`)
  }
  return refuse(
    'no_matching_node',
    `No node that serves '${model}' fits: ${reasons.join('; ')}. Relax one of these.`,
    { param: 'provider', details },
  )
}

function unsupported(model: string, missing: Capability, nodes: number): Refusal {
  const param = PARAMETER[missing]
  return refuse(
    'unsupported_feature',
    `'${param ?? missing}' needs the capability '${missing}', which no node that serves '${model}' has (${nodes} asked). Leave it out, or choose another model: GET /v1/models.`,
    { ...(param && { param }), details: { model, capability: missing, nodes } },
  )
}

/** Which request parameter asks for a capability; null for what only the gateway itself asks for. */
const PARAMETER: Record<Capability, string | null> = {
  chat: 'messages',
  completion: 'prompt',
  embedding: 'input',
  logprobs: 'logprobs',
  token_ids: null,
  seed: 'seed',
  positional_seed: 'seed',
  json_object: 'response_format',
  json_schema: 'response_format',
  stop: 'stop',
  resume_ids: null,
  resume_text: null,
}
