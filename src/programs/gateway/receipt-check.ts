/** What a receipt must say to be paid, and the settlement that it becomes. */
import { isId } from '../../core/base/id.ts'
import type { NanoUsd } from '../../core/base/money.ts'
import { leafHash, merkleRoot } from '../../core/protocol/merkle.ts'
import { isModelName } from '../../core/protocol/offer.ts'
import {
  batchText,
  checkReceiptPrice,
  isReceipt,
  receiptIdOf,
  receiptPrice,
  RECEIPT_DOMAIN,
  type Receipt,
  type ReceiptBatch,
} from '../../core/protocol/receipt.ts'
import { sha256, type SignatureVerifier } from '../../io/keys/identity.ts'
import type { NodeLink } from '../../io/link/node-link.ts'
import type { ReceiptBatchRecord, Usage } from '../../io/store/store.ts'
import type { KeyEntry } from './keyring.ts'
import type { DoneAttempt } from './receipt-desk.ts'

/** The batch's record when the node's signature covers exactly these texts, else null. */
export function checkBatch(
  link: NodeLink,
  batch: ReceiptBatch,
  verify: SignatureVerifier,
): ReceiptBatchRecord | null {
  const leaves = batch.receipts.map((text) => leafHash(Buffer.from(text), sha256))
  const root = Buffer.from(merkleRoot(leaves, sha256)).toString('hex')
  const { signature, signedAtMs } = batch
  if (!SIGNATURE.test(signature)) return null
  if (!verify(RECEIPT_DOMAIN, batchText(root, leaves.length, signedAtMs), signature)) return null
  return { root, signer: link.node, signedAtMs, signature, leaves: Buffer.concat(leaves) }
}

/** One way to write 64 bytes: decoders are lenient, and what is stored is compared. */
const SIGNATURE = /^[\w-]{86}$/

/** Null too for more than one line: canonical JSON is one, and the ledger takes receipts line by line. */
export function parseReceipt(text: string): Receipt | null {
  if (text.includes('\n')) return null
  try {
    const receipt: unknown = JSON.parse(text)
    return isReceipt(receipt) ? receipt : null
  } catch {
    return null
  }
}

/** Null when the receipt says what the gateway saw, else the first difference. */
export function disagreement(receipt: Receipt, done: DoneAttempt): string | null {
  // Compared one by one: a table of pairs would be a kilobyte of garbage for every request.
  if (receipt.id !== receiptIdOf(done.attempt))
    return differs('id', receipt.id, receiptIdOf(done.attempt))
  if (receipt.node !== done.node) return differs('node', receipt.node, done.node)
  if (receipt.request !== done.request) return differs('request', receipt.request, done.request)
  if (receipt.model !== done.model) return differs('model', receipt.model, done.model)
  if (receipt.modelDigest !== done.digest)
    return differs('model digest', receipt.modelDigest, done.digest)
  const price = receiptPrice(receipt)
  const { inputNanoUsdPerMTok, outputNanoUsdPerMTok } = done.price
  if (price.inputNanoUsdPerMTok !== inputNanoUsdPerMTok)
    return differs('input price', price.inputNanoUsdPerMTok, inputNanoUsdPerMTok)
  if (price.outputNanoUsdPerMTok !== outputNanoUsdPerMTok)
    return differs('output price', price.outputNanoUsdPerMTok, outputNanoUsdPerMTok)
  if (receipt.outputTokens !== done.outputTokens)
    return differs('output tokens', receipt.outputTokens, done.outputTokens)
  if (receipt.requestHash !== done.requestHash)
    return differs('request hash', receipt.requestHash, done.requestHash)
  if (receipt.outputHash !== done.outputHash)
    return differs('output hash', receipt.outputHash, done.outputHash)
  if (receipt.textHash !== done.textHash)
    return differs('text hash', receipt.textHash, done.textHash)
  // A node whose engine broke does not know its prompt's length, and asks for less.
  if (receipt.billedInputTokens > done.billedInputTokens)
    return differs('billed input tokens', receipt.billedInputTokens, done.billedInputTokens)
  return checkReceiptPrice(receipt)
}

type Said = string | number | bigint
const differs = (what: string, theirs: Said, ours: Said): string =>
  `${what}: the node says ${theirs}, the gateway saw ${ours}`

/** The ledger's integers end here. */
const MAX_COUNT = 0x7fff_ffff

/** What can still be checked when the attempt's own record is gone. */
export function lateProblem(receipt: Receipt, ceilingNanoUsd: NanoUsd): string | null {
  if (receipt.id !== receiptIdOf(receipt.attempt)) return 'its id does not fit its attempt'
  if (!isId('req', receipt.request)) return 'its request is none'
  if (!isModelName(receipt.model)) return 'its model is none'
  if (Math.max(receipt.billedInputTokens, receipt.outputTokens) > MAX_COUNT)
    return `it counts more than ${MAX_COUNT} tokens`
  if (BigInt(receipt.nanoUsd) > ceilingNanoUsd)
    return `it asks ${receipt.nanoUsd} nano-dollars where ${ceilingNanoUsd} were set aside`
  return checkReceiptPrice(receipt)
}

export function usageOf(done: DoneAttempt, nanoUsd: NanoUsd, witness: Usage['witness']): Usage {
  return {
    attempt: done.attempt,
    request: done.request,
    account: done.key.account.id,
    apiKey: done.key.key.id,
    node: done.node,
    model: done.model,
    api: done.api,
    billedInputTokens: done.billedInputTokens,
    outputTokens: done.outputTokens,
    nanoUsd,
    hold: null,
    startedAt: done.startedAt,
    finishedAt: done.finishedAt,
    witness,
  }
}

export function lateUsage(receipt: Receipt, key: KeyEntry): Usage {
  return {
    attempt: receipt.attempt,
    request: receipt.request,
    account: key.account.id,
    apiKey: key.key.id,
    node: receipt.node,
    model: receipt.model,
    api: receipt.api,
    billedInputTokens: receipt.billedInputTokens,
    outputTokens: receipt.outputTokens,
    nanoUsd: BigInt(receipt.nanoUsd),
    hold: null,
    startedAt: receipt.startedAtMs,
    finishedAt: receipt.finishedAtMs,
    witness: 'node',
  }
}
