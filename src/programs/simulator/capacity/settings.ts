/** What a simulation is run with. Every default says where it comes from. */
import { DAY, type Millis } from '../../../core/base/time.ts'
import type { Newcomers } from './machines.ts'
import type { Traces } from './traces.ts'

export type Settings = {
  readonly seed: number
  readonly traces: Traces
  readonly nodes: number
  readonly days: number
  /** What runs before anything is counted: queues and leases settle. */
  readonly warmUpMs: Millis
  /** Part of all GPUs that tenants want to lease at a time: Akash had 72.1 % leased in May 2026. */
  readonly load: number
  /** Mean rate; the trace is sped up or slowed down to it. 0: none. */
  readonly requestsPerS: number
  /** Models served, each node one of them. */
  readonly models: number
  /** Answers that a GPU gives at the same time. */
  readonly slotsPerGpu: number
  /** Salad calls a gaming PC 90 to 95 % reliable. */
  readonly reliability: { readonly from: number; readonly to: number }
  /** A zone (eu, us, ap) is lost whole so often, each of them, for an exponential time of this mean. Assumed. */
  readonly outages: { readonly perMonth: number; readonly meanMs: Millis }
  readonly churn: boolean
  readonly newcomers: Newcomers | null
  /** USD for a million tokens, the same at every node. Assumed. */
  readonly tokenPrice: { readonly inputUsd: number; readonly outputUsd: number }
  /** Before a container is back on another node: null, its image is there; else drawn from Salad's start-up times. */
  readonly pullsImages: boolean
}

export const settingsOf = (traces: Traces, more: Partial<Settings> = {}): Settings => ({
  seed: 1,
  traces,
  nodes: 1000,
  days: 7,
  warmUpMs: DAY / 2,
  load: 0.72,
  requestsPerS: 5.5,
  models: 1,
  slotsPerGpu: 4,
  reliability: { from: 0.9, to: 0.95 },
  outages: { perMonth: 1, meanMs: DAY / 24 },
  churn: true,
  newcomers: null,
  tokenPrice: { inputUsd: 0.05, outputUsd: 0.1 },
  pullsImages: false,
  ...more,
})
