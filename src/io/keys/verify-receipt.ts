/**
 * Checks one receipt offline: nothing is asked of any gateway or node. What the reader holds beside the
 * receipt (the request, the answer) is checked too; what is not at hand is skipped, and the report says so.
 *
 * @example
 * import { provenReceiptSchema, verifyReceipt } from 'baseload/verify'
 *
 * const { ok, checks } = verifyReceipt(provenReceiptSchema.parse(json), { requestBody })
 */
import { leafHash, rootFromPath } from '../../core/protocol/merkle.ts'
import {
  batchText,
  checkReceiptPrice,
  RECEIPT_DOMAIN,
  receiptIdOf,
  receiptText,
  type ProvenReceipt,
  type Receipt,
} from '../../core/protocol/receipt.ts'
import { formatUsd } from '../../core/base/money.ts'
import { idOfKey, sha256, sha256Hex, verifySignature } from './identity.ts'

export { provenReceiptSchema, type ProvenReceipt } from '../../core/protocol/receipt.ts'

export type VerifyCheck = {
  readonly name:
    | 'id'
    | 'node'
    | 'batch'
    | 'signature'
    | 'times'
    | 'price'
    | 'request'
    | 'tokens'
    | 'text'
  readonly outcome: 'ok' | 'failed' | 'skipped'
  /** One sentence: what was found, with the values. */
  readonly detail: string
}
export type VerifyReport = {
  /** No check failed. Skipped checks prove nothing either way. */
  readonly ok: boolean
  readonly checks: readonly VerifyCheck[]
}

export type VerifyEvidence = {
  /** The request body, byte for byte as it was sent. */
  readonly requestBody?: Uint8Array
  /** The text of this attempt alone: of the whole answer only when one node gave it all. */
  readonly text?: string
  /** The token ids of this attempt alone. */
  readonly tokenIds?: readonly number[]
}

/** Checks signature, batch, price and whatever evidence is given. Never throws on a parsed receipt. */
export function verifyReceipt(proven: ProvenReceipt, evidence: VerifyEvidence = {}): VerifyReport {
  const { receipt } = proven
  const root = rootOf(proven)
  const checks = [
    checkId(receipt),
    checkNode(receipt),
    checkBatch(proven, root),
    checkSignature(proven, root),
    checkTimes(proven),
    checkPrice(receipt),
    checkRequest(receipt, evidence.requestBody),
    checkTokens(receipt, evidence.tokenIds),
    checkText(receipt, evidence.text),
  ]
  return { ok: checks.every((check) => check.outcome !== 'failed'), checks }
}

/** Hex Merkle root that the receipt and its path lead to, or null. */
function rootOf({ receipt, proof }: ProvenReceipt): string | null {
  const leaf = leafHash(Buffer.from(receiptText(receipt)), sha256)
  const path = proof.path.map((hex) => Buffer.from(hex, 'hex'))
  const root = rootFromPath({ leaf, index: proof.leafIndex, size: proof.leafCount, path }, sha256)
  return root === null ? null : Buffer.from(root).toString('hex')
}

const ok = (name: VerifyCheck['name'], detail: string): VerifyCheck => ({
  name,
  outcome: 'ok',
  detail,
})
const failed = (name: VerifyCheck['name'], detail: string): VerifyCheck => ({
  name,
  outcome: 'failed',
  detail,
})
const skipped = (name: VerifyCheck['name'], detail: string): VerifyCheck => ({
  name,
  outcome: 'skipped',
  detail,
})

function checkId({ id, attempt }: Receipt): VerifyCheck {
  return id === receiptIdOf(attempt)
    ? ok('id', `${id} belongs to ${attempt}.`)
    : failed('id', `${attempt} has the receipt ${receiptIdOf(attempt)}, not ${id}.`)
}

function checkNode({ node, nodeKey }: Receipt): VerifyCheck {
  const derived = idOfKey('node', nodeKey)
  return node === derived
    ? ok('node', `${node} is the id of key ${nodeKey}.`)
    : failed('node', `Key ${nodeKey} is ${derived}, the receipt says ${node}.`)
}

