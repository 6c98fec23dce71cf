import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { MAX_RATE, priceFor, rateOf } from '../base/rate.ts'
import { edited, PLAIN, refused, taken, unitOf } from './test-sdl.ts'
import { readSdl } from './sdl.ts'

const price = (denom: string, amount: string) =>
  edited(['denom: uact', `denom: ${denom}`], ['amount: 1000', `amount: ${amount}`])
const hourly = (text: string) => priceFor(BigInt(unitOf(text).maxRate), 'hour')
const placement = (...lines: string[]) =>
  edited(['      pricing:', `${lines.map((line) => `      ${line}\n`).join('')}      pricing:`])

describe('pricing', () => {
  it('turns uact a block into dollars, at 429,909 blocks a month', () => {
    const month = priceFor(BigInt(unitOf(price('uact', '1000')).maxRate), 'month')
    assert.equal(month, 429_909_000_000n)
    // The reference's own example: $2.69 an hour is about 4,571 uact a block.
    assert.equal(Number(hourly(price('uact', '4571'))) / 1e9 > 2.69, true)
    assert.equal(Number(hourly(price('uact', '4570'))) / 1e9 < 2.69, true)
  })

  it('turns uakt into dollars by a price that is given, or stated in a warning', () => {
    const text = price('uakt', '1000')
    assert.match(taken(text).warned, /stated \$0\.50, which is no quote/)
    const reading = readSdl(text, 'app.yaml', { usdPerAkt: 2_000_000_000n })
    assert.ok('sdl' in reading)
    assert.deepEqual(reading.warnings, [])
    const [given, assumed] = [reading.sdl.groups[0]?.units[0]?.maxRate, unitOf(text).maxRate]
    assert.equal(BigInt(given ?? 0) / 4n, BigInt(assumed))
  })

  it('takes dollars an hour or a month', () => {
    assert.equal(BigInt(unitOf(price('usd', '1.5')).maxRate), rateOf(1_500_000_000n, 'hour'))
    assert.match(taken(price('usd', '1.5')).warned, /dollars an hour/)
    assert.equal(BigInt(unitOf(price('usd/month', '30')).maxRate), rateOf(30_000_000_000n, 'month'))
    assert.equal(taken(price('usd/hour', '1')).warned, '')
    assert.equal(BigInt(unitOf(price('usd', '1000000')).maxRate), MAX_RATE)
  })

  it('takes axlUSDC as dollars, and no other token', () => {
    const axl = 'ibc/170C677610AC31DF0904FFE09CD3B5C657492170E7E52372E48756B71E56F2F1'
    assert.equal(unitOf(price(axl, '1000')).maxRate, unitOf(price('uact', '1000')).maxRate)
    assert.match(refused(price('invalidtoken', '1')).message, /not known/)
  })

  it('takes amounts above zero with up to 18 decimals', () => {
    for (const amount of ['1', '"1.5"', '0.000000000000000001', '10000000', '1e3', '.5', '1_000'])
      taken(price('uact', amount))
    for (const amount of ['1e3', '.5', '1_000'])
      assert.match(taken(price('uact', amount)).warned, /spelling of an amount/, amount)
    for (const amount of [
      '0',
      '0.0',
      '-1',
      '1,5',
      '',
      'much',
      '0.0000000000000000001',
      '10000001',
      '[1]',
    ])
      assert.match(refused(price('uact', amount)).path, /pricing\.web/, amount)
    refused(price('usd', '1000001'))
  })

  it('has a price for each profile that is deployed', () => {
    assert.match(
      refused(PLAIN.replace('        web:\n          denom', '        db:\n          denom'))
        .message,
      /no price for the profile 'web'/,
    )
    assert.match(
      refused(PLAIN.replace('      pricing:', '      prices:')).message,
      /'pricing' is missing/,
    )
  })
})

describe('placement', () => {
  it('hands on attributes and auditors', () => {
    const { groups } = taken(
      placement(
        'attributes: { region: us-west, tier: 3 }',
        'signedBy: { anyOf: [a, b], allOf: [c] }',
      ),
    )
    assert.deepEqual(groups[0]?.attributes, { region: 'us-west', tier: '3' })
    assert.deepEqual(groups[0]?.signedBy, { anyOf: ['a', 'b'], allOf: ['c'] })
  })

  it('reads nothing as none, with a warning, and refuses what is no attribute', () => {
    assert.match(taken(placement('attributes:')).warned, /read as none/)
    assert.match(taken(placement('placement:')).warned, /no key 'placement'/)
    refused(placement('attributes: [region]'))
    refused(placement('attributes: { region: { us: west } }'))
    refused(placement('signedBy: { anyOf: akash1 }'))
  })
})
