/**
 * A node reduced to what the gateway sees of it: a real key, a real link, a signed offer, tokens, and real
 * receipts in signed batches. What a node does besides (engine, spool, templates) would only slow the load down.
 */
import { canonicalJson } from '../../src/core/base/canonical-json.ts'
import { priceTokens } from '../../src/core/base/money.ts'
import { leafHash, merkleRoot } from '../../src/core/protocol/merkle.ts'
import { OFFER_DOMAIN, priceOf, type OfferedModel } from '../../src/core/protocol/offer.ts'
import {
  batchText,
  MAX_RECEIPTS_PER_BATCH,
  NO_PREVIOUS,
  RECEIPT_BATCH_MS,
  RECEIPT_DOMAIN,
  receiptIdOf,
  receiptText,
  type Receipt,
} from '../../src/core/protocol/receipt.ts'
import type { TokenChunk } from '../../src/core/protocol/token-chunk.ts'
import { ephemeralIdentity, sha256, sha256Hex } from '../../src/io/keys/identity.ts'
import { hashTokenIds } from '../../src/io/keys/verify-receipt.ts'
import type { IncomingAttempt } from '../../src/io/link/incoming-attempt.ts'
import { connectToGateway, type LinkClient } from '../../src/io/link/link-client.ts'
import { silentLogger } from '../../src/io/telemetry/logger.ts'

const SLOTS = 256
const INPUT_TOKENS = 128
const TOKEN: TokenChunk = { id: 4242, text: ' token', logprob: '' }
const STEP = [TOKEN]

export const benchModel: OfferedModel = {
  model: 'bench-model',
  digest: `sha256:${'ab'.repeat(32)}`,
  engine: 'bench/1',
  quantization: null,
  contextTokens: 8192,
  slots: SLOTS,
  capabilities: ['chat', 'completion', 'token_ids', 'seed', 'resume_ids', 'stop'],
  inputNanoUsdPerMTok: '20000000',
  outputNanoUsdPerMTok: '60000000',
}

/** An answer that is being given, token by token. */
type Answer = { readonly attempt: IncomingAttempt; readonly startedAtMs: number; given: number }

/** Links a bench node to the gateway; `linked` is told each time that it is welcomed. */
export function startBenchNode(gateway: string, linked: () => void): void {
  nodes.push(new BenchNode(gateway, linked))
}

const nodes: BenchNode[] = []

class BenchNode {
  readonly #identity = ephemeralIdentity('node')
  readonly #link: LinkClient
  readonly #linked: () => void
  #answers: Answer[] = []
  #receipts: { readonly text: string; readonly leaf: Uint8Array }[] = []
  #previous = NO_PREVIOUS
  #carry = 0n
  #batchTimer: NodeJS.Timeout | null = null
  #stepping = false

