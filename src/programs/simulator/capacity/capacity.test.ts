import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { seededRandom } from '../../../core/base/random.ts'
import { missingData } from './data-folder.ts'
import { availabilityOf, availabilityText } from './availability.ts'
import { earningsOf, earningsText, nearGpus, offersOf, summed } from './earnings.ts'
import { EventQueue } from './event-queue.ts'
import { earnedUsd, figuresFrom } from './figures.ts'
import { Histogram } from './histogram.ts'
import { HOUR } from './hours.ts'
import { madeUpTraces } from './made-up.ts'
import { reportHtml } from './report.ts'
import { settingsOf, type Settings } from './settings.ts'
import { simulate } from './simulation.ts'
import { readBatches, readJobs, readOffers, readTraces } from './traces.ts'
import { drawWeibull, fitWeibull, meanOf } from './weibull.ts'

const TIMEOUT = { timeout: 60_000 }
const data = fileURLToPath(
  [1, 2]
    .map((up) => new URL(`../../../../${'../'.repeat(up)}shared/data/`, import.meta.url))
    .find((url) => existsSync(url)) ?? new URL('../../../../../shared/data/', import.meta.url),
)
const noData =
  missingData(data).length === 0
    ? false
    : 'the traces are not in ../shared/data, beside the repository'

describe('the event queue', () => {
  it('gives events by time, equal ones in the order of their coming', () => {
    const queue = new EventQueue()
    const random = seededRandom(3)
    const pushed = Array.from({ length: 5000 }, (_, i) => ({ at: Math.floor(random() * 500), i }))
    for (const { at, i } of pushed) queue.push(at, 1, i, 2)
    const expected = pushed.toSorted((a, b) => a.at - b.at || a.i - b.i)
    const got: { at: number; i: number }[] = []
    while (queue.next(Infinity)) got.push({ at: queue.at, i: queue.subject })
    assert.deepEqual(got, expected)
  })

  it('keeps what is later than it was asked for', () => {
    const queue = new EventQueue()
    queue.push(10, 1, 7, 0)
    assert.equal(queue.next(9), false)
    assert.equal(queue.next(10), true)
    assert.equal(queue.subject, 7)
    assert.equal(queue.next(Infinity), false)
  })
})

describe('lifetimes', () => {
  it('fits the shape and scale that runs were drawn from, those that had not ended included', () => {
    const life = { shape: 0.75, scaleMs: 95 * HOUR }
    const random = seededRandom(1)
    const runs = Array.from({ length: 20_000 }, () => {
      const ms = drawWeibull(life, random)
      const ended = ms < 168 * HOUR
      return { ms: ended ? ms : 168 * HOUR, weight: 1, ended }
    })
    const fit = fitWeibull(runs)
    assert.ok(Math.abs(fit.shape - life.shape) < 0.02, `${fit.shape}`)
    assert.ok(Math.abs(fit.scaleMs / life.scaleMs - 1) < 0.03, `${fit.scaleMs}`)
    assert.throws(() => fitWeibull([{ ms: 1, weight: 1, ended: false }]), /nothing ended/)
    // Γ(1 + 1/0.75) = 1.1906
    assert.ok(Math.abs(meanOf(life) / life.scaleMs - 1.1906) < 0.01)
  })
})

describe('a histogram', () => {
  it('has quantiles right to 2 %, and nothing of nothing', () => {
    const histogram = new Histogram()
    assert.equal(histogram.quantile(0.5), 0)
    for (let i = 1; i <= 1000; i++) histogram.add(i)
    assert.ok(Math.abs(histogram.quantile(0.5) / 500 - 1) < 0.02)
    assert.ok(Math.abs(histogram.quantile(0.99) / 990 - 1) < 0.02)
    assert.equal(histogram.mean, 500.5)
  })
})

