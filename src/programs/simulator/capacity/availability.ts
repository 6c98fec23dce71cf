/**
 * Months of churn: how many interactive requests are answered with so much spare capacity, and how long a single lease is
 * away when its node is lost. Three runs of the same traces: what is needed, what is answered, what leases have.
 */
import { DAY } from '../../../core/base/time.ts'
import { figuresFrom, ratio, type Figures } from './figures.ts'
import { HOUR, WEEK } from './hours.ts'
import { settingsOf, type Settings } from './settings.ts'
import { simulate, type Outcome } from './simulation.ts'
import type { Offered, Traces } from './traces.ts'

export type AvailabilityWish = {
  readonly days: number
  readonly requestsPerS: number
  readonly seed: number
  /** Capacity beyond what the load needs, in percent: the first that reaches the target ends the search. */
  readonly sparePercents: readonly number[]
}

export const TARGET = 0.9999
/** Three zones of the same small machines: what is lost with a zone is a third. */
const ZONES = ['eu-de', 'us-wa', 'ap-jp'] as const
const SLOTS = 2
const NEEDED_PART = 0.9999
/** Answers that a machine of this kind gives at 21 tokens a second are long enough to meet a death. */
const GPU = 'rtxa2000'
const LEASED_NODES = 300
const LEASE_MS = WEEK

export type Attempted = {
  readonly sparePercent: number
  readonly nodes: number
  readonly figures: Figures
}

export type Availability = {
  readonly days: number
  readonly target: number
  readonly requestsPerS: number
  /** Slots that were enough for 99.99 % of the time where no node ever dies, and the nodes that have so many. */
  readonly neededSlots: number
  readonly neededNodes: number
  readonly tried: readonly Attempted[]
  /** The first that reached the target; null: none did. */
  readonly enough: Attempted | null
  /** Image in place at the next node, as measured; and pulled there first, as Salad's start-up took. */
  readonly leases: Figures['leases']
  readonly leasesPulled: Figures['leases']
}

export function availabilityOf(traces: Traces, wish: AvailabilityWish): Availability {
  const { days, requestsPerS, seed } = wish
  const offers = ZONES.map((region): Offered => ({
    gpu: GPU,
    region,
    gpus: 1,
    vramGib: 6,
    usd: 0.1,
  }))
  const base: Settings = settingsOf(
    { ...traces, offers },
    { seed, requestsPerS, slotsPerGpu: SLOTS, load: 0, days, warmUpMs: HOUR },
  )
  const neededSlots = slotsNeeded(
    simulate({ ...base, nodes: 4000, churn: false, days: Math.min(days, 1) }),
  )
  const neededNodes = Math.ceil(neededSlots / SLOTS)
  const tried: Attempted[] = []
  for (const sparePercent of wish.sparePercents) {
    const nodes = Math.ceil(neededNodes * (1 + sparePercent / 100))
    const figures = figuresFrom(simulate({ ...base, nodes }))
    tried.push({ sparePercent, nodes, figures })
    if (figures.requests.availability >= TARGET) break
  }
  const enough = tried.find(({ figures }) => figures.requests.availability >= TARGET) ?? null
  const leases = (pullsImages: boolean) => leasesOf(traces, offers, { days, seed, pullsImages })
  return {
    days,
    target: TARGET,
    requestsPerS,
    neededSlots,
    neededNodes,
    tried,
    enough,
    leases: leases(false),
    leasesPulled: leases(true),
  }
}

/** Week-long leases of one GPU, half of the fleet's, through the same months. */
function leasesOf(
  traces: Traces,
  offers: readonly Offered[],
  more: Pick<Settings, 'days' | 'seed' | 'pullsImages'>,
): Figures['leases'] {
  const jobs = [{ cpuMilli: 2000, memoryBytes: 4 * 2 ** 30, gpus: 1, lengthMs: LEASE_MS }]
  const settings = settingsOf(
    { ...traces, offers, jobs },
    { ...more, nodes: LEASED_NODES, load: 0.5, requestsPerS: 0, warmUpMs: DAY },
  )
  return figuresFrom(simulate(settings)).leases
}

/** So many answers at once or fewer, for 99.99 % of the time. */
function slotsNeeded({ tally }: Outcome): number {
  const whole = tally.runningMs.reduce((sum, ms) => sum + ms, 0)
  let seen = 0
  for (let at = 0; at < tally.runningMs.length; at++) {
    seen += tally.runningMs[at] ?? 0
    if (seen >= NEEDED_PART * whole) return Math.max(1, at)
  }
  return tally.mostRunning
}

export function availabilityText(a: Availability): string {
  const lines = [
    `${a.days} days, ${a.requestsPerS} requests a second, nodes 90 to 95 % reliable; the load needs ${a.neededSlots} slots at once (99.99 % of the time): ${a.neededNodes} nodes if none ever died.`,
    'spare    nodes  answered      n           refused  lost  resumed  zone outages',
    ...a.tried.map(({ sparePercent, nodes, figures: { requests, zoneOutages } }) =>
      [
        `${sparePercent} %`.padEnd(9),
        String(nodes).padEnd(7),
        percentText(requests.availability).padEnd(14),
        String(requests.n).padEnd(12),
        String(requests.refused).padEnd(9),
        String(requests.lost).padEnd(6),
        String(requests.resumed).padEnd(9),
        String(zoneOutages),
      ].join(''),
    ),
    a.enough
      ? `✓ at least ${percentText(a.target)} with ${a.enough.sparePercent} % spare capacity`
      : `✗ no spare capacity that was tried reached ${percentText(a.target)}: try more with --spare`,
    leaseLine('Single leases, the image there already', a.leases),
    leaseLine('Single leases, 5.5 GB pulled first', a.leasesPulled),
  ]
  return `${lines.join('\n')}\n`
}

const leaseLine = (
  name: string,
  { availability, losses, recoverMs, leasedHours }: Figures['leases'],
): string =>
  `${name}: ${percentText(availability)} available; back after ${seconds(recoverMs.p50)} (p50), ${seconds(recoverMs.p90)} (p90), ${seconds(recoverMs.p99)} (p99); n=${losses} losses in ${Math.round(leasedHours)} leased hours, one in ${Math.round(ratio(leasedHours, losses))} h`

const seconds = (ms: number): string =>
  ms < 90_000 ? `${(ms / 1000).toFixed(1)} s` : `${(ms / 60_000).toFixed(1)} min`
const percentText = (part: number): string => `${(Math.floor(part * 1e6) / 1e4).toFixed(4)} %`
