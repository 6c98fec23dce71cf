/**
 * Akash's contract for pricing programs, so that a provider's script runs unchanged: the order as JSON on standard
 * input, the price on standard output, in uact (a millionth of a dollar) a block. A program that ends with
 * another code than 0, says nothing, or takes longer than `MAX_BID_WINDOW_MS` does not bid.
 */
import { formatUsd } from '../base/money.ts'
import { MAX_RATE, priceFor, SECONDS_PER_MONTH, type AttoUsdPerSecond } from '../base/rate.ts'
import { refuse, type Refusal } from '../base/refusal.ts'
import { checkUnitPrices, type UnitPrice } from '../protocol/bid.ts'
import { vramGib, type Gpu } from '../protocol/capacity.ts'
import type { Group, Unit } from '../protocol/group.ts'

/** A price is a few digits: who reads the output may stop here. */
export const MAX_BID_SCRIPT_OUTPUT_CHARS = 4096
/** What Akash's scripts divide a month's price by. */
const BLOCKS_PER_MONTH = 429_909n
/** Decimals that a chain's coin can have. */
const DECIMALS = 18
const ONE = 10n ** BigInt(DECIMALS)
const GIB = 2 ** 30

/** How a program ended. */
export type ScriptEnd = {
  /** Null when it was stopped by a signal. */
  readonly exitCode: number | null
  readonly stdout: string
  /** After how long it was ended for taking too long; null: it ended by itself. */
  readonly timedOutMs: number | null
}

/** What the program reads: one line of JSON. Field names and units are Akash's. */
export function bidScriptInput(group: Group): string {
  const price = { denom: 'uact', amount: decimal(uactPerBlock(ceilingOf(group))) }
  return JSON.stringify({ resources: group.units.map(resourceOf), price, price_precision: 6 })
}

/** The environment that goes with it. */
export const bidScriptEnv = (tenant: string): Record<string, string> => ({
  AKASH_OWNER: tenant,
  AKASH_DENOM: 'uact',
})

/**
 * The group as it would run on these GPUs, in the order of its units: a wildcard is priced as what it gets, and not as
 * the dearest that it could have been.
 */
export const onGpus = (group: Group, gpus: readonly (Gpu | null)[]): Group => ({
  ...group,
  units: group.units.map((unit, i) => {
    const [gpu, wanted] = [gpus[i], unit.resources.gpu]
    if (!gpu || !wanted) return unit
    const { vendor, model, vramBytes, interface: bus } = gpu
    const ramBytes = vramGib(vramBytes) * GIB
    const exact = { units: wanted.units, anyOf: [{ vendor, model, ramBytes, interface: bus }] }
    return { ...unit, resources: { ...unit.resources, gpu: exact } }
  }),
})

/** What the program's answer asks for each unit on these GPUs, or why that is no bid on this group. */
export function unitsOfScript(
  group: Group,
  gpus: readonly (Gpu | null)[],
  end: ScriptEnd,
): UnitPrice[] | Refusal {
  const total = readBidScript(end)
  if (typeof total !== 'bigint') return total
  const ceiling = ceilingOf(group)
  if (total > ceiling) return noBid(`asks ${perHour(total)}, over the ${perHour(ceiling)} allowed`)
  const rates = shareOut(group, total)
  const units = group.units.map(({ id }, i) => ({
    unit: id,
    gpu: gpus[i] ?? null,
    rate: String(rates[i] ?? 0n),
  }))
  return checkUnitPrices(units, group) ?? units
}

const perHour = (rate: AttoUsdPerSecond): string => `$${formatUsd(priceFor(rate, 'hour'))}/h`

function resourceOf({ resources, count, endpoints }: Unit) {
  const storage = resources.volumes.map(({ class: name, persistent, bytes }) => ({
    class: persistent || name === 'ram' ? name : 'ephemeral',
    size: bytes,
  }))
  return {
    // RAM volumes are told as storage.
    memory: resources.memoryBytes,
    cpu: resources.cpuMilli,
    gpu: gpuOf(resources.gpu),
    storage,
    count,
    endpoint_quantity: endpoints.sharedHttp + endpoints.randomPort + endpoints.leasedIp,
    ip_lease_quantity: endpoints.leasedIp,
  }
}

/** One model for each vendor is all that the format holds: the first that will do. */
function gpuOf(gpu: Unit['resources']['gpu']) {
  if (!gpu) return { units: 0, attributes: {} }
  const vendor: Record<string, object> = {}
  for (const { vendor: name, model, ramBytes, interface: bus } of gpu.anyOf) {
    vendor[name] ??= {
      model: model ?? '*',
      ...(ramBytes !== null && { ram: `${Math.round(ramBytes / GIB)}Gi` }),
      ...(bus !== null && { interface: bus }),
    }
  }
  return { units: gpu.units, attributes: { vendor } }
}

/** The group's rate by what the program said, or why that is no bid. */
export function readBidScript(end: ScriptEnd): AttoUsdPerSecond | Refusal {
  if (end.timedOutMs !== null) return noBid(`took longer than ${end.timedOutMs / 1000} s`)
  if (end.stdout.length > MAX_BID_SCRIPT_OUTPUT_CHARS)
    return noBid(`said more than ${MAX_BID_SCRIPT_OUTPUT_CHARS} characters`)
  if (end.exitCode !== 0) return noBid(`ended with ${end.exitCode ?? 'a signal'}`)
  const text = end.stdout.trim()
  const match = /^(\d{1,20})(?:\.(\d{1,18}))?$/.exec(text)
  if (!match) return noBid(text === '' ? 'said nothing' : `said '${text.slice(0, 40)}', no price`)
  const [, whole = '0', fraction = ''] = match
  const scaled = BigInt(whole + fraction.padEnd(DECIMALS, '0'))
  const rate = rateOfUact(scaled)
  if (rate === 0n) return noBid('said 0, and Akash takes only what is above it')
  if (rate > MAX_RATE) return noBid(`said ${text}, more than a million dollars an hour`)
  return rate
}

/**
 * The rate of each unit's copy when the program's price is for all: shared out as the tenant's own ceilings are, so
 * that none is over its ceiling while the sum is not. Rounded down, by less than an atto-dollar a second each.
 */
export function shareOut(group: Group, total: AttoUsdPerSecond): AttoUsdPerSecond[] {
  const ceiling = ceilingOf(group)
  return group.units.map(({ maxRate }) =>
    ceiling === 0n ? 0n : (total * BigInt(maxRate)) / ceiling,
  )
}

function ceilingOf(group: Group): AttoUsdPerSecond {
  let ceiling = 0n
  for (const { maxRate, count } of group.units) ceiling += BigInt(maxRate) * BigInt(count)
  return ceiling
}

/** 10^-18 uact a block, and atto-dollars a second: an uact is 10^12 atto-dollars. */
const ATTO_PER_UACT = 10n ** 12n
const rateOfUact = (scaled: bigint): AttoUsdPerSecond =>
  (scaled * ATTO_PER_UACT * BLOCKS_PER_MONTH) / (ONE * SECONDS_PER_MONTH)
const uactPerBlock = (rate: AttoUsdPerSecond): bigint =>
  (rate * ONE * SECONDS_PER_MONTH) / (ATTO_PER_UACT * BLOCKS_PER_MONTH)

function decimal(scaled: bigint): string {
  const digits = scaled.toString().padStart(DECIMALS + 1, '0')
  return `${digits.slice(0, -DECIMALS)}.${digits.slice(-DECIMALS)}`
}

const noBid = (what: string): Refusal => refuse('no_matching_node', `its pricing program ${what}`)