  constructor(gateway: string, linked: () => void) {
    this.#linked = linked
    this.#link = connectToGateway({
      url: gateway,
      identity: this.#identity,
      offer: () => this.#offer(),
      load: () => ({ free: [SLOTS - this.#answers.length], queued: [0] }),
      onAttempt: (attempt) => this.#begin(attempt),
      onReceiptsAcknowledged: () => {},
      onLinked: () => this.#linked(),
      onUnlinked: () => {},
      onRefused: (code, message) => {
        throw new Error(`the gateway refused a bench node: ${code}: ${message}`)
      },
      now: Date.now,
      random: Math.random,
      logger: silentLogger,
    })
  }

  /** One token for every answer that is being given, as a step of continuous batching gives it. */
  step(): void {
    this.#answers = this.#answers.filter((answer) => {
      const { attempt } = answer
      if (attempt.signal.aborted) {
        this.#end(answer, 'cancelled')
        return false
      }
      void attempt.tokens(STEP)
      answer.given += 1
      if (answer.given < attempt.header.maxTokens) return true
      this.#end(answer, 'length')
      return false
    })
  }

  #begin(attempt: IncomingAttempt): void {
    const answer: Answer = { attempt, startedAtMs: Date.now(), given: 0 }
    const body = Buffer.from(attempt.body.buffer, attempt.body.byteOffset, attempt.body.byteLength)
    if (!body.includes('"stream":true')) {
      const { maxTokens } = attempt.header
      void attempt.tokens(Array.from({ length: maxTokens }, () => TOKEN))
      answer.given = maxTokens
      this.#end(answer, 'length')
      return
    }
    this.#answers.push(answer)
    if (!this.#stepping) this.#keepStepping(paceMsOf(body))
  }

  /** Without a pace as fast as the loop turns; reads and writes get their turn between steps. */
  #keepStepping(paceMs: number): void {
    this.#stepping = true
    const begin = performance.now() + paceMs * Math.random()
    let steps = 0
    const turn = (): void => {
      this.step()
      steps += 1
      if (this.#answers.length === 0) this.#stepping = false
      else if (paceMs === 0) setImmediate(turn)
      else setTimeout(turn, Math.max(0, begin + steps * paceMs - performance.now()))
    }
    if (paceMs === 0) setImmediate(turn)
    else setTimeout(turn, begin - performance.now())
  }

  #end(answer: Answer, finish: 'length' | 'cancelled'): void {
    answer.attempt.end({
      finish,
      inputTokens: INPUT_TOKENS,
      outputTokens: answer.given,
    })
    // After the link's own flush, which was asked for first: the tenant does not wait for the receipt.
    setImmediate(() => this.#receipt(answer, finish))
  }

  #receipt({ attempt, given, startedAtMs }: Answer, finish: 'length' | 'cancelled'): void {
    const { header, body } = attempt
    const billedInputTokens = header.billInput ? INPUT_TOKENS : 0
    const price = priceOf(benchModel)
    const due = priceTokens({
      inputTokens: billedInputTokens,
      outputTokens: given,
      price,
      carry: this.#carry,
    })
    const receipt: Receipt = {
      v: 1,
      id: receiptIdOf(header.attempt),
      attempt: header.attempt,
      request: header.request,
      gateway: this.#link.gateway ?? '',
      node: this.#identity.id,
      nodeKey: this.#identity.publicKey,
      api: header.api,
      model: header.model,
      modelDigest: benchModel.digest,
      engine: benchModel.engine,
      requestHash: sha256Hex(body),
      ...answerHashes(given),
      choice: header.choice,
      seed: header.seed,
      firstToken: 0,
      inputTokens: INPUT_TOKENS,
      billedInputTokens,
      outputTokens: given,
      finish,
      startedAtMs,
      finishedAtMs: Date.now(),
      inputNanoUsdPerMTok: benchModel.inputNanoUsdPerMTok,
      outputNanoUsdPerMTok: benchModel.outputNanoUsdPerMTok,
      carryIn: Number(this.#carry),
      carryOut: Number(due.carry),
      nanoUsd: String(due.nanoUsd),
      previous: this.#previous,
    }
    const text = receiptText(receipt)
    const leaf = leafHash(Buffer.from(text), sha256)
    this.#previous = Buffer.from(leaf).toString('hex')
    this.#carry = due.carry
    this.#receipts.push({ text, leaf })
    if (!this.#batchTimer) this.#batchTimer = setTimeout(() => this.#handIn(), RECEIPT_BATCH_MS)
  }

  #handIn(): void {
    this.#batchTimer = null
    const batch = this.#receipts.splice(0, MAX_RECEIPTS_PER_BATCH)
    const leaves = batch.map(({ leaf }) => leaf)
    const root = Buffer.from(merkleRoot(leaves, sha256)).toString('hex')
    const signedAtMs = Date.now()
    const text = batchText(root, leaves.length, signedAtMs)
    const signature = this.#identity.sign(RECEIPT_DOMAIN, text)
    const receipts = batch.map((receipt) => receipt.text)
    if (!this.#link.sendReceipts({ signedAtMs, signature, receipts }))
      this.#receipts.unshift(...batch)
    if (this.#receipts.length > 0)
      this.#batchTimer = setTimeout(() => this.#handIn(), RECEIPT_BATCH_MS / 10)
  }

  #offer() {
    const offer = canonicalJson({
      v: 1,
      node: this.#identity.id,
      sequence: Date.now(),
      issuedAtMs: Date.now(),
      software: 'baseload-bench/1',
      providerName: null,
      region: null,
      dataCollection: 'deny',
      models: [benchModel],
    })
    return { offer, signature: this.#identity.sign(OFFER_DOMAIN, offer) }
  }
}

/** `"user":"pace=10000"` asks for a token every 10,000 µs, as the upstream mock understands it too. */
function paceMsOf(body: Buffer): number {
  const at = body.indexOf('pace=')
  return at < 0 ? 0 : Number.parseInt(body.toString('latin1', at + 5, at + 15), 10) / 1000
}

const hashesByLength = new Map<number, { outputHash: string; textHash: string }>()

/** All answers of one length are the same here: hashing them over and over would only slow the load down. */
function answerHashes(tokens: number): { outputHash: string; textHash: string } {
  const known = hashesByLength.get(tokens)
  if (known) return known
  const made = {
    outputHash: hashTokenIds(Array.from({ length: tokens }, () => TOKEN.id)),
    textHash: sha256Hex(TOKEN.text.repeat(tokens)),
  }
  hashesByLength.set(tokens, made)
  return made
}
