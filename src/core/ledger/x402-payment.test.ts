import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { MAX_PAYMENT_CHARACTERS, MAX_PAYMENT_DEPTH, readPayment } from './x402-payment.ts'

const address = `0x${'Ab'.repeat(20)}`
const bytes32 = `0x${'Cd'.repeat(32)}`
const signature = `0x${'ef'.repeat(65)}`
const accepted = {
  scheme: 'batch-settlement',
  network: 'eip155:31337',
  amount: '100',
  asset: address,
  payTo: address,
}
const channelConfig = {
  payer: address,
  payerAuthorizer: address,
  receiver: address,
  receiverAuthorizer: address,
  token: address,
  withdrawDelay: 900,
  salt: bytes32,
}
const voucher = { channelId: bytes32, maxClaimableAmount: '100', signature }
const good = { x402Version: 2, accepted, payload: { type: 'voucher', channelConfig, voucher } }
const encoded = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64')
const problemOf = (header: string): string => {
  const read = readPayment(header)
  return 'problem' in read ? read.problem : ''
}

/** Base64 of so many characters. */
const padded = (length: number): string => {
  const text = JSON.stringify({ ...good, pad: '' })
  return encoded({ ...good, pad: 'x'.repeat((length / 4) * 3 - text.length) })
}

describe('an x402 payment', () => {
  it('is read, with addresses in lower case', () => {
    const read = readPayment(encoded(good))
    assert.ok('scheme' in read && read.scheme === 'batch-settlement')
    assert.equal(read.config.payer, address.toLowerCase())
    assert.equal(read.voucher.maxClaimable, 100n)
    assert.deepEqual([read.deposit, read.refund], [null, null])
  })

  it('is bounded in size and depth, at the edge', () => {
    assert.equal(problemOf(padded(MAX_PAYMENT_CHARACTERS)), '')
    assert.match(problemOf(padded(MAX_PAYMENT_CHARACTERS + 4)), /the limit is 12288/)
    const nested = (depth: number): unknown => (depth === 0 ? 1 : { in: nested(depth - 1) })
    const deep = (depth: number) => encoded({ ...good, extensions: nested(depth) })
    assert.equal(problemOf(deep(MAX_PAYMENT_DEPTH - 1)), '')
    assert.match(problemOf(deep(MAX_PAYMENT_DEPTH)), /nests deeper than 12/)
  })

  it('names the field at fault', () => {
    const wrong = (more: object) => problemOf(encoded({ ...good, ...more }))
    assert.match(wrong({ x402Version: 1 }), /x402Version/)
    assert.match(wrong({ accepted: { ...accepted, amount: 100 } }), /accepted\.amount/)
    assert.match(wrong({ accepted: { ...accepted, amount: '1e3' } }), /accepted\.amount/)
    assert.match(wrong({ accepted: { ...accepted, amount: String(2n ** 128n) } }), /below 2\^128/)
    assert.match(wrong({ accepted: { ...accepted, payTo: '0x12' } }), /accepted\.payTo/)
    const short = { ...good.payload, voucher: { ...voucher, signature: '0x00' } }
    assert.match(wrong({ payload: short }), /payload\.voucher\.signature/)
    assert.match(problemOf('%%%'), /base64/)
    assert.match(problemOf(Buffer.from([0xff, 0xfe, 0x01]).toString('base64')), /UTF-8/)
  })

  it('is read or refused, whatever the header', () => {
    const text = JSON.stringify(good)
    const broken = fc
      .tuple(fc.nat(text.length), fc.nat(80), fc.string({ maxLength: 30 }))
      .map(([at, length, piece]) => text.slice(0, at) + piece + text.slice(at + length))
      .map((json) => Buffer.from(json).toString('base64'))
    const json = fc.json({ maxDepth: 20 }).map((value) => Buffer.from(value).toString('base64'))
    const header = fc.oneof(fc.string(), fc.base64String(), json, broken)
    let refused = 0
    fc.assert(
      fc.property(header, (one) => {
        const read = readPayment(one)
        if ('problem' in read) refused += Number(read.problem.length > 0)
        else assert.ok('scheme' in read || 'otherScheme' in read)
      }),
      { numRuns: 20_000 },
    )
    assert.ok(refused > 10_000)
  })
})
