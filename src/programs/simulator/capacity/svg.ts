/** Plots as SVG text: lines over time and bars. Each has a title that a screen reader says; colours are the page's. */

export type Line = { readonly name: string; readonly values: readonly number[] }

const WIDTH = 720
const HEIGHT = 220
const LEFT = 56
const BOTTOM = 28
const TOP = 12
const RIGHT = 12
/** More points than pixels say nothing. */
const MAX_POINTS = 360

export const escaped = (text: string): string =>
  text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')

/** Lines over hours; all in one unit, from 0. */
export function linePlot(id: string, title: string, unit: string, lines: readonly Line[]): string {
  const most = Math.max(1e-9, ...lines.flatMap(({ values }) => thinned(values)))
  const top = niceAbove(most)
  const count = Math.max(...lines.map(({ values }) => values.length))
  const paths = lines.map(({ values }, at) => {
    const thin = thinned(values)
    const points = thin.map((value, i) => `${round(x(i, thin.length))},${round(y(value, top))}`)
    return `<polyline class="line l${at}" points="${points.join(' ')}"/>`
  })
  const legend = lines.map(
    ({ name }, at) =>
      `<text class="legend l${at}" x="${LEFT + 8 + at * 150}" y="${TOP + 10}">${escaped(name)}</text>`,
  )
  const days = Math.floor(count / 24)
  const step = Math.max(1, Math.ceil(days / 8))
  const ticks = Array.from({ length: Math.floor(days / step) + 1 }, (_, i) => i * step).map(
    (day) =>
      `<text class="tick" text-anchor="middle" x="${round(x(day * 24, count))}" y="${HEIGHT - 8}">${day} d</text>`,
  )
  return framed(id, title, top, unit, [...paths, ...legend, ...(days > 0 ? ticks : [])])
}

export function barPlot(
  id: string,
  title: string,
  unit: string,
  bars: readonly { readonly name: string; readonly value: number }[],
): string {
  const top = niceAbove(Math.max(1e-9, ...bars.map(({ value }) => value)))
  const each = (WIDTH - LEFT - RIGHT) / Math.max(1, bars.length)
  const parts = bars.map(({ name, value }, at) => {
    const [left, high] = [LEFT + at * each, y(value, top)]
    const middle = round(left + each / 2)
    return `<rect class="bar" x="${round(left + each * 0.15)}" y="${round(high)}" width="${round(each * 0.7)}" height="${round(HEIGHT - BOTTOM - high)}"><title>${escaped(name)}: ${round(value)} ${escaped(unit)}</title></rect><text class="tick" text-anchor="middle" x="${middle}" y="${HEIGHT - 8}">${escaped(name)}</text>`
  })
  return framed(id, title, top, unit, parts)
}

function framed(
  id: string,
  title: string,
  top: number,
  unit: string,
  parts: readonly string[],
): string {
  const grid = [0, 0.5, 1].map((part) => {
    const at = round(y(top * part, top))
    return `<line class="grid" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${at}" y2="${at}"/><text class="tick" text-anchor="end" x="${LEFT - 6}" y="${at + 4}">${round(top * part)}</text>`
  })
  return `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-labelledby="${id}-title"><title id="${id}-title">${escaped(title)} (${escaped(unit)})</title>${grid.join('')}${parts.join('')}</svg>`
}

const x = (at: number, count: number): number =>
  LEFT + ((WIDTH - LEFT - RIGHT) * at) / Math.max(1, count - 1)
const y = (value: number, top: number): number =>
  HEIGHT - BOTTOM - ((HEIGHT - BOTTOM - TOP - 10) * value) / top

function thinned(values: readonly number[]): number[] {
  const each = Math.ceil(values.length / MAX_POINTS)
  if (each <= 1) return [...values]
  return Array.from({ length: Math.ceil(values.length / each) }, (_, i) => {
    const some = values.slice(i * each, (i + 1) * each)
    return some.reduce((a, b) => a + b, 0) / some.length
  })
}

/** 1, 2 or 5 times a power of ten. */
function niceAbove(most: number): number {
  const power = 10 ** Math.floor(Math.log10(most))
  return power * ([1, 2, 5].find((one) => one * power >= most) ?? 10)
}

export const round = (value: number): number =>
  Math.abs(value) >= 100 ? Math.round(value * 10) / 10 : Math.round(value * 1000) / 1000
