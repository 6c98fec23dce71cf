import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Fault } from '../../../core/base/refusal.ts'
import { randomHex } from '../../../io/store/channel-kit.ts'
import type { NewVoucher, VoucherOutcome } from '../../../io/store/channel-records.ts'
import { silentLogger } from '../../../io/telemetry/logger.ts'
import { VoucherQueue } from './voucher-queue.ts'

describe('the voucher queue', () => {
  it('writes only the newest of each channel, and tells all of them', async () => {
    const { queue, batches } = setup()
    const [a, b] = [randomHex(32), randomHex(32)]
    const outcomes = await Promise.all([
      queue.push(voucher(a, 1n)),
      queue.push(voucher(b, 7n)),
      queue.push(voucher(a, 3n)),
      queue.push(voucher(a, 2n)),
    ])
    assert.deepEqual(outcomes, ['credited', 'credited', 'credited', 'credited'])
    assert.deepEqual(
      batches.map((batch) => batch.map(({ ceilingUnits }) => ceilingUnits)),
      [[3n, 7n]],
    )
  })

  it('writes no more than 500 at once', async () => {
    const { queue, batches } = setup()
    await Promise.all(Array.from({ length: 501 }, () => queue.push(voucher(randomHex(32), 1n))))
    assert.deepEqual(
      batches.map(({ length }) => length),
      [500, 1],
    )
  })

  it('acknowledges nothing while the store is away, and all when it is back', async () => {
    const { queue, store } = setup()
    store.away = true
    let told = false
    const pushed = queue.push(voucher(randomHex(32), 1n)).then((outcome) => {
      told = true
      return outcome
    })
    while (store.asked < 2) await new Promise((resolve) => setImmediate(resolve))
    assert.equal(told, false)
    store.away = false
    assert.equal(await pushed, 'credited')
  })

  it('rejects what is not durable when the gateway closes', async () => {
    const { queue, store } = setup()
    store.away = true
    const pushed = assert.rejects(queue.push(voucher(randomHex(32), 1n)), { code: 'shutting_down' })
    while (store.asked < 1) await new Promise((resolve) => setImmediate(resolve))
    await queue.close()
    await pushed
    await assert.rejects(queue.push(voucher(randomHex(32), 1n)), { code: 'shutting_down' })
  })

  it('makes durable what waits when the gateway closes', async () => {
    const { queue } = setup()
    const pushed = queue.push(voucher(randomHex(32), 1n))
    await queue.close()
    assert.equal(await pushed, 'credited')
  })

  it('passes on what the store will never take', async () => {
    const { queue, store } = setup()
    store.broken = true
    await assert.rejects(queue.push(voucher(randomHex(32), 1n)), { code: 'store_rejected' })
  })
})

function setup() {
  const batches: (readonly NewVoucher[])[] = []
  const store = {
    away: false,
    broken: false,
    asked: 0,
    creditVouchers(vouchers: readonly NewVoucher[]): Promise<VoucherOutcome[]> {
      store.asked += 1
      if (store.away)
        return Promise.reject(new Fault('store_unavailable', 'away', { retryable: true }))
      if (store.broken) return Promise.reject(new Fault('store_rejected', 'no'))
      batches.push(vouchers)
      return Promise.resolve(vouchers.map(() => 'credited' as const))
    },
  }
  const queue = new VoucherQueue({ store, logger: silentLogger, delayMs: 0 })
  return { queue, store, batches }
}

const voucher = (channel: NewVoucher['channel'], ceilingUnits: bigint): NewVoucher => ({
  channel,
  ceilingUnits,
  signature: '0x00',
})
