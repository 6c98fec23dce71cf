/**
 * A receipt: what one attempt was, said and signed by the node that ran it. The signature covers the Merkle
 * root of a batch (at most 100 ms of work), because an Ed25519 signature a request would double what a
 * request costs; each receipt proves its place in its batch.
 *
 * Whoever holds the receipt, the proof and the tenant's own request can check everything in it offline:
 * signature, hashes, token count, price.
 */
import { z } from 'zod'
import { canonicalJson, type Canonical } from '../base/canonical-json.ts'
import { priceTokens, type TokenPrice } from '../base/money.ts'
import { isCount, isRecord, type Fields } from './read-fields.ts'

export const RECEIPT_DOMAIN = 'baseload receipts v1\n'
/** A node signs at the latest after this long, so that a tenant can see a receipt soon after its answer. */
export const RECEIPT_BATCH_MS = 100
export const MAX_RECEIPTS_PER_BATCH = 256

const HASH = /^[0-9a-f]{64}$/
const NANO = /^\d{1,18}$/
const hash = z.string().regex(HASH)
const nano = z.string().regex(NANO)

export const receiptSchema = z.strictObject({
  v: z.literal(1),
  /** `rcpt_` + the attempt's random part: known to the gateway before the receipt arrives. */
  id: z.string().max(60),
  attempt: z.string().max(60),
  request: z.string().max(60),
  gateway: z.string().max(60),
  node: z.string().max(60),
  /** The node's Ed25519 public key, base64url; `node` is derived from it. */
  nodeKey: z.string().max(60),
  api: z.enum(['chat', 'completion', 'embedding']),
  model: z.string().max(200),
  modelDigest: z.string().max(300),
  engine: z.string().max(200),
  /** SHA-256 of the request body, byte for byte as the tenant sent it. */
  requestHash: hash,
  /** SHA-256 of this attempt's own token ids, each as a big-endian u32 (embeddings: of the f32 vectors). */
  outputHash: hash,
  /** SHA-256 of this attempt's own text in UTF-8, as it was sent. */
  textHash: hash,
  /** Which choice of `n` this attempt was for. */
  choice: z.int().min(0),
  seed: z.int().min(0).max(0xffff_ffff).nullable(),
  /** Position of this attempt's first token in the answer: above 0 when it took over from another node. */
  firstToken: z.int().min(0),
  inputTokens: z.int().min(0),
  /** Input tokens that are paid for: 0 for a takeover and for choices after the first. */
  billedInputTokens: z.int().min(0),
  outputTokens: z.int().min(0),
  finish: z.enum(['stop', 'length', 'cancelled', 'failed']),
  startedAtMs: z.int().min(0),
  finishedAtMs: z.int().min(0),
  inputNanoUsdPerMTok: nano,
  outputNanoUsdPerMTok: nano,
  /** Millionths of a nano-dollar carried from this node's previous receipt, and on to the next. */
  carryIn: z.int().min(0).max(999_999),
  carryOut: z.int().min(0).max(999_999),
  nanoUsd: nano,
  /** Hex SHA-256 leaf of this node's previous receipt for this gateway; 64 zeros for the first. */
  previous: hash,
})
export type Receipt = z.infer<typeof receiptSchema>

/** What `receiptSchema` takes, told by hand: one comes with every request. */
export function isReceipt(value: unknown): value is Receipt {
  return isRecord(value) && isIdentity(value) && isWork(value) && isPrice(value) && hasNoMore(value)
}

const isIdentity = (r: Fields): boolean =>
  r['v'] === 1 &&
  isText(r['id'], 60) &&
  isText(r['attempt'], 60) &&
  isText(r['request'], 60) &&
  isText(r['gateway'], 60) &&
  isText(r['node'], 60) &&
  isText(r['nodeKey'], 60) &&
  isHash(r['previous'])

const isWork = (r: Fields): boolean =>
  (r['api'] === 'chat' || r['api'] === 'completion' || r['api'] === 'embedding') &&
  isText(r['model'], 200) &&
  isText(r['modelDigest'], 300) &&
  isText(r['engine'], 200) &&
  isHash(r['requestHash']) &&
  isHash(r['outputHash']) &&
  isHash(r['textHash']) &&
  isCount(r['choice']) &&
  (r['seed'] === null || isWithin(r['seed'], 0xffff_ffff)) &&
  isCount(r['firstToken']) &&
  isFinish(r['finish']) &&
  isCount(r['startedAtMs']) &&
  isCount(r['finishedAtMs'])

const isPrice = (r: Fields): boolean =>
  isCount(r['inputTokens']) &&
  isCount(r['billedInputTokens']) &&
  isCount(r['outputTokens']) &&
  isNano(r['inputNanoUsdPerMTok']) &&
  isNano(r['outputNanoUsdPerMTok']) &&
  isNano(r['nanoUsd']) &&
  isWithin(r['carryIn'], 999_999) &&
  isWithin(r['carryOut'], 999_999)

