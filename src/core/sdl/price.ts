/** Prices of an SDL file as rates: what a unit of each denomination is worth, and how often it is paid. */
import { formatUsd, NANO_PER_USD, parseUsd, type NanoUsd } from '../base/money.ts'
import {
  MAX_RATE,
  priceFor,
  rateOf,
  SECONDS_PER_MONTH,
  type AttoUsdPerSecond,
} from '../base/rate.ts'
import { need, readMapping, readScalar, readText, wrong } from './fields.ts'
import { short, type Report } from './report.ts'
import type { Place, Scalar, Tree } from './yaml-tree.ts'

/** Akash's own reckoning, at 6.1 s a block: akash-network/provider, the pricing script. */
const BLOCKS_PER_MONTH = 429_909n
/** Not a quote: AKT has no fixed price, so the tenant should give one. */
export const DEFAULT_USD_PER_AKT = '0.50'
const DECIMALS = 18
const ONE = 10n ** BigInt(DECIMALS)
const ATTO_PER_NANO = 1_000_000_000n
const MICRO = 1_000_000n
/** The most that Akash's chain takes, for one copy and block. */
const MAX_PER_BLOCK = 10_000_000n * ONE
const AXL_USDC = 'ibc/170C677610AC31DF0904FFE09CD3B5C657492170E7E52372E48756B71E56F2F1'

/** What the price of a compute profile at a placement comes to. */
export type Price = {
  readonly place: Place
  readonly denom: string
  /** The amount times 10¹⁸. */
  readonly amount: bigint
  /** The most that one copy may cost. */
  readonly rate: AttoUsdPerSecond
  /** How the amount became dollars. */
  readonly conversion: string
}

type Denomination = {
  /** Paid for an hour or a month; a block is Akash's 6.1 s. */
  readonly per: 'block' | 'hour' | 'month'
  readonly conversion: string
  /** What 1 of it is worth for `hour` and `month`, 1,000,000 of it for `block`. */
  readonly worth: NanoUsd
}

const aBlock = `a month has ${BLOCKS_PER_MONTH.toLocaleString('en-US')} blocks`

function denomination(denom: string, usdPerAkt: NanoUsd): Denomination | null {
  switch (denom) {
    case 'uact':
      return {
        per: 'block',
        worth: NANO_PER_USD,
        conversion: `1,000,000 uact a block; 1 ACT is $1; ${aBlock}`,
      }
    case 'uakt':
      return {
        per: 'block',
        worth: usdPerAkt,
        conversion: `1,000,000 uakt a block; 1 AKT at $${formatUsd(usdPerAkt)}; ${aBlock}`,
      }
    case AXL_USDC:
      return { per: 'block', worth: NANO_PER_USD, conversion: `1 USDC is $1; ${aBlock}` }
    case 'usd':
    case 'usd/hour':
      return { per: 'hour', worth: NANO_PER_USD, conversion: 'dollars an hour' }
    case 'usd/month':
      return { per: 'month', worth: NANO_PER_USD, conversion: 'dollars a month' }
    default:
      return null
  }
}

const EXAMPLE = '{ denom: usd, amount: 0.50 }'

/** One `{ denom, amount }` of `pricing`. */
export function readPrice(report: Report, tree: Tree, usdPerAkt: NanoUsd): Price | null {
  const shape = { known: ['denom', 'amount'], example: EXAMPLE }
  const mapping = readMapping(report, tree, shape)
  const given = mapping && need(report, mapping, 'amount', 'amount: 0.50')
  const denomTree = mapping && need(report, mapping, 'denom', 'denom: usd')
  if (!given || !denomTree) return null
  const denom = readText(report, denomTree) ?? ''
  const unit = denomination(denom, usdPerAkt)
  if (!unit) {
    const allowed = 'usd (dollars an hour), usd/month, uact, uakt'
    wrong(report, denomTree, 'what this denomination is worth is not known', {
      allowed,
      example: 'denom: usd',
    })
    return null
  }
  const scalar = readScalar(report, given)
  const amount = scalar && readAmount(report, scalar)
  if (amount === null) return null
  const rate = rateIn(unit, amount)
  if (rate > MAX_RATE || (unit.per === 'block' && amount > MAX_PER_BLOCK)) {
    const allowed = unit.per === 'block' ? 'at most 10,000,000' : 'at most $1,000,000 an hour'
    wrong(report, given, 'this price is out of bounds', { allowed, example: EXAMPLE })
    return null
  }
  warnOf(report, denomTree, denom)
  return { place: mapping.place, denom, amount, rate, conversion: unit.conversion }
}

