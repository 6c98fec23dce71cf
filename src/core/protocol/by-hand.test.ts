/** The checks that are written by hand for speed say what their schemas say. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { attemptEndSchema, isAttemptEnd } from './link.ts'
import { isReceipt, receiptSchema, type Receipt } from './receipt.ts'

describe('checks by hand', () => {
  it('take a receipt exactly when its schema does', () => {
    assert.equal(isReceipt(receipt), true)
    assert.equal(isReceipt({ ...receipt, seed: null }), true)
    fc.assert(
      fc.property(fc.constantFrom(...Object.keys(receipt), 'other'), odd, (name, value) => {
        const changed = { ...receipt, [name]: value }
        assert.equal(isReceipt(changed), receiptSchema.safeParse(changed).success)
      }),
      { numRuns: 5000 },
    )
  })

  it('miss every missing member', () => {
    for (const name of Object.keys(receipt)) {
      const { [name]: _, ...rest }: Record<string, unknown> = receipt
      assert.equal(isReceipt(rest), false, name)
    }
  })

  it('take an END exactly when its schema does', () => {
    const end = { finish: 'stop', inputTokens: 3, outputTokens: 0 }
    assert.equal(isAttemptEnd(end), true)
    fc.assert(
      fc.property(fc.constantFrom(...Object.keys(end)), odd, (name, value) => {
        const changed = { ...end, [name]: value }
        assert.equal(isAttemptEnd(changed), attemptEndSchema.safeParse(changed).success)
      }),
      { numRuns: 2000 },
    )
  })
})

/** Values that are nearly right, and any others. */
const odd = fc.oneof(
  fc.jsonValue(),
  fc.integer({ min: -2, max: 5_000_000_000 }),
  fc.constantFrom(999_999, 1_000_000, 0xffff_ffff, 2 ** 53, 1.5, null, 'failed', 'stop', 'chat'),
  fc.nat(310).map((length) => 'a'.repeat(length)),
  fc.nat(70).map((length) => '7'.repeat(length)),
)

const receipt: Receipt = {
  v: 1,
  id: 'rcpt_abc',
  attempt: 'att_abc',
  request: 'req_abc',
  gateway: 'gw_abc',
  node: 'node_abc',
  nodeKey: 'key',
  api: 'chat',
  model: 'm',
  modelDigest: 'name:m',
  engine: 'fake/1',
  requestHash: '0'.repeat(64),
  outputHash: '1'.repeat(64),
  textHash: 'a'.repeat(64),
  choice: 0,
  seed: 7,
  firstToken: 0,
  inputTokens: 3,
  billedInputTokens: 3,
  outputTokens: 2,
  finish: 'stop',
  startedAtMs: 1,
  finishedAtMs: 2,
  inputNanoUsdPerMTok: '10',
  outputNanoUsdPerMTok: '20',
  carryIn: 0,
  carryOut: 70,
  nanoUsd: '0',
  previous: '0'.repeat(64),
}
