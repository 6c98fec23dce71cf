/** A small trace made up from a seed, for tests and for a first look where the real ones are not there. */
import { seededRandom } from '../../../core/base/random.ts'
import { HOUR } from './hours.ts'
import type { Job, Offered, TraceRequest, Traces } from './traces.ts'

const SEED = 5
const SPAN_MS = HOUR
const GIB = 2 ** 30

const OFFERS: readonly Offered[] = [
  { gpu: 'rtx4090', region: 'eu-de', gpus: 1, vramGib: 24, usd: 0.35 },
  { gpu: 'rtx4090', region: 'us-wa', gpus: 2, vramGib: 24, usd: 0.36 },
  { gpu: 'rtx3090', region: 'eu-fr', gpus: 1, vramGib: 24, usd: 0.17 },
  { gpu: 'l40s', region: 'ap-jp', gpus: 4, vramGib: 48, usd: 0.6 },
  { gpu: 'a100', region: 'us-ny', gpus: 4, vramGib: 80, usd: 0.9 },
]

export function madeUpTraces(): Traces {
  const random = seededRandom(SEED)
  const requests: TraceRequest[] = []
  for (let atMs = 0; atMs < SPAN_MS; atMs += -1000 * Math.log(1 - random()))
    requests.push({
      atMs: Math.floor(atMs),
      inputTokens: 1 + Math.floor(2000 * random()),
      outputTokens: 1 + Math.floor(400 * random()),
      prefix: 0,
    })
  const jobs: Job[] = Array.from({ length: 200 }, () => ({
    cpuMilli: 1000 * (1 + Math.floor(8 * random())),
    memoryBytes: (2 + Math.floor(14 * random())) * GIB,
    gpus: random() < 0.1 ? 0 : random() < 0.9 ? 1 : 2,
    lengthMs: Math.ceil(8 * HOUR * -Math.log(1 - random())),
  }))
  return {
    source: 'a small made-up trace',
    requests: { name: 'made up', requests, spanMs: SPAN_MS },
    jobs,
    life: { shape: 0.75, scaleMs: 94.7 * HOUR },
    batches: [1, 1, 1, 2],
    offers: OFFERS,
    lists: new Map([
      ['rtx4090', 0.805],
      ['l40s', 1.861],
      ['a100', 3.4309],
    ]),
  }
}
