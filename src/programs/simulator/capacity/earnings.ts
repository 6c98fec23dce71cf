/** What a newcomer's machine would have earned in the last week: alike machines put into the fleet, and what they got. */
import { nearNames } from '../../../core/routing/near-names.ts'
import { figuresOf } from './gpu-figures.ts'
import { earnedUsd, leaseUsd, ratio, spread, tokenUsd, type Spread } from './figures.ts'
import { quantileOf } from './histogram.ts'
import { HOUR } from './hours.ts'
import type { Settings } from './settings.ts'
import { simulate, type Outcome } from './simulation.ts'
import { gpuModelOf, type Offered } from './traces.ts'

export type EarningsWish = {
  readonly gpu: string
  readonly region: string
  /** USD an hour; null: the median of those who offer the same. */
  readonly usd: number | null
  /** USD for a kilowatt-hour; null: electricity is left out. */
  readonly wattPrice: number | null
}

/** One machine's week is luck; so many alike ones tell what is usual. */
export const NEWCOMERS = 20
/** Of the board's power while nothing runs. */
const IDLE_PART = 0.1

export type Earnings = {
  readonly gpu: string
  readonly region: string
  readonly usdPerHour: number
  readonly n: number
  readonly nodes: number
  readonly weekHours: number
  /** Means of the newcomers, hours of the week. */
  readonly offeredHours: number
  readonly leasedHours: number
  readonly leaseUsd: number
  readonly tokenUsd: number
  /** Of all requests that the fleet answered, one newcomer's. */
  readonly requestShare: number
  readonly requests: number
  readonly earnedUsd: Spread
  readonly electricityUsd: number | null
  readonly sameGpu: { readonly n: number; readonly usdPerHour: number; readonly earnedUsd: Spread }
  readonly allGpus: { readonly n: number; readonly earnedUsd: Spread }
  /** Part of those with the same GPU that ask more. */
  readonly cheaperThan: number
  readonly source: string
  readonly seed: number
}

/** The GPUs of the price list, each once. */
export const knownGpus = (offers: readonly Offered[]): string[] =>
  [...new Set(offers.map(({ gpu }) => gpu))].toSorted()

/** The offers of this GPU; none: then what may have been meant. */
export function offersOf(name: string, offers: readonly Offered[]): Offered[] {
  const wanted = gpuModelOf(name)
  return offers.filter(({ gpu }) => gpu === wanted)
}

export const nearGpus = (name: string, offers: readonly Offered[]): string[] =>
  nearNames(gpuModelOf(name), knownGpus(offers))

/** Throws a RangeError for a GPU that nobody offers: ask `offersOf` first. */
export function earningsOf(settings: Settings, wish: EarningsWish): Earnings {
  const same = offersOf(wish.gpu, settings.traces.offers)
  const [any] = same
  if (!any) throw new RangeError(`nobody offers a ${wish.gpu}`)
  const usd =
    wish.usd ??
    quantileOf(
      same.map((one) => one.usd),
      0.5,
    ) ??
    any.usd
  const { gpu, vramGib } = any
  const newcomers = { gpu, vramGib, region: wish.region, usd, count: NEWCOMERS }
  return summed(simulate({ ...settings, newcomers }), wish, usd)
}

