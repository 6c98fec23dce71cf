import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { z } from 'zod'
import { totalRate } from '../protocol/bid.ts'
import { MAX_RATE, priceFor } from '../base/rate.ts'
import { isRefusal } from '../base/refusal.ts'
import {
  bidScriptEnv,
  bidScriptInput,
  MAX_BID_SCRIPT_OUTPUT_CHARS,
  onGpus,
  readBidScript,
  shareOut,
  unitsOfScript,
} from './bid-script.ts'
import { aGroup, anyGpu, aUnit, GIB } from './test-market.ts'

const ended = (stdout: string) => ({ exitCode: 0, stdout, timedOutMs: null })
const said = (stdout: string) => readBidScript(ended(stdout))

describe('the bid script’s contract', () => {
  it('tells the order in Akash’s own fields', () => {
    const volumes = [
      { name: 'default', bytes: GIB, persistent: false, class: 'default' },
      { name: 'data', bytes: 2 * GIB, persistent: true, class: 'beta3' },
      { name: 'shm', bytes: 3 * GIB, persistent: false, class: 'ram' },
    ] as const
    const gpu = { units: 2, anyOf: [anyGpu({ model: 'h100', ramBytes: 80 * GIB }), anyGpu()] }
    const group = aGroup({ gpu, volumes: [...volumes], count: 3, ips: 1, ceiling: '1' })
    const input: unknown = JSON.parse(bidScriptInput(group))
    assert.deepEqual(input, {
      resources: [
        {
          memory: 8 * GIB,
          cpu: 4000,
          gpu: { units: 2, attributes: { vendor: { nvidia: { model: 'h100', ram: '80Gi' } } } },
          storage: [
            { class: 'ephemeral', size: GIB },
            { class: 'beta3', size: 2 * GIB },
            { class: 'ram', size: 3 * GIB },
          ],
          count: 3,
          endpoint_quantity: 2,
          ip_lease_quantity: 1,
        },
      ],
      price: { denom: 'uact', amount: '5097.590420298234891104' },
      price_precision: 6,
    })
    assert.deepEqual(bidScriptEnv('acct_1'), { AKASH_OWNER: 'acct_1', AKASH_DENOM: 'uact' })
  })

  it('reads the price in uact a block', () => {
    const rate = said('4571.5\n')
    assert.ok(typeof rate === 'bigint')
    assert.equal((Number(priceFor(rate, 'hour')) / 1e9).toFixed(2), '2.69')
  })

  it('takes a bid at the ceiling that it told', () => {
    const group = aGroup({ ceiling: '0.37' })
    const told = /"amount":"([\d.]+)"/.exec(bidScriptInput(group))?.[1] ?? ''
    const rate = said(told)
    assert.ok(typeof rate === 'bigint' && rate <= BigInt(group.units[0]?.maxRate ?? ''))
  })

  it('takes nothing else for a bid', () => {
    const ends = [
      { exitCode: 1, stdout: '5', timedOutMs: null },
      { exitCode: null, stdout: '5', timedOutMs: null },
      { exitCode: 0, stdout: '5', timedOutMs: 1000 },
    ]
    for (const end of ends) assert.ok(isRefusal(readBidScript(end)))
    for (const text of ['', '0', '-1', '1e9', 'NaN', '1,5', '1 2', '9'.repeat(19), '5 uact'])
      assert.ok(isRefusal(said(text)), text)
    assert.ok(isRefusal(said('5' + ' '.repeat(MAX_BID_SCRIPT_OUTPUT_CHARS))))
  })

  it('shares the price out so that no unit is over its ceiling', () => {
    const ceilings = fc.array(fc.bigInt({ min: 1n, max: MAX_RATE }), { minLength: 1, maxLength: 6 })
    fc.assert(
      fc.property(ceilings, fc.integer({ min: 0, max: 100 }), (rates, percent) => {
        const units = rates.map((rate, i) => ({
          ...aUnit({ count: i + 1 }),
          maxRate: String(rate),
        }))
        const most = units.reduce((sum, one) => sum + BigInt(one.maxRate) * BigInt(one.count), 0n)
        const total = (most * BigInt(percent)) / 100n
        const shares = shareOut({ ...aGroup(), units }, total)
        const sum = shares.reduce((all, rate, i) => all + rate * BigInt(i + 1), 0n)
        assert.ok(sum <= total && total - sum < 30n)
        for (const [i, rate] of shares.entries()) assert.ok(rate <= (rates[i] ?? 0n))
      }),
    )
  })

  it('prices a wildcard as the GPU that it gets', () => {
    const gpu = { units: 1, anyOf: [anyGpu()] }
    const a10 = {
      vendor: 'nvidia',
      model: 'a10',
      vramBytes: 23_028 * 2 ** 20,
      interface: 'pcie',
      mig: null,
    } as const
    const told: unknown = JSON.parse(bidScriptInput(onGpus(aGroup({ gpu }), [a10])))
    const { vendor } = z
      .object({
        resources: z.tuple([
          z.object({ gpu: z.object({ attributes: z.object({ vendor: z.unknown() }) }) }),
        ]),
      })
      .parse(told).resources[0].gpu.attributes
    assert.deepEqual(vendor, { nvidia: { model: 'a10', ram: '24Gi', interface: 'pcie' } })
  })

  it('makes a bid of an answer, or says why it is none', () => {
    const group = aGroup({ ceiling: '1', count: 2 })
    const units = unitsOfScript(group, [null], ended('1699'))
    assert.ok(!isRefusal(units))
    assert.equal((Number(priceFor(totalRate(group, units), 'hour')) / 1e9).toFixed(2), '1.00')
    const dear = unitsOfScript(group, [null], ended('3500'))
    assert.ok(isRefusal(dear) && /asks \$2\.\d+\/h, over the \$2\S*\/h allowed/.test(dear.message))
    assert.ok(isRefusal(unitsOfScript(group, [null], { ...ended('5'), exitCode: 1 })))
  })
})
