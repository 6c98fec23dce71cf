/** Settlements and receipts that look like real ones, for tests and benchmarks. */
import { randomBytes } from 'node:crypto'
import { idFrom, type IdPrefix } from '../../core/base/id.ts'
import { leafHash, merkleRoot } from '../../core/protocol/merkle.ts'
import {
  batchText,
  NO_PREVIOUS,
  RECEIPT_DOMAIN,
  receiptIdOf,
  receiptText,
  type Receipt,
} from '../../core/protocol/receipt.ts'
import { ephemeralIdentity, sha256, type Identity } from '../keys/identity.ts'
import type { Settlement, StoredReceipt, Usage } from './store.ts'

export const randomId = (prefix: IdPrefix): string => idFrom(prefix, randomBytes(15))

/** What a node did, 10 tokens in and 20 out, for one microdollar unless told otherwise. */
export function sampleUsage(more: Partial<Usage> & Pick<Usage, 'account'>): Usage {
  return {
    attempt: randomId('att'),
    request: randomId('req'),
    apiKey: 'key_none',
    node: 'node_a',
    model: 'bard-3m',
    api: 'chat',
    billedInputTokens: 10,
    outputTokens: 20,
    nanoUsd: 1000n,
    hold: null,
    startedAt: 1_700_000_000_000,
    finishedAt: 1_700_000_001_000,
    witness: 'node',
    ...more,
  }
}

/** These attempts with receipts, signed by one node as one batch. */
export function withReceipts(
  usages: readonly Usage[],
  node: Identity = ephemeralIdentity('node'),
): Settlement[] {
  const texts = usages.map((usage) => receiptText(sampleReceipt(usage, node)))
  const leaves = texts.map((text) => leafHash(Buffer.from(text), sha256))
  const root = Buffer.from(merkleRoot(leaves, sha256)).toString('hex')
  const batch = {
    root,
    signer: node.publicKey,
    signedAtMs: 1_700_000_001_100,
    signature: node.sign(RECEIPT_DOMAIN, batchText(root, leaves.length, 1_700_000_001_100)),
    leaves: Buffer.concat(leaves),
  }
  return usages.map((usage, leafIndex) => {
    const { attempt, account } = usage
    const text = texts[leafIndex] ?? ''
    const receipt: StoredReceipt = {
      id: receiptIdOf(attempt),
      attempt,
      account,
      text,
      batch,
      leafIndex,
    }
    return { usage, receipt }
  })
}

const sampleReceipt = (usage: Usage, node: Identity): Receipt => ({
  v: 1,
  id: receiptIdOf(usage.attempt),
  attempt: usage.attempt,
  request: usage.request,
  gateway: 'gw_0123456789abcdefghjkmnpq',
  node: node.id,
  nodeKey: node.publicKey,
  api: usage.api,
  model: usage.model,
  modelDigest: `sha256:${'5'.repeat(64)}`,
  engine: 'llama.cpp/3.22.1',
  requestHash: '1'.repeat(64),
  outputHash: '2'.repeat(64),
  textHash: '3'.repeat(64),
  choice: 0,
  seed: 42,
  firstToken: 0,
  inputTokens: usage.billedInputTokens,
  billedInputTokens: usage.billedInputTokens,
  outputTokens: usage.outputTokens,
  finish: 'stop',
  startedAtMs: usage.startedAt,
  finishedAtMs: usage.finishedAt,
  inputNanoUsdPerMTok: '20000000',
  outputNanoUsdPerMTok: '40000000',
  carryIn: 0,
  carryOut: 0,
  nanoUsd: String(usage.nanoUsd),
  previous: NO_PREVIOUS,
})
