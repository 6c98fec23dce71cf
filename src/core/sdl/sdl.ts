/** One parser for SDL 2.0 and 2.1: text in, groups and manifests out, and everything worth saying about the file. */
import type { NanoUsd } from '../base/money.ts'
import type { Group } from '../protocol/group.ts'
import type { Manifest } from '../protocol/manifest.ts'
import { readDocument, type SdlDocument } from './document.ts'
import { checkLimits, groupOf, manifestOf } from './output.ts'
import { planGroups, type PlannedGroup } from './plan.ts'
import { DEFAULT_USD_PER_AKT, parseUsdPerAkt } from './price.ts'
import { Report, type Remark } from './report.ts'
import { keyPlace, parseYaml } from './yaml-tree.ts'

export type Sdl = {
  readonly document: SdlDocument
  /** Sorted by name; `groups` and `manifests` follow the same order. */
  readonly planned: readonly PlannedGroup[]
  /** What the market is asked for. */
  readonly groups: readonly Group[]
  /** What the nodes run. Secrets are in here. */
  readonly manifests: readonly Manifest[]
}

export type SdlReading =
  | { readonly sdl: Sdl; readonly warnings: readonly Remark[] }
  | { readonly problems: readonly Remark[]; readonly warnings: readonly Remark[] }

/**
 * Reads one SDL file. Never throws. All problems of the sections are told at once, and once there are none, all of
 * how they fit together. `usdPerAkt` is what a price in uakt is reckoned with: without it a stated default is taken,
 * and a warning says so.
 */
export function readSdl(
  text: string,
  fileName: string,
  options: { usdPerAkt?: NanoUsd } = {},
): SdlReading {
  const { tree, lines, faults, documents } = parseYaml(text)
  const report = new Report(fileName, lines)
  for (const { place, message } of faults) report.problem(place, { message })
  if (faults.length > 0) return refused(report)
  if (documents > 1)
    report.warn(tree.place, { message: `only the first of ${documents} documents is read` })
  const assumed = parseUsdPerAkt(DEFAULT_USD_PER_AKT) ?? 0n
  const document = readDocument(report, tree, options.usdPerAkt ?? assumed)
  if (!document || report.problems.length > 0) return refused(report)
  if (options.usdPerAkt === undefined) warnOfAkt(report, document)
  const planned = planGroups(report, document)
  const groups = planned.map((group) => groupOf(group, document.minNoticeS))
  const manifests = planned.map(manifestOf)
  if (report.problems.length > 0) return refused(report)
  for (const [index, about] of planned.entries())
    checkLimits(report, about, { group: groups[index], manifest: manifests[index] })
  if (report.problems.length > 0) return refused(report)
  return { sdl: { document, planned, groups, manifests }, warnings: report.warnings }
}

const refused = ({ problems, warnings }: Report): SdlReading => ({ problems, warnings })

function warnOfAkt(report: Report, { placements }: SdlDocument): void {
  const prices = [...placements.values()].flatMap(({ pricing }) => [...pricing.values()])
  const inAkt = prices.find(({ denom }) => denom === 'uakt')
  if (inAkt)
    report.warn(keyPlace(inAkt.place), {
      message: `AKT has no fixed price: reckoned with a stated $${DEFAULT_USD_PER_AKT}, which is no quote`,
      allowed: 'another price of AKT, as an option; or uact or usd as the denomination',
    })
}