export function summed(outcome: Outcome, wish: EarningsWish, usd: number): Earnings {
  const { tally, machines, settings } = outcome
  const gpu = gpuModelOf(wish.gpu)
  const own = machines.filter(({ newcomer }) => newcomer).map(({ index }) => index)
  const others = machines.filter(({ newcomer }) => !newcomer)
  const alike = others.filter(({ offered }) => offered.gpu === gpu)
  const mean = (value: (index: number) => number) =>
    ratio(
      own.reduce((total, index) => total + value(index), 0),
      own.length,
    )
  const perGpu = (all: typeof others) =>
    spread(all.map(({ index, offered }) => earnedUsd(outcome, index) / offered.gpus))
  const offeredHours = mean((index) => (tally.offeredMs[index] ?? 0) / HOUR)
  const leasedHours = mean((index) => (tally.leasedMs[index] ?? 0) / HOUR)
  const busyHours = mean((index) => (tally.busyMs[index] ?? 0) / HOUR / settings.slotsPerGpu)
  const served = mean((index) => tally.servedRequests[index] ?? 0)
  const { watts } = figuresOf(gpu)
  const workHours = Math.min(offeredHours, leasedHours + busyHours)
  const kilowattHours = (watts / 1000) * (workHours + IDLE_PART * (offeredHours - workHours))
  return {
    gpu,
    region: wish.region,
    usdPerHour: usd,
    n: own.length,
    nodes: others.length,
    weekHours: (tally.to - tally.from) / HOUR,
    offeredHours,
    leasedHours,
    leaseUsd: mean((index) => leaseUsd(outcome, index)),
    tokenUsd: mean((index) => tokenUsd(outcome, index)),
    requestShare: ratio(served, tally.answered),
    requests: served,
    earnedUsd: spread(own.map((index) => earnedUsd(outcome, index))),
    electricityUsd: wish.wattPrice === null ? null : wish.wattPrice * kilowattHours,
    sameGpu: {
      n: alike.length,
      usdPerHour:
        quantileOf(
          alike.map((one) => one.usd),
          0.5,
        ) ?? 0,
      earnedUsd: perGpu(alike),
    },
    allGpus: { n: others.length, earnedUsd: perGpu(others) },
    cheaperThan: ratio(alike.filter((one) => one.usd > usd).length, alike.length),
    source: settings.traces.source,
    seed: settings.seed,
  }
}

/** For people, with the reasons. */
export function earningsText(e: Earnings): string {
  const { earnedUsd: earned, sameGpu } = e
  const whole = e.leaseUsd + e.tokenUsd
  const lines = [
    `One ${e.gpu} in ${e.region} at ${usdText(e.usdPerHour)} an hour: ${usdText(earned.p50)} in a week (p10 ${usdText(earned.p10)}, p90 ${usdText(earned.p90)}; n=${e.n} alike newcomers among ${e.nodes} nodes).`,
    `  offered   ${hoursText(e.offeredHours)} of ${hoursText(e.weekHours)}: machines like this are there 90 to 95 % of the time`,
    `  leased    ${hoursText(e.leasedHours)} (${percent(ratio(e.leasedHours, e.offeredHours))} of the time offered): ${usdText(e.leaseUsd)}`,
    `  requests  ${Math.round(e.requests)} (${percent(e.requestShare)} of all): ${usdText(e.tokenUsd)}`,
    `  price     cheaper than ${percent(e.cheaperThan)} of the ${sameGpu.n} nodes with the same GPU; their median asks ${usdText(sameGpu.usdPerHour)}`,
    `  others    a ${e.gpu} earned ${usdText(sameGpu.earnedUsd.p50)} (p10 ${usdText(sameGpu.earnedUsd.p10)}, p90 ${usdText(sameGpu.earnedUsd.p90)}), any GPU ${usdText(e.allGpus.earnedUsd.p50)}`,
  ]
  if (e.electricityUsd !== null)
    lines.push(
      `  power     ${usdText(e.electricityUsd)} of electricity, which leaves ${usdText(whole - e.electricityUsd)} of a mean of ${usdText(whole)}`,
    )
  lines.push(
    `Simulated from ${e.source}, seed ${e.seed}; no promise. docs/capacity.md says what is assumed.`,
  )
  return `${lines.join('\n')}\n`
}

export const usdText = (usd: number): string => `${usd < 0 ? '−' : ''}$${Math.abs(usd).toFixed(2)}`
const hoursText = (hours: number): string => `${hours.toFixed(1)} h`
export const percent = (part: number): string =>
  `${(100 * part).toFixed(part < 0.001 && part > 0 ? 3 : 1)} %`
