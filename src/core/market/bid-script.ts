/**
 * Akash's contract for pricing programs, so that a provider's script runs unchanged: the order as JSON on standard
 * input, the price on standard output, in uact (a millionth of a dollar) a block. A program that ends with
 * another code than 0, says nothing, or takes longer than `BID_SCRIPT_TIMEOUT_MS` does not bid.
 */
import { MAX_RATE, SECONDS_PER_MONTH, type AttoUsdPerSecond } from '../base/rate.ts'
import { refuse, type Refusal } from '../base/refusal.ts'
import type { Group, Unit } from '../protocol/group.ts'

export const BID_SCRIPT_TIMEOUT_MS = 10_000
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
  readonly timedOut: boolean
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
  if (end.timedOut) return noBid(`took longer than ${BID_SCRIPT_TIMEOUT_MS / 1000} s`)
  if (end.exitCode !== 0) return noBid(`ended with ${end.exitCode ?? 'a signal'}`)
  if (end.stdout.length > MAX_BID_SCRIPT_OUTPUT_CHARS) return noBid('said too much')
  const text = end.stdout.trim()
  const match = /^(\d{1,20})(?:\.(\d{1,18}))?$/.exec(text)
  if (!match) return noBid(`said '${text.slice(0, 40)}', which is no price`)
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

const noBid = (what: string): Refusal =>
  refuse('no_matching_node', `The pricing program ${what}: no bid.`)
