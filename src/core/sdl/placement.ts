/** `profiles.placement`: where it may run, and what it may cost there. */
import type { NanoUsd } from '../base/money.ts'
import { need, readAnyMapping, readMapping, readScalar, readTexts, wrong } from './fields.ts'
import { readPrice, type Price } from './price.ts'
import type { Report } from './report.ts'
import type { Place, Tree } from './yaml-tree.ts'

export type PlacementProfile = {
  readonly place: Place
  readonly name: string
  /** Sorted by key. */
  readonly attributes: readonly (readonly [key: string, value: string])[]
  readonly signedBy: { readonly anyOf: readonly string[]; readonly allOf: readonly string[] }
  readonly pricing: ReadonlyMap<string, Price>
  readonly pricingPlace: Place
}

const PRICING = 'pricing: { web: { denom: usd, amount: 0.50 } }'

export function readPlacementProfiles(
  report: Report,
  tree: Tree,
  usdPerAkt: NanoUsd,
): ReadonlyMap<string, PlacementProfile> {
  const profiles = new Map<string, PlacementProfile>()
  for (const [name, value] of readAnyMapping(report, tree)?.entries ?? []) {
    const profile = readProfile(report, name, value, usdPerAkt)
    if (profile) profiles.set(name, profile)
  }
  return profiles
}

function readProfile(
  report: Report,
  name: string,
  tree: Tree,
  usdPerAkt: NanoUsd,
): PlacementProfile | null {
  const known = ['attributes', 'signedBy', 'pricing']
  const mapping = readMapping(report, tree, { known, example: PRICING })
  const given = mapping && need(report, mapping, 'pricing', PRICING)
  if (!mapping || !given) return null
  const pricing = new Map<string, Price>()
  for (const [profile, value] of readAnyMapping(report, given, PRICING)?.entries ?? []) {
    const price = readPrice(report, value, usdPerAkt)
    if (price) pricing.set(profile, price)
  }
  return {
    place: mapping.place,
    name,
    attributes: readAttributes(report, mapping.entries.get('attributes')),
    signedBy: readSignedBy(report, mapping.entries.get('signedBy')),
    pricing,
    pricingPlace: given.place,
  }
}

function readAttributes(report: Report, tree: Tree | undefined): PlacementProfile['attributes'] {
  const attributes: [string, string][] = []
  const mapping = tree && readAnyMapping(report, tree, 'attributes: { region: us-west }')
  for (const [key, value] of mapping?.entries ?? []) {
    if (value.kind !== 'scalar')
      wrong(report, value, 'an attribute has one value', { example: 'region: us-west' })
    attributes.push([key, readScalar(report, value)?.text ?? ''])
  }
  return attributes.toSorted(([a], [b]) => (a < b ? -1 : 1))
}

function readSignedBy(report: Report, tree: Tree | undefined): PlacementProfile['signedBy'] {
  const known = ['anyOf', 'allOf']
  const mapping =
    tree && readMapping(report, tree, { known, example: 'signedBy: { anyOf: [akash1…] }' })
  return {
    anyOf: readTexts(report, mapping?.entries.get('anyOf')),
    allOf: readTexts(report, mapping?.entries.get('allOf')),
  }
}