describe('reading traces', () => {
  it('reads jobs, batches and offers, and leaves out what never ran', () => {
    const jobs = readJobs(
      'cpu_milli,memory_mib,num_gpu,creation_time,deletion_time,scheduled_time\n1000,1024,1,0,60,10\n1000,1024,1,0,60,\n',
    )
    assert.deepEqual(jobs, [{ cpuMilli: 1000, memoryBytes: 2 ** 30, gpus: 1, lengthMs: 50_000 }])
    assert.deepEqual(readBatches('0,add,a\n5,remove,a\n5,remove,b\n9,remove,c'), [2, 1])
    const offers = readOffers(
      'cloud,region,gpu,count,vram_gb,price_per_gpu_h\nvast,DE,RTX4090,1,24,0.4\naws,US,L4,1,24,0.8\n',
    )
    assert.deepEqual(offers, [{ gpu: 'rtx4090', region: 'eu-de', gpus: 1, vramGib: 24, usd: 0.4 }])
  })

  it('names each file that is missing, and where it comes from', () => {
    const missing = missingData('/nowhere')
    assert.equal(missing.length, 7)
    for (const line of missing) assert.match(line, /^[\w./-]+: .+/)
  })

  it('finds in the real traces what their readers found', { skip: noData, ...TIMEOUT }, () => {
    const { requests, jobs, life, offers } = readTraces(data, 'azure')
    assert.equal(requests.requests.length, 19_366)
    assert.ok(jobs.length > 7000 && offers.length > 50)
    assert.ok(Math.abs(life.shape - 0.75) < 0.05 && Math.abs(life.scaleMs / HOUR - 94.7) < 5)
    assert.equal(readTraces(data, 'mooncake').requests.requests.length, 12_031)
  })
})

describe('a simulation', TIMEOUT, () => {
  it('is the same for the same seed, and another for another', () => {
    const [one, same, other] = [1, 1, 2].map((seed) => simulate(small({ seed })))
    assert.ok(one && same && other && one.events > 10_000)
    assert.equal(one.hash, same.hash)
    assert.deepEqual(figuresFrom(one), figuresFrom(same))
    assert.notEqual(one.hash, other.hash)
  })

  it('answers, refuses or loses each request, and pays nodes what tenants pay', () => {
    // Half of the nodes away, too few slots, zones lost ten times a day: all three ends are met.
    const hard = small({
      nodes: 4,
      days: 0.25,
      requestsPerS: 3,
      reliability: { from: 0.4, to: 0.6 },
      outages: { perMonth: 300, meanMs: HOUR / 4 },
    })
    const outcome = simulate(hard)
    const { tally, unfinished } = outcome
    assert.ok(tally.answered > 0 && tally.refused > 0 && tally.lost > 0, 'nothing to check')
    assert.ok(tally.outages > 0)
    assert.equal(tally.requests, tally.answered + tally.refused + tally.lost + unfinished)
    assert.equal(
      tally.leaseNano.reduce((a, b) => a + b, 0n),
      tally.paidNano,
    )
    assert.ok(tally.paidNano > 0n)
  })

  it('never offers or leases more than there is', () => {
    const { tally, machines } = simulate(small({ load: 1 }))
    for (const { index, offered } of machines) {
      const hours = tally.offeredMs[index] ?? 0
      assert.ok(hours <= tally.to - tally.from + 1)
      assert.ok((tally.leasedGpuMs[index] ?? 0) <= hours * offered.gpus + 1)
    }
  })

  it('leases nothing without load, and answers nothing without requests', () => {
    const idle = figuresFrom(simulate(small({ load: 0, requestsPerS: 0 })))
    assert.equal(idle.requests.n, 0)
    assert.equal(idle.price.gpuHours, 0)
    assert.equal(idle.earningsUsdPerGpuWeek.p90, 0)
  })

  it('loses nobody without churn', () => {
    const calm = figuresFrom(simulate(small({ churn: false })))
    assert.equal(calm.nodeAvailability, 1)
    assert.equal(calm.requests.refused + calm.requests.lost, 0)
    assert.equal(calm.leases.losses, 0)
  })
})