const RECEIPT_FIELDS = Object.keys(receiptSchema.shape).length

/** All that must be there is; counted, so that nothing else is. */
function hasNoMore(receipt: Fields): boolean {
  let fields = 0
  for (const name in receipt) if (Object.hasOwn(receipt, name)) fields += 1
  return fields === RECEIPT_FIELDS
}

const isText = (value: unknown, most: number): boolean =>
  typeof value === 'string' && value.length <= most
const isHash = (value: unknown): boolean => typeof value === 'string' && HASH.test(value)
const isNano = (value: unknown): boolean => typeof value === 'string' && NANO.test(value)
const isWithin = (value: unknown, most: number): boolean => isCount(value) && value <= most
const isFinish = (value: unknown): boolean =>
  value === 'stop' || value === 'length' || value === 'cancelled' || value === 'failed'

const batchHeadSchema = z.strictObject({
  signedAtMs: z.int().min(0),
  /** base64url Ed25519 over `batchText`. */
  signature: z.string().max(200),
})
/** One batch on the link: the exact signed texts in leaf order. The gateway works the root out again. */
export type ReceiptBatch = z.infer<typeof batchHeadSchema> & {
  /** Canonical JSON of each receipt, at most `MAX_RECEIPT_CHARACTERS`. */
  readonly receipts: readonly string[]
}

const MAX_RECEIPT_CHARACTERS = 8192

/** A batch as it travels: a line for the signature, then a line a receipt. Canonical JSON has no line breaks. */
export function receiptBatchLines({ signedAtMs, signature, receipts }: ReceiptBatch): string {
  return [JSON.stringify({ signedAtMs, signature }), ...receipts].join('\n')
}

/** The other way; or what is malformed. Of the receipts only their sizes are looked at. */
export function readReceiptBatch(lines: string): ReceiptBatch | string {
  const [head = '', ...receipts] = lines.split('\n')
  if (receipts.length === 0 || receipts.length > MAX_RECEIPTS_PER_BATCH)
    return `${receipts.length} receipts, not 1 to ${MAX_RECEIPTS_PER_BATCH}`
  const tooLong = receipts.find(({ length }) => length > MAX_RECEIPT_CHARACTERS)
  if (tooLong !== undefined)
    return `a receipt of ${tooLong.length} characters, limit ${MAX_RECEIPT_CHARACTERS}`
  try {
    const read = batchHeadSchema.safeParse(JSON.parse(head))
    return read.success ? { ...read.data, receipts } : 'its first line is not a signature'
  } catch {
    return 'its first line is not JSON'
  }
}

/** Ids that are durably committed: the node may forget them. */
export const receiptsAckSchema = z.strictObject({
  receipts: z.array(z.string().max(60)).max(4 * MAX_RECEIPTS_PER_BATCH),
})

/** A receipt with all that is needed to check it offline: the file that `baseload receipts verify` reads. */
export const provenReceiptSchema = z.strictObject({
  receipt: receiptSchema,
  proof: z.strictObject({
    signedAtMs: z.int().min(0),
    signature: z.string().max(200),
    leafIndex: z.int().min(0),
    leafCount: z.int().min(1),
    path: z.array(hash).max(32),
  }),
})
export type ProvenReceipt = z.infer<typeof provenReceiptSchema>

export const NO_PREVIOUS = '0'.repeat(64)

/** `att_x` → `rcpt_x`. */
export const receiptIdOf = (attempt: string): string =>
  `rcpt_${attempt.slice(attempt.indexOf('_') + 1)}`

/** The text that is a leaf of the batch. */
export const receiptText = (receipt: Receipt): string => canonicalJson(receipt satisfies Canonical)

/** What the node signs for a batch, before `RECEIPT_DOMAIN` is put in front. */
export const batchText = (root: string, leafCount: number, signedAtMs: number): string =>
  canonicalJson({ leafCount, root, signedAtMs })

export function receiptPrice(receipt: Receipt): TokenPrice {
  return {
    inputNanoUsdPerMTok: BigInt(receipt.inputNanoUsdPerMTok),
    outputNanoUsdPerMTok: BigInt(receipt.outputNanoUsdPerMTok),
  }
}

/** Null when tokens × price + carry is what the receipt says, else what is wrong, with both numbers. */
export function checkReceiptPrice(receipt: Receipt): string | null {
  const due = priceTokens({
    inputTokens: receipt.billedInputTokens,
    outputTokens: receipt.outputTokens,
    price: receiptPrice(receipt),
    carry: BigInt(receipt.carryIn),
  })
  if (receipt.billedInputTokens > receipt.inputTokens) return 'bills more input tokens than it read'
  if (BigInt(receipt.nanoUsd) !== due.nanoUsd)
    return `price is ${receipt.nanoUsd} nano-dollars, tokens × price is ${due.nanoUsd}`
  if (BigInt(receipt.carryOut) !== due.carry)
    return `carry is ${receipt.carryOut}, should be ${due.carry}`
  return null
}
