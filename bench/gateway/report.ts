/** From measurements to figures, from figures to a table and to the bars that must be cleared. */
import { IDLE_LINKS, type IdleLinks } from './idle-links.ts'
import type { Measurement, Scenario } from './measure.ts'
import type { Target } from './targets.ts'

type Name = Target['name']
const NAMES: readonly Name[] = ['direct', 'haproxy', 'portkey', 'baseload']

type Column = {
  readonly title: string
  readonly scenario: Scenario
  readonly of: (one: Measurement) => number
  /** Latencies are what a gateway adds: the direct figure is taken off. */
  readonly added?: true
  readonly digits: number
}

const COLUMNS = {
  requestUs: {
    title: 'CPU µs/request',
    scenario: 'request',
    of: (one) => one.cpuUs / one.allRequests,
    digits: 1,
  },
  requestsPerSecond: {
    title: 'requests/s',
    scenario: 'request',
    of: (one) => one.requestsPerSecond,
    digits: 0,
  },
  chunkUs: {
    title: 'CPU µs/chunk',
    scenario: 'burst',
    of: (one) => one.cpuUs / one.allTokens,
    digits: 2,
  },
  chunksPerSecond: {
    title: 'chunks/s',
    scenario: 'burst',
    of: (one) => one.tokensPerSecond,
    digits: 0,
  },
  pacedChunkUs: {
    title: 'µs/chunk paced',
    scenario: 'paced',
    of: (one) => one.cpuUs / one.allTokens,
    digits: 1,
  },
  addedP50Us: {
    title: 'added p50 µs',
    scenario: 'single',
    of: (one) => one.p50Us,
    added: true,
    digits: 0,
  },
  addedP99Us: {
    title: 'added p99 µs',
    scenario: 'single',
    of: (one) => one.p99Us,
    added: true,
    digits: 0,
  },
  addedFirstTokenUs: {
    title: 'added first token µs',
    scenario: 'singleStream',
    of: (one) => one.firstP50Us,
    added: true,
    digits: 0,
  },
} satisfies Record<string, Column>
type ColumnName = keyof typeof COLUMNS
const COLUMN_LIST = Object.entries(COLUMNS) as [ColumnName, Column][]

/** Medians over all rounds, by target. NaN where a target was not asked. */
export type Figures = Readonly<Record<Name, Readonly<Record<ColumnName, number>>>>

export function figuresOf(all: readonly Measurement[]): Figures {
  const raw = (name: Name, { scenario, of }: Column): number =>
    median(all.filter((one) => one.target === name && one.scenario === scenario).map(of))
  const row = (name: Name): Record<ColumnName, number> => {
    const cells = COLUMN_LIST.map(([key, column]) => [
      key,
      raw(name, column) - (column.added ? raw('direct', column) : 0),
    ])
    return Object.fromEntries(cells) as Record<ColumnName, number>
  }
  return {
    direct: row('direct'),
    haproxy: row('haproxy'),
    portkey: row('portkey'),
    baseload: row('baseload'),
  }
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const high = sorted[middle] ?? NaN
  return sorted.length % 2 === 1 ? high : ((sorted[middle - 1] ?? NaN) + high) / 2
}

export function table(figures: Figures): string {
  const header = ['', ...COLUMN_LIST.map(([, { title }]) => title)]
  const rows = NAMES.map((name) => [
    name,
    ...COLUMN_LIST.map(([key, { digits }]) => number(figures[name][key], digits)),
  ])
  const widths = header.map((_, i) =>
    Math.max(...[header, ...rows].map((row) => row[i]?.length ?? 0)),
  )
  return [header, ...rows]
    .map((row) =>
      row
        .map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)))
        .join('  '),
    )
    .join('\n')
}

const number = (value: number, digits: number): string =>
  Number.isNaN(value)
    ? '–'
    : value.toLocaleString('en-US', {
        minimumFractionDigits: digits,
        maximumFractionDigits: digits,
      })

/** One promise, what was reached, and whether that is enough. */
export type Bar = {
  readonly name: string
  readonly value: number
  readonly bound: number
  readonly at: 'least' | 'most'
  readonly says: string
}

export function barsOf({ baseload, haproxy, portkey }: Figures, idle: IdleLinks): Bar[] {
  return [
    {
      name: 'requestVsPortkey',
      value: portkey.requestUs / baseload.requestUs,
      bound: 20,
      at: 'least',
      says: 'times less CPU a request than Portkey',
    },
    {
      name: 'chunkVsPortkey',
      value: portkey.chunkUs / baseload.chunkUs,
      bound: 6,
      at: 'least',
      says: 'times less CPU a streamed chunk than Portkey',
    },
    {
      name: 'requestVsHaproxy',
      value: baseload.requestUs / haproxy.requestUs,
      bound: 5,
      at: 'most',
      says: "times HAProxy's CPU a request",
    },
    {
      name: 'chunkVsHaproxy',
      value: baseload.chunkUs / haproxy.chunkUs,
      bound: 1.2,
      at: 'most',
      says: "times HAProxy's CPU a streamed chunk",
    },
    {
      name: 'addedP50VsHaproxy',
      value: baseload.addedP50Us / haproxy.addedP50Us,
      bound: 2.5,
      at: 'most',
      says: "times HAProxy's added p50 at one connection",
    },
    {
      name: 'idleLinksMB',
      value: idle.residentMB,
      bound: 150,
      at: 'most',
      says: `MB resident with ${IDLE_LINKS} idle node links`,
    },
  ]
}

export const clears = ({ value, bound, at }: Bar): boolean =>
  at === 'least' ? value >= bound : value <= bound

export function barLine(bar: Bar): string {
  const verdict = clears(bar) ? '✓' : '✗'
  const value = number(bar.value, bar.value < 100 ? 2 : 0)
  return `  ${verdict} ${value.padStart(7)} ${bar.says} (bar: at ${bar.at} ${bar.bound})`
}
