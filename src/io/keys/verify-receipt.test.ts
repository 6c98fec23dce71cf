import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { leafHash, merklePath, merkleRoot } from '../../core/protocol/merkle.ts'
import {
  batchText,
  NO_PREVIOUS,
  RECEIPT_DOMAIN,
  receiptText,
  type ProvenReceipt,
  type Receipt,
} from '../../core/protocol/receipt.ts'
import { ephemeralIdentity, sha256, sha256Hex } from './identity.ts'
import {
  hashTokenIds,
  verifyReceipt,
  type VerifyCheck,
  type VerifyEvidence,
} from './verify-receipt.ts'

describe('verifyReceipt', () => {
  it('accepts an honest receipt wherever it stands in its batch', () => {
    for (const size of [1, 2, 3, 7, 8])
      for (let index = 0; index < size; index++) {
        const { proven, evidence } = setup({ size, index })
        assert.deepEqual(failures(proven, evidence), [], `leaf ${index} of ${size}`)
      }
  })

  it('skips what it has no evidence for, and says so', () => {
    const report = verifyReceipt(setup().proven)
    assert.equal(report.ok, true)
    assert.deepEqual(
      report.checks.filter((check) => check.outcome === 'skipped').map((check) => check.name),
      ['request', 'tokens', 'text'],
    )
  })

  it('finds each lie by name', () => {
    const lies: [Partial<Receipt>, VerifyCheck['name'][]][] = [
      [{ id: 'rcpt_other' }, ['id']],
      [{ node: ephemeralIdentity('node').id }, ['node']],
      [{ outputTokens: 3 }, ['price', 'tokens']],
      [{ nanoUsd: '100' }, ['price']],
      [{ requestHash: NO_PREVIOUS }, ['request']],
      [{ outputHash: NO_PREVIOUS }, ['tokens']],
      [{ textHash: NO_PREVIOUS }, ['text']],
      [{ finishedAtMs: 999 }, ['times']],
    ]
    for (const [lie, names] of lies) {
      // A node that signs its own lie: only the contents give it away.
      const signed = setup({ lie })
      assert.deepEqual(failures(signed.proven, signed.evidence), names, JSON.stringify(lie))
      // Someone else who changes a signed receipt: the signature gives it away as well.
      const { proven, evidence } = setup()
      const forged = { ...proven, receipt: { ...proven.receipt, ...lie } }
      assert.ok(failures(forged, evidence).includes('signature'), JSON.stringify(lie))
    }
  })

  it('refuses another proof than its own', () => {
    const { proven } = setup({ size: 5, index: 2 })
    const proof = proven.proof
    for (const wrong of [
      { ...proof, leafIndex: 1 },
      { ...proof, leafCount: 6 },
      { ...proof, path: proof.path.slice(1) },
      { ...proof, signedAtMs: proof.signedAtMs + 1 },
      { ...proof, signature: 'AAAA' },
      { ...proof, leafIndex: 9 },
    ])
      assert.ok(failures({ ...proven, proof: wrong }, {}).includes('signature'))
  })

  it('never throws, whatever the numbers', () => {
    const lie = { startedAtMs: Number.MAX_SAFE_INTEGER, nodeKey: 'x' }
    assert.equal(verifyReceipt(setup({ lie }).proven).ok, false)
  })
})

function failures(proven: ProvenReceipt, evidence: VerifyEvidence): string[] {
  const { ok, checks } = verifyReceipt(proven, evidence)
  const names = checks.filter((check) => check.outcome === 'failed').map((check) => check.name)
  assert.equal(ok, names.length === 0)
  return names
}

function setup({
  size = 4,
  index = 1,
  lie = {},
}: { size?: number; index?: number; lie?: Partial<Receipt> } = {}) {
  const node = ephemeralIdentity('node')
  const requestBody = Buffer.from('{"model":"m"}')
  const text = 'héllo'
  const tokenIds = [7, 0xffff_ffff]
  const receipt: Receipt = {
    v: 1,
    id: 'rcpt_abc',
    attempt: 'att_abc',
    request: 'req_abc',
    gateway: 'gw_abc',
    node: node.id,
    nodeKey: node.publicKey,
    api: 'chat',
    model: 'm',
    modelDigest: 'name:m',
    engine: 'fake/1',
    requestHash: sha256Hex(requestBody),
    outputHash: hashTokenIds(tokenIds),
    textHash: sha256Hex(text),
    choice: 0,
    seed: 1,
    firstToken: 0,
    inputTokens: 3,
    billedInputTokens: 3,
    outputTokens: 2,
    finish: 'stop',
    startedAtMs: 1000,
    finishedAtMs: 2000,
    inputNanoUsdPerMTok: '20000000',
    outputNanoUsdPerMTok: '50000000',
    carryIn: 0,
    carryOut: 0,
    nanoUsd: '160',
    previous: NO_PREVIOUS,
    ...lie,
  }
  const leaves = Array.from({ length: size }, (_, i) =>
    leafHash(Buffer.from(i === index ? receiptText(receipt) : `other ${i}`), sha256),
  )
  const signedAtMs = 3000
  const root = Buffer.from(merkleRoot(leaves, sha256)).toString('hex')
  const proof = {
    signedAtMs,
    signature: node.sign(RECEIPT_DOMAIN, batchText(root, size, signedAtMs)),
    leafIndex: index,
    leafCount: size,
    path: merklePath(index, leaves, sha256).map((hash) => Buffer.from(hash).toString('hex')),
  }
  return { proven: { receipt, proof }, evidence: { requestBody, text, tokenIds } }
}
