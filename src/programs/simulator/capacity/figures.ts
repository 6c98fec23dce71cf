/** What came of a simulation, in figures with their n. */
import { HOUR, WEEK } from './hours.ts'
import { quantileOf } from './histogram.ts'
import type { Outcome } from './simulation.ts'

export type Spread = { readonly p10: number; readonly p50: number; readonly p90: number }

export type Figures = ReturnType<typeof figuresFrom>

export function figuresFrom(outcome: Outcome) {
  const { settings, tally, machines, hash, events, unfinished } = outcome
  const { requests, answered, refused, lost, resumed, attempts } = tally
  const hours = tally.hours.filter(({ gpus }) => gpus > 0)
  const gpuHours = sum(hours.map(({ gpus }) => gpus))
  const slotHours = sum(hours.map(({ slots }) => slots))
  const leasedGpuHours = sum(tally.leasedGpuMs) / HOUR
  const paidUsd = Number(tally.paidNano) / 1e9
  return {
    source: settings.traces.source,
    requestTrace: settings.traces.requests.name,
    seed: settings.seed,
    hash,
    events,
    nodes: machines.length,
    days: settings.days,
    nodeAvailability: ratio(sum(tally.offeredMs), machines.length * (tally.to - tally.from)),
    nodeLosses: tally.nodeLosses,
    zoneOutages: tally.outages,
    utilisation: {
      gpusLeased: ratio(
        leasedGpuHours,
        sum(
          machines.map(
            ({ index, offered }) => offered.gpus * ((tally.offeredMs[index] ?? 0) / HOUR),
          ),
        ),
      ),
      slotsBusy: ratio(sum(hours.map(({ running }) => running)), slotHours),
      gpuHoursSampled: gpuHours,
    },
    requests: {
      n: requests,
      answered,
      refused,
      lost,
      unfinished,
      resumed,
      attempts,
      availability: ratio(answered, answered + refused + lost),
      why: Object.fromEntries(tally.refusals),
    },
    ttftMs: { ...quantiles(tally.ttftMs), n: tally.ttftMs.count },
    queueing: {
      waited: tally.waitMs.count,
      waitMs: quantiles(tally.waitMs),
      orders: tally.orders,
      leased: tally.leased,
      unleased: tally.unleased,
      orderWaitMs: quantiles(tally.orderWaitMs),
    },
    leases: {
      availability: 1 - ratio(tally.leaseAwaySumMs, tally.leaseWantedMs),
      losses: tally.leaseLosses,
      recovered: tally.leaseAwayMs.count,
      recoverMs: quantiles(tally.leaseAwayMs),
      leasedHours: tally.leaseWantedMs / HOUR,
    },
    price: {
      gpuHours: leasedGpuHours,
      usdPerGpuHour: ratio(paidUsd, leasedGpuHours),
      leaseUsd: paidUsd,
      ...savingOf(outcome),
    },
    earningsUsdPerGpuWeek: spread(
      machines.map(
        ({ index, offered }) =>
          (earnedUsd(outcome, index) / offered.gpus) * (WEEK / (tally.to - tally.from)),
      ),
    ),
  }
}

/** Leases and tokens of one machine, in the time that counts. */
export const earnedUsd = (outcome: Outcome, index: number): number =>
  leaseUsd(outcome, index) + tokenUsd(outcome, index)

export const leaseUsd = ({ tally }: Pick<Outcome, 'tally'>, index: number): number =>
  Number(tally.leaseNano[index] ?? 0n) / 1e9

export function tokenUsd({ tally, settings }: Outcome, index: number): number {
  const { inputUsd, outputUsd } = settings.tokenPrice
  const input = (tally.inputTokens[index] ?? 0) * inputUsd
  return (input + (tally.outputTokens[index] ?? 0) * outputUsd) / 1e6
}

/** Beside the cheapest hyperscaler's on-demand list price of the same GPU, weighted by GPU hours; only where one is known. */
function savingOf({ tally, machines, settings }: Outcome) {
  let [listUsd, paidUsd, gpuHours] = [0, 0, 0]
  for (const { index, offered } of machines) {
    const list = settings.traces.lists.get(offered.gpu)
    if (list === undefined) continue
    const hours = (tally.leasedGpuMs[index] ?? 0) / HOUR
    gpuHours += hours
    listUsd += hours * list
    paidUsd += leaseUsd({ tally }, index)
  }
  return {
    listedGpuHours: gpuHours,
    savingPercent: listUsd === 0 ? null : 100 * (1 - paidUsd / listUsd),
  }
}

export function spread(values: readonly number[]): Spread {
  const at = (part: number) => quantileOf(values, part) ?? 0
  return { p10: at(0.1), p50: at(0.5), p90: at(0.9) }
}

const quantiles = (of: { quantile(part: number): number }) => ({
  p50: of.quantile(0.5),
  p90: of.quantile(0.9),
  p99: of.quantile(0.99),
})

export const ratio = (part: number, whole: number): number => (whole === 0 ? 0 : part / whole)

function sum(values: Iterable<number>): number {
  let total = 0
  for (const value of values) total += value
  return total
}
