/**
 * What a gateway counts, as Prometheus reads it. docs/operations.md says what each name means and when to worry.
 * The hot path adds to plain numbers; labels and text are made when somebody asks. (prom-client's own `inc` and
 * `observe` cost 0.4 µs each, measured: too much, half a dozen times a request.)
 */
import { collectDefaultMetrics, Counter, Gauge, Registry } from 'prom-client'
import type { NanoUsd } from '../../core/base/money.ts'
import type { Api } from '../../core/protocol/inference-request.ts'
import { createHistogram } from './histogram.ts'

/** A Prometheus server keeps every label value for ever: more models than this are counted as `other`. */
export const MAX_MODEL_LABELS = 100

/** How an attempt on one node ended. `resumed` is counted beside `lost`: another node went on from its last token. */
export const ATTEMPT_OUTCOMES = ['ok', 'resumed', 'busy', 'lost', 'failed', 'cancelled'] as const
export type AttemptOutcome = (typeof ATTEMPT_OUTCOMES)[number]

/** What is counted elsewhere anyway, read when somebody asks. */
export type GatewayReadings = {
  readonly nodesLinked: number
  readonly slotsFree: ReadonlyMap<string, number>
  /** Requests that wait for a free slot. */
  readonly queueDepth: number
  /** Settlements that wait to be committed. */
  readonly settlementBacklog: number
  /** Attempts that ended and whose receipts have not come yet. */
  readonly receiptsPending: number
  /** Open leases that this gateway looks after, and those of them that have no node. */
  readonly leases: { readonly open: number; readonly homeless: number }
}

export type GatewayMetrics = {
  /** `model` null: the request named none that is offered. Give only names that some node offers. */
  request(api: Api, model: string | null, status: number, seconds: number): void
  firstToken(seconds: number): void
  /** The gateway's own share: from the whole request to the first dispatch. */
  addedLatency(seconds: number): void
  tokens(model: string, input: number, output: number): void
  attempt(outcome: AttemptOutcome): void
  settled(nanoUsd: NanoUsd): void
  /** A receipt that did not say what the gateway saw. */
  disputed(): void
  /** A node said what no honest node says. */
  quarantined(): void
  /** Where the gauges come from; call it once the gateway stands. */
  watch(read: () => GatewayReadings): void
  /** Prometheus text format 0.0.4. */
  text(): Promise<string>
}

export function createGatewayMetrics(): GatewayMetrics {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const models = modelTallies()
  const attempts = new Map<AttemptOutcome, number>(ATTEMPT_OUTCOMES.map((outcome) => [outcome, 0]))
  const durations = createHistogram(
    'baseload_request_duration_seconds',
    'From the request to the end of its answer.',
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300],
  )
  const firstTokens = createHistogram(
    'baseload_first_token_seconds',
    'From the request to the first token sent to the tenant.',
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
  )
  const addedLatencies = createHistogram(
    'baseload_added_latency_seconds',
    'What the gateway itself adds before the first dispatch: key, admission, routing.',
    [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.1],
  )
  let settledNanoUsd = 0n
  let disputes = 0
  let quarantines = 0
  let read: (() => GatewayReadings) | null = null

  exportModels(registry, models)
  exportTotals(registry, attempts, () => ({ settledNanoUsd, disputes, quarantines }))
  exportReadings(registry, () => read?.() ?? null)
  return {
    request(api, model, status, seconds) {
      models.of(model ?? 'none').request(api, status)
      durations.observe(seconds)
    },
    firstToken: (seconds) => firstTokens.observe(seconds),
    addedLatency: (seconds) => addedLatencies.observe(seconds),
    tokens(model, input, output) {
      const tally = models.of(model)
      tally.inputTokens += input
      tally.outputTokens += output
    },
    attempt: (outcome) => void attempts.set(outcome, (attempts.get(outcome) ?? 0) + 1),
    settled: (nanoUsd) => void (settledNanoUsd += nanoUsd),
    disputed: () => void (disputes += 1),
    quarantined: () => void (quarantines += 1),
    watch: (source) => void (read = source),
    text: async () =>
      (await registry.metrics()) + durations.text() + firstTokens.text() + addedLatencies.text(),
  }
}

class ModelTally {
  readonly requests: Readonly<Record<Api, Map<number, number>>> = {
    chat: new Map(),
    completion: new Map(),
    embedding: new Map(),
  }
  inputTokens = 0
  outputTokens = 0

  request(api: Api, status: number): void {
    const byStatus = this.requests[api]
    byStatus.set(status, (byStatus.get(status) ?? 0) + 1)
  }
}