function rateIn({ per, worth }: Denomination, amount: bigint): AttoUsdPerSecond {
  if (per !== 'block') return rateOf((amount * worth) / ONE, per)
  const attoPerBlocks = amount * worth * ATTO_PER_NANO * BLOCKS_PER_MONTH
  return attoPerBlocks / (ONE * MICRO * SECONDS_PER_MONTH)
}

function warnOf(report: Report, { place }: Tree, denom: string): void {
  if (denom === 'usd')
    report.warn(place, {
      message: 'usd is read as dollars an hour, for one copy',
      allowed: 'usd/hour and usd/month say it without doubt',
    })
  if (denom === AXL_USDC)
    report.warn(place, { message: "read as axlUSDC, at $1; Akash's Console refuses it" })
}

/** '12.5' → 12.5 × 10¹⁸; above zero, at most 18 decimals. */
function readAmount(report: Report, scalar: Scalar): bigint | null {
  const text = scalar.quoted ? scalar.text : scalar.text.replaceAll('_', '')
  const match = /^\+?(\d{0,30})(?:\.(\d{0,40}))?(?:[eE]([-+]?\d{1,2}))?$/.exec(text)
  const [, whole = '', fraction = '', exponent = '0'] = match ?? []
  const zeros = DECIMALS + Number(exponent) - fraction.length
  const digits = BigInt(`0${whole}${fraction}`)
  if (!match || whole + fraction === '' || digits === 0n || zeros < 0) {
    const allowed = 'a number above 0 with at most 18 decimals'
    wrong(report, scalar, 'this is no price', { allowed, example: 'amount: 0.50' })
    return null
  }
  if (!/^\d+(\.\d+)?$/.test(scalar.text))
    report.warn(scalar.place, {
      message: "Akash's CLI refuses this spelling of an amount",
      found: short(scalar.text),
      allowed: 'digits, with a point between them',
    })
  return digits * 10n ** BigInt(zeros)
}

/** `2000 uact a block`, `0.5 usd an hour`. */
export function amountText({ amount, denom }: Price): string {
  const fraction = (amount % ONE).toString().padStart(DECIMALS, '0').replace(/0+$/, '')
  const number = `${amount / ONE}${fraction === '' ? '' : `.${fraction}`}`
  return `${number} ${denom === AXL_USDC ? 'axlUSDC' : denom}`
}

/** The amount with all its decimals, as Akash's chain writes it. */
export const chainAmount = (amount: bigint): string =>
  `${amount / ONE}.${(amount % ONE).toString().padStart(DECIMALS, '0')}`

/** `$0.0176 an hour, $12.90 a month`: whole cents from a dollar on, four digits that count below. */
export function rateText(rate: AttoUsdPerSecond): string {
  return `${dollars(priceFor(rate, 'hour'))} an hour, ${dollars(priceFor(rate, 'month'))} a month`
}

function dollars(nanoUsd: NanoUsd): string {
  const usd = Number(nanoUsd) / Number(NANO_PER_USD)
  if (usd >= 1 || usd === 0) return `$${usd.toFixed(2)}`
  const digits = usd.toFixed(Math.min(9, 3 - Math.floor(Math.log10(usd))))
  return `$${digits.replace(/(\.\d\d\d*?)0+$/, '$1')}`
}

/** '0.45' → its nano-dollars; null unless it is above zero. */
export function parseUsdPerAkt(text: string): NanoUsd | null {
  const nano = parseUsd(text)
  return nano !== null && nano > 0n ? nano : null
}
