/**
 * On which of many equally good nodes a lease goes: where the GPUs that stay idle stay most useful.
 *
 * Fragmentation gradient descent (USENIX ATC'23) with the artifact's whole-number score, ties to the best fit
 * (with random ties it loses 5 points of allocation), less what the scarcity of the GPU kind costs. The last
 * tie goes by what is free, never by a name: the same fleet under other node ids fills the same way.
 */
import type { Fit, Judgement, Pool, Twins } from './capacity-book.ts'
import {
  firstGpus,
  fits,
  idleGpuMilli,
  poolOf,
  take,
  WHOLE_GPU_MILLI,
  type GpuNeed,
  type Need,
  type Taken,
} from './room.ts'
import { SCARCITY_WEIGHT } from './scarcity.ts'
import type { WorkloadMix } from './workload-mix.ts'

/** A pool that may take the lease, and what it would need there. Equal needs are the same object, for speed. */
export type Opening = { readonly pool: Pool; readonly need: Need }

export type Place = { readonly twins: Twins; readonly need: Need; readonly fit: Fit }

/** A big host: what leftovers are measured in. */
const BIG_HOST = { cpuMilli: 128_000, gpuMilli: 8 * WHOLE_GPU_MILLI }

/**
 * The best place for it, or null when it fits nowhere.
 * `pressure`: by GPU kind, from `pressures`; null leaves scarcity out.
 */
export function choosePlace(
  openings: readonly Opening[],
  mix: WorkloadMix,
  pressure: readonly number[] | null,
): Place | null {
  const only = onlyPlace(openings)
  if (only) return only
  let best: Place | null = null
  let bestScore = -Infinity
  for (const { pool, need } of openings) {
    const penalty = pressure ? penaltyOf(need, pressure) : 0
    for (const twins of pool.twins.values()) {
      const fit = judge(twins, need, mix)
      if (!fit) continue
      const score = fit.score - penalty
      if (score < bestScore) continue
      if (score === bestScore && best && !goesBefore(fit, twins, best)) continue
      bestScore = score
      best = { twins, need, fit }
    }
  }
  return best
}

/** Where there is nothing to choose, nothing has to be judged. */
function onlyPlace(openings: readonly Opening[]): Place | null {
  const [opening, another] = openings
  if (!opening || another || opening.pool.twins.size !== 1) return null
  const { pool, need } = opening
  const [twins] = pool.twins.values()
  if (!twins || !fits(twins.room, need) || !need.gpus.every(isWhole)) return null
  return { twins, need, fit: { gpus: firstGpus(twins.room, need), score: 0, leftover: 0 } }
}

const isWhole = ({ milli }: GpuNeed): boolean => milli === WHOLE_GPU_MILLI

function goesBefore(fit: Fit, twins: Twins, best: Place): boolean {
  if (fit.leftover !== best.fit.leftover) return fit.leftover < best.fit.leftover
  if (twins.pool.key !== best.twins.pool.key) return twins.pool.key < best.twins.pool.key
  return twins.key < best.twins.key
}

function penaltyOf(need: Need, pressure: readonly number[]): number {
  let worst = 0
  for (const { kind } of need.gpus) worst = Math.max(worst, pressure[kind] ?? 0)
  return Math.floor(SCARCITY_WEIGHT * worst)
}

/** How a need would go to these nodes, worked out once for each room and mix. */
function judge(twins: Twins, need: Need, mix: WorkloadMix): Fit | null {
  const judged = judgementOf(twins, mix)
  const known = judged.fits.get(need)
  if (known !== undefined) return known
  const fit = fits(twins.room, need) ? fitOf(twins, need, mix, judged.fragmentedMilli) : null
  judged.fits.set(need, fit)
  return fit
}

function judgementOf(twins: Twins, mix: WorkloadMix): Judgement {
  if (twins.judged?.mix === mix) return twins.judged
  const judged = { mix, fragmentedMilli: mix.fragmentedMilli(twins.room), fits: new Map() }
  twins.judged = judged
  return judged
}

function fitOf(twins: Twins, need: Need, mix: WorkloadMix, fragmentedMilli: number): Fit {
  const { room } = twins
  let best: { gpus: Taken; score: number } | null = null
  for (const gpus of waysToTake(twins, need)) {
    const less = fragmentedMilli - mix.fragmentedMilli(take(room, need, gpus))
    const score = scoreOf(less)
    if (!best || score > best.score) best = { gpus, score }
  }
  const { gpus, score } = best ?? { gpus: firstGpus(room, need), score: 0 }
  const cpuLeft = (room.cpuMilli - need.cpuMilli) / BIG_HOST.cpuMilli
  const gpuTaken = need.gpus.reduce((milli, gpu) => milli + gpu.units * gpu.milli, 0)
  const gpuLeft = (idleGpuMilli(room) - gpuTaken) / BIG_HOST.gpuMilli
  return { gpus, score, leftover: cpuLeft + gpuLeft }
}

/** Whole GPUs are all the same; a part of one can go to each that has enough left, the fullest first. */
function waysToTake({ room }: Twins, need: Need): Taken[] {
  const [gpu] = need.gpus
  if (need.gpus.length !== 1 || !gpu || gpu.milli === WHOLE_GPU_MILLI)
    return [firstGpus(room, need)]
  const free = poolOf(room, gpu.kind)?.freeMilli ?? []
  const places = [...free.keys()].filter((place) => (free[place] ?? 0) >= gpu.milli)
  const different = places.filter((place, i) => free.indexOf(free[place] ?? 0) === places[i])
  return different.toSorted((a, b) => (free[a] ?? 0) - (free[b] ?? 0)).map((place) => [[place]])
}

/** The artifact's score: the sigmoid of GPUs no longer fragmented, in whole percent. */
function scoreOf(lessMilli: number): number {
  // Sums in another order differ in the last bits, which may not decide between 49 and 50.
  const less = Math.round(lessMilli * 1e6) / 1e6
  return Math.floor(100 / (1 + Math.exp(-less / WHOLE_GPU_MILLI)))
}
