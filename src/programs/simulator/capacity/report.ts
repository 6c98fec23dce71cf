/** One HTML file with all that came of a simulation: no script, nothing loaded, light and dark. */
import type { Figures } from './figures.ts'
import { barPlot, escaped, linePlot, round } from './svg.ts'
import type { HourRow } from './tally.ts'

const STYLE = `:root{color-scheme:light dark;--ink:#1b1f24;--soft:#57606a;--rule:#d0d7de;--back:#fff;--a:#0969da;--b:#bc4c00;--c:#1a7f37}
@media (prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9198a1;--rule:#3d444d;--back:#0d1117;--a:#4493f8;--b:#f0883e;--c:#3fb950}}
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--back);max-width:46rem;margin:2rem auto;padding:0 1rem}
svg{width:100%;height:auto}table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.25rem .5rem;border-bottom:1px solid var(--rule);vertical-align:top}td:last-child{font-variant-numeric:tabular-nums}
figure{margin:1.5rem 0}figcaption,small{color:var(--soft)}.grid{stroke:var(--rule)}.tick{fill:var(--soft);font-size:11px}.legend{font-size:12px}.line{fill:none;stroke-width:1.5}
.l0{stroke:var(--a)}.l1{stroke:var(--b)}.l2{stroke:var(--c)}text.l0{stroke:none;fill:var(--a)}text.l1{stroke:none;fill:var(--b)}text.l2{stroke:none;fill:var(--c)}.bar{fill:var(--a)}`

export function reportHtml(figures: Figures, hours: readonly HourRow[]): string {
  const { source, requestTrace, seed, hash, nodes, days } = figures
  const rows = rowsOf(figures).map(
    ([name, value]) => `<tr><th scope="row">${escaped(name)}</th><td>${escaped(value)}</td></tr>`,
  )
  const plots = plotsOf(figures, hours).map(
    ({ svg, caption }) => `<figure>${svg}<figcaption>${escaped(caption)}</figcaption></figure>`,
  )
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Baseload: ${nodes} nodes, ${days} days simulated</title><style>${STYLE}</style></head>
<body><main><h1>${nodes} nodes, ${days} virtual days</h1>
<p>Simulated with the market, router and resume policy that run in the gateway. Requests: ${escaped(requestTrace)}. Data: ${escaped(source)}. Seed ${seed}, trace hash <code>${hash}</code>. What is assumed is in docs/capacity.md.</p>
<table><caption><small>Figures, each with its n</small></caption><tbody>${rows.join('')}</tbody></table>
${plots.join('\n')}
</main></body></html>
`
}

export function rowsOf(f: Figures): [string, string][] {
  const { requests: r, queueing: q, leases: l, price, utilisation: u, earningsUsdPerGpuWeek: e } = f
  const saving = price.savingPercent
  return [
    [
      'GPUs leased',
      `${percent(u.gpusLeased)} of what was there (${Math.round(price.gpuHours)} GPU-hours leased)`,
    ],
    ['Slots busy with answers', percent(u.slotsBusy)],
    [
      'Requests answered',
      `${percent(r.availability, 4)} (n=${r.n}; refused ${r.refused}, lost ${r.lost}, resumed elsewhere ${r.resumed}, running at the end ${r.unfinished})`,
    ],
    [
      'Time to first token',
      `p50 ${Math.round(f.ttftMs.p50)} ms, p90 ${Math.round(f.ttftMs.p90)} ms, p99 ${Math.round(f.ttftMs.p99)} ms (n=${f.ttftMs.n})`,
    ],
    [
      'Requests that waited for a slot',
      `${q.waited} (p50 ${Math.round(q.waitMs.p50)} ms, p99 ${Math.round(q.waitMs.p99)} ms)`,
    ],
    [
      'Orders leased',
      `${q.leased} of ${q.orders}; gave up after 30 min ${q.unleased}; wait p50 ${seconds(q.orderWaitMs.p50)}, p99 ${seconds(q.orderWaitMs.p99)}`,
    ],
    [
      'Leases available',
      `${percent(l.availability, 4)} (${l.losses} lost their node in ${Math.round(l.leasedHours)} leased hours; back after p50 ${seconds(l.recoverMs.p50)}, p99 ${seconds(l.recoverMs.p99)}, n=${l.recovered})`,
    ],
    [
      'Nodes there',
      `${percent(f.nodeAvailability)} of the time (${f.nodeLosses} losses, ${f.zoneOutages} zone outages)`,
    ],
    [
      'Price of a GPU-hour',
      `$${price.usdPerGpuHour.toFixed(3)} (mean over ${Math.round(price.gpuHours)} GPU-hours)`,
    ],
    [
      'Saving',
      saving === null
        ? 'no list price known'
        : `${saving.toFixed(0)} % below the cheapest hyperscaler’s on-demand list price of the same GPU (RTX 4090: of an L4), prices/savings.csv of 2026 (n=${Math.round(price.listedGpuHours)} GPU-hours)`,
    ],
    [
      'A GPU earned in a week',
      `p10 $${e.p10.toFixed(2)}, p50 $${e.p50.toFixed(2)}, p90 $${e.p90.toFixed(2)} (n=${f.nodes} nodes)`,
    ],
  ]
}

function plotsOf(f: Figures, hours: readonly HourRow[]) {
  const column = (value: (row: HourRow) => number) => hours.map(value)
  const e = f.earningsUsdPerGpuWeek
  return [
    {
      svg: linePlot('gpus', 'GPUs there and leased', 'GPUs', [
        { name: 'there', values: column(({ gpus }) => gpus) },
        { name: 'leased', values: column(({ leasedGpus }) => leasedGpus) },
      ]),
      caption: 'Utilisation: GPUs that were there, and those leased, each hour.',
    },
    {
      svg: linePlot('ttft', 'Time to the first token', 'ms', [
        {
          name: 'mean of the hour',
          values: column((row) => row.ttftSumMs / Math.max(1, row.answered)),
        },
        { name: 'most of the hour', values: column(({ ttftMostMs }) => ttftMostMs) },
      ]),
      caption: 'Time to the first token: waiting for a slot and all attempts included.',
    },
    {
      svg: linePlot('failed', 'Requests refused and lost', 'requests an hour', [
        { name: 'refused', values: column(({ refused }) => refused) },
        { name: 'lost', values: column(({ lost }) => lost) },
      ]),
      caption: 'Requests that were not answered.',
    },
    {
      svg: linePlot('price', 'Price of a leased GPU-hour', 'USD', [
        {
          name: 'mean of what ended in the hour',
          values: column(({ paidNanoUsd, paidGpuMs }) =>
            paidGpuMs === 0 ? 0 : (paidNanoUsd / 1e9 / paidGpuMs) * 3_600_000,
          ),
        },
      ]),
      caption: 'What leases that ended in the hour had paid for a GPU-hour.',
    },
    {
      svg: barPlot('earnings', 'What a GPU earned in a week', 'USD', [
        { name: 'p10', value: e.p10 },
        { name: 'p50', value: e.p50 },
        { name: 'p90', value: e.p90 },
      ]),
      caption: 'Provider earnings for one GPU, leases and tokens together.',
    },
  ]
}

const percent = (part: number, digits: number = 1): string =>
  `${(Math.floor(part * 100 * 10 ** digits) / 10 ** digits).toFixed(digits)} %`
const seconds = (ms: number): string => `${round(ms / 1000)} s`
