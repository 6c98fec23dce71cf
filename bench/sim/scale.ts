/** The two parts of the bench: the whole simulation, and the market and routing table with ten times the nodes. */
import { seededRandom } from '../../src/core/base/random.ts'
import { BIDS_TO_FALL_BACK_ON } from '../../src/core/market/auction.ts'
import { Market } from '../../src/core/market/market.ts'
import { CAPABILITIES } from '../../src/core/protocol/offer.ts'
import { ANY_PROVIDER } from '../../src/core/protocol/provider-preferences.ts'
import { chooseReplica } from '../../src/core/routing/choose.ts'
import { recordDispatch, replicaFrom } from '../../src/core/routing/replica.ts'
import { ReplicaTable } from '../../src/core/routing/replica-table.ts'
import { madeUpTraces } from '../../src/programs/simulator/capacity/made-up.ts'
import { settingsOf } from '../../src/programs/simulator/capacity/settings.ts'
import { simulate } from '../../src/programs/simulator/capacity/simulation.ts'
import { anAsk, fleet } from '../market/fleet.ts'

const REQUESTS_PER_S = 100
const WARM_UP_MS = 600_000
/** Nobody serves one model from a million nodes. */
const MODELS = 256
const ORDERS = 2000
const CHOICES = 200_000

export function atScale(nodes: number, hours: number): Record<string, number> {
  const traces = madeUpTraces()
  const before = cpuS()
  let setUp = 0
  const outcome = simulate(
    settingsOf(traces, {
      nodes,
      days: hours / 24,
      warmUpMs: WARM_UP_MS,
      requestsPerS: REQUESTS_PER_S,
      models: 64,
    }),
    () => {
      setUp = cpuS() - before
    },
  )
  const spent = cpuS() - before - setUp
  const virtualS = hours * 3600 + WARM_UP_MS / 1000
  const { requests, orders } = outcome.tally
  return {
    setUpS: round(setUp),
    virtualS,
    cpuS: round(spent),
    ratio: round(virtualS / spent),
    ...memory(nodes),
    requests,
    orders,
    events: outcome.events,
  }
}

export function inMarketAndRouting(nodes: number): Record<string, number> {
  const random = seededRandom(1)
  const [market, table] = [new Market(), new ReplicaTable()]
  let before = cpuS()
  let index = 0
  for (const facts of fleet(nodes, random)) {
    index += 1
    // Ids of machines are as long as real ones.
    const node = `node_${String(index).padStart(24, '0')}`
    market.setNode({ ...facts, node })
    const link = `link_${index}`
    const model = {
      model: `model-${index % MODELS}`,
      digest: 'name:model',
      engine: 'simulated/1',
      quantization: null,
      contextTokens: 131_072,
      slots: 4,
      capabilities: [...CAPABILITIES],
      inputNanoUsdPerMTok: '50000000',
      outputNanoUsdPerMTok: '100000000',
    }
    const offer = {
      node,
      region: facts.capacity.region,
      providerName: null,
      dataCollection: 'deny' as const,
    }
    table.setOffer(
      link,
      [replicaFrom({ link, offer, model, offerIndex: 0, tier: 'community', now: 0 })],
      0,
    )
  }
  const setUpS = round(cpuS() - before)
  before = cpuS()
  let leased = 0
  for (let i = 0; i < ORDERS; i++) {
    const ask = anAsk(random)
    market.observe(ask.group)
    for (const bid of market.bids(ask, BIDS_TO_FALL_BACK_ON)) {
      const placing = market.place(ask, bid)
      if (!placing || !market.reserve(`lease_${i}`, placing)) continue
      leased += 1
      break
    }
  }
  const leasesPerS = Math.round(leased / (cpuS() - before))
  before = cpuS()
  let chosen = 0
  for (let i = 0; i < CHOICES; i++) {
    const answer = chooseReplica({
      table,
      model: `model-${i % MODELS}`,
      needs: ['chat'],
      contextTokensAtLeast: 0,
      expectedTokens: 256,
      preferences: ANY_PROVIDER,
      affinity: null,
      exclude: NOBODY,
      digest: null,
      engineFamily: null,
      now: 1000,
      random,
    })
    if (!('chosen' in answer)) continue
    recordDispatch(answer.chosen)
    chosen += 1
  }
  const choicesPerS = Math.round(chosen / (cpuS() - before))
  return { setUpS, leasesPerS, choicesPerS, ...memory(nodes) }
}

const NOBODY: ReadonlySet<string> = new Set()

/** The most that this process ever held. */
function memory(nodes: number): { rssMb: number; bytesPerNode: number } {
  const bytes = process.resourceUsage().maxRSS * 1024
  return { rssMb: Math.round(bytes / 1e6), bytesPerNode: Math.round(bytes / nodes) }
}

function cpuS(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e6
}

const round = (value: number): number => Math.round(value * 10) / 10
