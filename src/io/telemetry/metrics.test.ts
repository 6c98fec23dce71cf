import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { createHistogram } from './histogram.ts'
import { createGatewayMetrics, MAX_MODEL_LABELS } from './metrics.ts'

describe('the metrics of a gateway', () => {
  it('counts requests, tokens, attempts and money', async () => {
    const { metrics, value } = setup()
    metrics.request('chat', 'bard-3m', 200, 0.2)
    metrics.request('chat', 'bard-3m', 200, 0.2)
    metrics.request('embedding', null, 404, 0.001)
    metrics.tokens('bard-3m', 10, 32)
    metrics.attempt('resumed')
    metrics.settled(1_500_000_000n)
    metrics.disputed()
    const read = await value()
    assert.equal(read('baseload_requests_total{api="chat",model="bard-3m",status="200"}'), 2)
    assert.equal(read('baseload_requests_total{api="embedding",model="none",status="404"}'), 1)
    assert.equal(read('baseload_tokens_total{model="bard-3m",direction="output"}'), 32)
    assert.equal(read('baseload_attempts_total{outcome="resumed"}'), 1)
    assert.equal(read('baseload_attempts_total{outcome="lost"}'), 0)
    assert.equal(read('baseload_settled_usd_total'), 1.5)
    assert.equal(read('baseload_receipts_disputed_total'), 1)
    assert.equal(read('baseload_request_duration_seconds_count'), 3)
  })

  it('gives the same numbers when asked twice', async () => {
    const { metrics, value } = setup()
    metrics.request('chat', 'bard-3m', 200, 0.2)
    await value()
    const read = await value()
    assert.equal(read('baseload_requests_total{api="chat",model="bard-3m",status="200"}'), 1)
  })

  it('reads its gauges when asked, and forgets models that are gone', async () => {
    const { metrics, value } = setup()
    const slotsFree = new Map([['bard-3m', 4]])
    metrics.watch(() => ({
      nodesLinked: 3,
      slotsFree,
      queueDepth: 2,
      settlementBacklog: 7,
      receiptsPending: 1,
      leases: { open: 5, homeless: 2 },
    }))
    const before = await value()
    assert.equal(before('baseload_nodes_linked'), 3)
    assert.equal(before('baseload_settlement_backlog'), 7)
    assert.equal(before('baseload_leases_open'), 5)
    assert.equal(before('baseload_leases_homeless'), 2)
    assert.equal(before('baseload_slots_free{model="bard-3m"}'), 4)
    slotsFree.delete('bard-3m')
    assert.equal((await value())('baseload_slots_free{model="bard-3m"}'), null)
  })

  it('bounds the models it keeps apart', async () => {
    const { metrics } = setup()
    for (let i = 0; i < 3 * MAX_MODEL_LABELS; i++) metrics.request('chat', `model-${i}`, 200, 1)
    const text = await metrics.text()
    const lines = text.match(/^baseload_requests_total\{.*$/gm) ?? []
    assert.equal(lines.length, MAX_MODEL_LABELS + 1)
    assert.match(text, /api="chat",model="other",status="200"\} 200/)
  })

  it('reports the process: memory and event loop', async () => {
    const read = await setup().value()
    assert.ok(Number(read('process_resident_memory_bytes')) > 1e6)
    assert.notEqual(read('nodejs_eventloop_lag_p99_seconds'), null)
  })

  it('writes only lines that Prometheus can read', async () => {
    const { metrics } = setup()
    metrics.request('chat', 'odd "name"\\\n', 200, 1)
    const line = /^(# (HELP|TYPE) .+|[a-z_0-9]+(\{([a-z_]+="([^"\\\n]|\\.)*",?)+\})? \S+|)$/
    for (const each of (await metrics.text()).split('\n')) assert.match(each, line)
  })
})

describe('a histogram', () => {
  it('puts a value on a bound into the bucket of that bound, and counts upwards', () => {
    const histogram = createHistogram('h', 'Help.', [1, 2])
    for (const value of [0.5, 1, 1.5, 9]) histogram.observe(value)
    assert.equal(
      histogram.text(),
      '# HELP h Help.\n# TYPE h histogram\n' +
        'h_bucket{le="1"} 2\nh_bucket{le="2"} 3\nh_bucket{le="+Inf"} 4\nh_sum 12\nh_count 4\n',
    )
  })
})

function setup() {
  const metrics = createGatewayMetrics()
  /** Reads one sample of a fresh scrape, null when it is not there. */
  const value = async () => {
    const lines = (await metrics.text()).split('\n')
    return (sample: string): number | null => {
      const line = lines.find((each) => each.startsWith(`${sample} `))
      return line === undefined ? null : Number(line.slice(sample.length + 1))
    }
  }
  return { metrics, value }
}