function checkBatch({ proof }: ProvenReceipt, root: string | null): VerifyCheck {
  const place = `leaf ${proof.leafIndex} of ${proof.leafCount}`
  return root === null
    ? failed('batch', `The path of ${proof.path.length} hashes cannot belong to ${place}.`)
    : ok('batch', `As ${place} the receipt leads to root ${root}.`)
}

function checkSignature({ receipt, proof }: ProvenReceipt, root: string | null): VerifyCheck {
  if (root === null) return failed('signature', 'There is no root that could have been signed.')
  const text = batchText(root, proof.leafCount, proof.signedAtMs)
  return verifySignature(receipt.nodeKey, RECEIPT_DOMAIN, text, proof.signature)
    ? ok('signature', `${receipt.node} signed root ${root} at ${isoTime(proof.signedAtMs)}.`)
    : failed('signature', `The signature over root ${root} is not of key ${receipt.nodeKey}.`)
}

function checkTimes({ receipt, proof }: ProvenReceipt): VerifyCheck {
  const { startedAtMs, finishedAtMs } = receipt
  if (finishedAtMs < startedAtMs)
    return failed('times', `It ended at ${isoTime(finishedAtMs)}, before it began.`)
  if (proof.signedAtMs < finishedAtMs)
    return failed('times', `It was signed at ${isoTime(proof.signedAtMs)}, before it ended.`)
  return ok('times', `It took ${finishedAtMs - startedAtMs} ms from ${isoTime(startedAtMs)}.`)
}

function checkPrice(receipt: Receipt): VerifyCheck {
  const wrong = checkReceiptPrice(receipt)
  if (wrong !== null) return failed('price', `The ${wrong}.`)
  const { billedInputTokens, outputTokens, nanoUsd } = receipt
  return ok(
    'price',
    `${billedInputTokens} input and ${outputTokens} output tokens cost $${formatUsd(BigInt(nanoUsd))}.`,
  )
}

function checkRequest(receipt: Receipt, body: Uint8Array | undefined): VerifyCheck {
  if (body === undefined) return skipped('request', 'The request body is not at hand.')
  const found = sha256Hex(body)
  return found === receipt.requestHash
    ? ok('request', `The request of ${body.length} bytes has the receipt's hash.`)
    : failed('request', `The request hashes to ${found}, the receipt says ${receipt.requestHash}.`)
}

function checkTokens(receipt: Receipt, ids: readonly number[] | undefined): VerifyCheck {
  if (ids === undefined) return skipped('tokens', 'The token ids are not at hand.')
  if (receipt.api === 'embedding')
    return skipped('tokens', 'An embedding has vectors and no output tokens.')
  if (ids.length !== receipt.outputTokens)
    return failed(
      'tokens',
      `There are ${ids.length} tokens, the receipt bills ${receipt.outputTokens}.`,
    )
  const found = hashTokenIds(ids)
  return found === receipt.outputHash
    ? ok('tokens', `The ${ids.length} token ids have the receipt's hash.`)
    : failed('tokens', `The ids hash to ${found}, the receipt says ${receipt.outputHash}.`)
}

function checkText(receipt: Receipt, text: string | undefined): VerifyCheck {
  if (text === undefined) return skipped('text', 'The text of the answer is not at hand.')
  const found = sha256Hex(text)
  return found === receipt.textHash
    ? ok('text', `The text of ${text.length} characters has the receipt's hash.`)
    : failed('text', `The text hashes to ${found}, the receipt says ${receipt.textHash}.`)
}

/** A receipt's `outputHash`: SHA-256 of the ids, each as a big-endian u32. */
export function hashTokenIds(ids: readonly number[]): string {
  const bytes = Buffer.allocUnsafe(4 * ids.length)
  for (let i = 0; i < ids.length; i++) bytes.writeUInt32BE((ids[i] ?? 0) >>> 0, 4 * i)
  return sha256Hex(bytes)
}

/** Times in a receipt are whatever its node wrote: a Date cannot hold all of them. */
const isoTime = (ms: number): string =>
  ms <= 8.64e15 ? new Date(ms).toISOString() : `${ms} ms after 1970`