type ModelTallies = {
  of(model: string): ModelTally
  all(): Iterable<readonly [string, ModelTally]>
}

function modelTallies(): ModelTallies {
  const byModel = new Map<string, ModelTally>()
  const other = new ModelTally()
  return {
    of(model) {
      const known = byModel.get(model)
      if (known) return known
      if (byModel.size >= MAX_MODEL_LABELS) return other
      const fresh = new ModelTally()
      byModel.set(model, fresh)
      return fresh
    },
    all: () => (byModel.size < MAX_MODEL_LABELS ? byModel : [...byModel, ['other', other]]),
  }
}

function exportModels(registry: Registry, models: ModelTallies): void {
  registry.registerMetric(
    new Counter({
      name: 'baseload_requests_total',
      help: 'Requests answered, by API, model and HTTP status.',
      labelNames: ['api', 'model', 'status'],
      registers: [],
      collect() {
        this.reset()
        for (const [model, { requests }] of models.all())
          for (const [api, byStatus] of Object.entries(requests))
            for (const [status, count] of byStatus) this.inc({ api, model, status }, count)
      },
    }),
  )
  registry.registerMetric(
    new Counter({
      name: 'baseload_tokens_total',
      help: 'Tokens read (input) and written (output), by model.',
      labelNames: ['model', 'direction'],
      registers: [],
      collect() {
        this.reset()
        for (const [model, tally] of models.all()) {
          this.inc({ model, direction: 'input' }, tally.inputTokens)
          this.inc({ model, direction: 'output' }, tally.outputTokens)
        }
      },
    }),
  )
}

function exportTotals(
  registry: Registry,
  attempts: ReadonlyMap<AttemptOutcome, number>,
  totals: () => { settledNanoUsd: NanoUsd; disputes: number; quarantines: number },
): void {
  registry.registerMetric(
    new Counter({
      name: 'baseload_attempts_total',
      help: 'Attempts on nodes, by how they ended.',
      labelNames: ['outcome'],
      registers: [],
      collect() {
        this.reset()
        for (const [outcome, count] of attempts) this.inc({ outcome }, count)
      },
    }),
  )
  registry.registerMetric(
    new Counter({
      name: 'baseload_settled_usd_total',
      help: 'Money moved from tenants to nodes, in dollars. For display: the ledger is exact.',
      registers: [],
      collect() {
        this.reset()
        this.inc(Number(totals().settledNanoUsd) / 1e9)
      },
    }),
  )
  registry.registerMetric(
    new Counter({
      name: 'baseload_receipts_disputed_total',
      help: 'Receipts that did not say what the gateway saw: paid by its own count, if at all.',
      registers: [],
      collect() {
        this.reset()
        this.inc(totals().disputes)
      },
    }),
  )
  registry.registerMetric(
    new Counter({
      name: 'baseload_node_faults_total',
      help: 'Answers and receipts that no honest node sends; their nodes are quarantined.',
      registers: [],
      collect() {
        this.reset()
        this.inc(totals().quarantines)
      },
    }),
  )
}

function exportReadings(registry: Registry, read: () => GatewayReadings | null): void {
  const gauge = (name: string, help: string, value: (now: GatewayReadings) => number): void => {
    registry.registerMetric(
      new Gauge({
        name,
        help,
        registers: [],
        collect() {
          const now = read()
          if (now) this.set(value(now))
        },
      }),
    )
  }
  gauge('baseload_nodes_linked', 'Nodes linked to this gateway.', (now) => now.nodesLinked)
  gauge('baseload_queue_depth', 'Requests that wait for a free slot.', (now) => now.queueDepth)
  gauge(
    'baseload_settlement_backlog',
    'Settlements that wait to be committed.',
    (now) => now.settlementBacklog,
  )
  gauge(
    'baseload_receipts_pending',
    'Attempts that ended and whose receipts have not come yet.',
    (now) => now.receiptsPending,
  )
  gauge('baseload_leases_open', 'Leases this gateway looks after.', (now) => now.leases.open)
  gauge(
    'baseload_leases_homeless',
    'Of these, leases that have no node just now.',
    (now) => now.leases.homeless,
  )
  registry.registerMetric(
    new Gauge({
      name: 'baseload_slots_free',
      help: 'Attempts that could start at once, by model.',
      labelNames: ['model'],
      registers: [],
      collect() {
        this.reset()
        for (const [model, free] of capped(read()?.slotsFree)) this.set({ model }, free)
      },
    }),
  )
}

const capped = (slots: ReadonlyMap<string, number> = new Map()) =>
  [...slots].slice(0, MAX_MODEL_LABELS)
