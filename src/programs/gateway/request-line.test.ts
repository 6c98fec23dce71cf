import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { refuse } from '../../core/base/refusal.ts'
import type { RequestReport } from './inference.ts'
import { requestLine } from './request-line.ts'
import { aKey } from './test-kit.ts'

describe('request line', () => {
  it('says who, what, where, how much', () => {
    assert.match(
      requestLine(report),
      /^\d\d:\d\d:\d\d {2}alice {2}bard-3m {2}node_abcdef → node_ghijkl {2}7\+2 tokens {2}1\.50 s {2}\$0\.00017 {2}moved 1×$/,
    )
  })

  it('says that the tenant left', () => {
    assert.match(requestLine({ ...report, gone: true }), /tenant left$/)
  })

  it('says why not', () => {
    const refusal = refuse('invalid_api_key', 'This key is not known.')
    assert.match(
      requestLine({ ...report, key: null, bill: null, status: 401, refusal }),
      /nobody {2}✗ 401 invalid_api_key {2}1\.50 s {2}This key is not known\.$/,
    )
  })

  it('is one line, and no command to the terminal, whatever a stranger wrote', () => {
    const refusal = refuse('model_not_found', "no '\u001B[2J\n12:00:00  alice\u009B'")
    assert.doesNotMatch(requestLine({ ...report, refusal }), /\p{Cc}/u)
  })
})

const report: RequestReport = {
  api: 'chat',
  requestId: 'req_1',
  key: aKey(),
  status: 200,
  startedAt: 0,
  finishedAt: 1_500,
  refusal: null,
  model: 'bard-3m',
  firstTokenAt: 100,
  bill: {
    usage: { inputTokens: 7, outputTokens: 2 },
    nanoUsd: 170_000n,
    usd: '0.00017',
    nodes: ['node_abcdefghij', 'node_ghijklmnop'],
    receipts: [],
    attempts: 2,
    saving: null,
    json: '{}',
  },
}