describe('earnings', TIMEOUT, () => {
  it('are what was reckoned by hand: a day, one machine, one lease for ever, no requests', () => {
    const traces = madeUpTraces()
    const offers = [{ gpu: 'rtx4090', region: 'eu-de', gpus: 1, vramGib: 24, usd: 0.5 }]
    const jobs = [{ cpuMilli: 8000, memoryBytes: 16 * 2 ** 30, gpus: 1, lengthMs: 10_000 * HOUR }]
    const outcome = simulate(
      settingsOf(
        { ...traces, offers, jobs },
        {
          nodes: 1,
          days: 1,
          warmUpMs: HOUR,
          load: 1,
          requestsPerS: 0,
          churn: false,
        },
      ),
    )
    const [machine] = outcome.machines
    assert.ok(machine)
    // A GPU with 8 threads and 16 GiB costs what the machine asks: 24 hours of that.
    assert.ok(Math.abs(earnedUsd(outcome, 0) - 24 * machine.usd) < 24 * 1e-6)
    const told = summed(outcome, { gpu: 'RTX 4090', region: 'eu', usd: null, wattPrice: 1 }, 0.5)
    assert.equal(told.n, 0, 'nobody is new here')
    assert.equal(told.sameGpu.n, 1)
    assert.equal(told.sameGpu.earnedUsd.p50, earnedUsd(outcome, 0))
  })

  it('tell a newcomer why, with electricity where its price is given', () => {
    const told = earningsOf(small({ days: 2 }), {
      gpu: 'RTX 4090',
      region: 'eu',
      usd: 0.2,
      wattPrice: 0.3,
    })
    assert.equal(told.n, 20)
    assert.ok(
      told.leasedHours > 0 &&
        told.leasedHours <= told.offeredHours &&
        told.offeredHours <= told.weekHours,
    )
    assert.ok((told.electricityUsd ?? 0) > 0)
    assert.equal(told.cheaperThan, 1)
    const text = earningsText(told)
    for (const word of ['offered', 'leased', 'requests', 'price', 'others', 'power'])
      assert.match(text, new RegExp(`\n  ${word} `))
  })

  it('know a GPU by any spelling, and near names of one that nobody offers', () => {
    const { offers } = madeUpTraces()
    for (const name of ['RTX 4090', 'rtx4090', 'RTX-4090'])
      assert.equal(offersOf(name, offers).length, 2)
    assert.equal(offersOf('RTX 4900', offers).length, 0)
    assert.ok(nearGpus('RTX 4900', offers).includes('rtx4090'))
  })
})

describe('availability', TIMEOUT, () => {
  it('stops at the first spare capacity that is enough, and tells its n', () => {
    const found = availabilityOf(madeUpTraces(), {
      days: 2,
      requestsPerS: 0.3,
      seed: 1,
      sparePercents: [0, 400],
    })
    assert.ok(found.neededNodes > 0 && found.tried.length > 0)
    const last = found.tried.at(-1)
    assert.ok(last && last.figures.requests.n > 30_000, `${last?.figures.requests.n}`)
    assert.equal(found.enough, last)
    assert.ok(found.leases.recoverMs.p50 >= 2700 && found.leases.recoverMs.p50 <= 4600)
    assert.match(availabilityText(found), /✓ at least 99.9900 %/)
  })
})

describe('the report', TIMEOUT, () => {
  it('is one file that loads nothing, with a title for each plot', () => {
    const outcome = simulate(small({}))
    const html = reportHtml(figuresFrom(outcome), outcome.tally.hours)
    assert.doesNotMatch(html, /<script|https?:|NaN|Infinity|undefined/)
    assert.match(html, /prefers-color-scheme:dark/)
    const plots = html.match(/<svg/g)?.length ?? 0
    assert.equal(plots, 5)
    assert.equal(html.match(/role="img" aria-labelledby="[\w-]+"><title id=/g)?.length, plots)
  })
})

function small(more: Partial<Settings>): Settings {
  return settingsOf(madeUpTraces(), {
    nodes: 60,
    days: 1,
    warmUpMs: HOUR,
    requestsPerS: 1,
    ...more,
  })
}
