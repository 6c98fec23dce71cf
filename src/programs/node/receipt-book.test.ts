import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import fc from 'fast-check'
import { MAX_CONTROL_PAYLOAD_BYTES } from '../../core/protocol/frame.ts'
import { leafHash, merklePath } from '../../core/protocol/merkle.ts'
import {
  checkReceiptPrice,
  MAX_RECEIPTS_PER_BATCH,
  NO_PREVIOUS,
  readReceiptBatch,
  receiptBatchLines,
  receiptSchema,
  receiptText,
  type Receipt,
  type ReceiptBatch,
} from '../../core/protocol/receipt.ts'
import { ephemeralIdentity, sha256, sha256Hex } from '../../io/keys/identity.ts'
import { verifyReceipt } from '../../io/keys/verify-receipt.ts'
import { silentLogger } from '../../io/telemetry/logger.ts'
import { ReceiptBook, type Paid, type ReceiptDraft } from './receipt-book.ts'
import { openSpool } from './spool.ts'

describe('receipt book', { timeout: 60_000 }, () => {
  it('hands in receipts that anyone can verify offline', async (t) => {
    const { open } = setup(t)
    const { book, batches, link } = await open()
    link.up()
    for (let i = 0; i < 5; i++) book.write(draft(i), price)
    await batches.until(5)
    for (const batch of batches.all) {
      assert.deepEqual(readReceiptBatch(receiptBatchLines(batch)), batch)
      const leaves = batch.receipts.map((text) => leafHash(Buffer.from(text), sha256))
      batch.receipts.forEach((text, leafIndex) => {
        const path = merklePath(leafIndex, leaves, sha256).map((hash) =>
          Buffer.from(hash).toString('hex'),
        )
        const { signedAtMs, signature } = batch
        const proof = { signedAtMs, signature, leafIndex, leafCount: leaves.length, path }
        const report = verifyReceipt(
          { receipt: receiptSchema.parse(JSON.parse(text)), proof },
          { requestBody: Buffer.from('body'), text: 'text' },
        )
        assert.equal(report.ok, true, JSON.stringify(report.checks))
      })
    }
    await book.close()
  })

  it('carries every fraction along one unbroken chain, over restarts', async (t) => {
    const tokens = fc.record({ input: fc.nat(100_000), output: fc.nat(100_000) })
    const prices = fc.record({ input: fc.nat(99_999_999), output: fc.nat(99_999_999) })
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(tokens, prices), { maxLength: 12 }), async (work) => {
        const { open } = setup(t)
        let written: Receipt[] = []
        let exact = 0n
        for (const [i, [token, cost]] of work.entries()) {
          const { book } = await open()
          const money = {
            inputNanoUsdPerMTok: BigInt(cost.input),
            outputNanoUsdPerMTok: BigInt(cost.output),
          }
          const more = {
            inputTokens: token.input,
            billedInputTokens: token.input,
            outputTokens: token.output,
          }
          written.push(book.write({ ...draft(i), ...more }, money))
          exact +=
            BigInt(token.input) * BigInt(cost.input) + BigInt(token.output) * BigInt(cost.output)
          await book.close()
        }
        checkChain(written)
        const paid = written.reduce((sum, receipt) => sum + BigInt(receipt.nanoUsd), 0n)
        const carry = BigInt(written.at(-1)?.carryOut ?? 0)
        assert.equal(paid * 1_000_000n + carry, exact, 'nothing is created, nothing is lost')
      }),
      { numRuns: 10 },
    )
  })

  it('hands in again, in order, what was not acknowledged: after a relink and after a restart', async (t) => {
    const { open } = setup(t)
    const first = await open()
    first.link.up()
    for (let i = 0; i < 3; i++) first.book.write(draft(i), price)
    await first.batches.until(3)
    first.book.acknowledged(['rcpt_1'])
    first.link.down()
    first.book.write(draft(3), price)
    first.link.up()
    await first.batches.until(6)
    assert.deepEqual(first.batches.ids.slice(3), ['rcpt_0', 'rcpt_2', 'rcpt_3'])
    await first.book.close()

    const second = await open()
    second.link.up()
    await second.batches.until(3)
    assert.deepEqual(second.batches.ids, ['rcpt_0', 'rcpt_2', 'rcpt_3'])
    assert.deepEqual(second.paid, [])
    second.book.acknowledged(['rcpt_0', 'rcpt_2', 'rcpt_3'])
    assert.deepEqual(second.paid, [{ receipts: 3, nanoUsd: 480n }])
    await second.book.close()
    assert.equal((await open()).book.unacknowledged, 0)
  })

  it('hands in again what a linked gateway seems to have lost', async (t) => {
    const { open } = setup(t)
    const { book, batches, link } = await open({ representMs: 20 })
    link.up()
    book.write(draft(0), price)
    await batches.until(3)
    assert.deepEqual([...new Set(batches.ids)], ['rcpt_0'])
    book.acknowledged(['rcpt_0'])
    assert.equal(await book.settle(1000), true)
    await book.close()
  })

  it('keeps a batch that the link has no room for', async (t) => {
    const { open } = setup(t)
    const { book, batches, link } = await open()
    link.congested = true
    link.up()
    book.write(draft(0), price)
    await batches.refused(2)
    link.congested = false
    await batches.until(1)
    assert.deepEqual(batches.ids, ['rcpt_0'])
    await book.close()
  })

  it('never makes a batch over its limits, and does not flood a gateway that is behind', async (t) => {
    const { open } = setup(t)
    const { book, batches, link } = await open()
    for (let i = 0; i < 1500; i++) book.write(draft(i), price)
    link.up()
    await batches.until(1024)
    assert.equal(batches.ids.length, 1024, 'four batches wait for their acknowledgement')
    for (const batch of batches.all) {
      assert.ok(batch.receipts.length <= MAX_RECEIPTS_PER_BATCH)
      assert.ok(Buffer.byteLength(JSON.stringify(batch)) <= MAX_CONTROL_PAYLOAD_BYTES)
    }
    book.acknowledged(batches.ids)
    await batches.until(1500)
    assert.equal(new Set(batches.ids).size, 1500)
    checkChain(batches.receipts)
    await book.close()
  })

  it('settles: at once with nobody to pay, in time with a gateway that commits, else not', async (t) => {
    const { open } = setup(t)
    const { book, batches, link } = await open()
    book.write(draft(0), price)
    assert.equal(await book.settle(60_000), false, 'no link: on disk is all it can be')
    link.up()
    assert.equal(await book.settle(1), false)
    const settled = book.settle(60_000)
    await batches.until(1)
    book.acknowledged(['rcpt_0'])
    assert.equal(await settled, true)
    await book.close()
  })

  it('costs no signature a receipt', async (t) => {
    const { open, signatures } = setup(t)
    const { book, batches, link } = await open({ batchMs: 5 })
    link.up()
    for (let i = 0; i < 500; i++) book.write(draft(i), price)
    await batches.until(500)
    assert.ok(signatures() <= 4, `${signatures()} signatures for 500 receipts`)
    await book.close()
  })
})

function checkChain(receipts: readonly Receipt[]): void {
  receipts.forEach((receipt, i) => {
    const before = receipts[i - 1]
    assert.equal(checkReceiptPrice(receipt), null)
    assert.equal(receipt.carryIn, before?.carryOut ?? 0)
    assert.equal(receipt.previous, before ? leafOf(before) : NO_PREVIOUS)
  })
}

const leafOf = (receipt: Receipt): string =>
  Buffer.from(leafHash(Buffer.from(receiptText(receipt)), sha256)).toString('hex')

const price = { inputNanoUsdPerMTok: 20_000_000n, outputNanoUsdPerMTok: 50_000_000n }

function draft(i: number): ReceiptDraft {
  return {
    attempt: `att_${i}`,
    request: 'req_1',
    api: 'chat',
    model: 'm',
    modelDigest: 'name:m',
    engine: 'fake/1',
    requestHash: sha256Hex('body'),
    outputHash: sha256Hex('ids'),
    textHash: sha256Hex('text'),
    choice: 0,
    seed: 1,
    firstToken: 0,
    inputTokens: 3,
    billedInputTokens: 3,
    outputTokens: 2,
    finish: 'stop',
    startedAtMs: 1,
    finishedAtMs: 2,
  }
}

/** A book over a real spool, and the link's end of it. */
function setup(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), 'baseload-book-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const identity = ephemeralIdentity('node')
  let signatures = 0
  const counted = {
    ...identity,
    sign: (domain: string, text: string) => {
      signatures += 1
      return identity.sign(domain, text)
    },
  }
  const open = async (more: { representMs?: number; batchMs?: number } = {}) => {
    const paid: Paid[] = []
    const book = new ReceiptBook({
      gateway: 'gw_1',
      identity: counted,
      spool: await openSpool({ folder, logger: silentLogger }),
      now: Date.now,
      logger: silentLogger,
      onPaid: (one) => paid.push(one),
      batchMs: 1,
      ...more,
    })
    return { book, paid, ...fakeLink(book) }
  }
  return { open, signatures: () => signatures }
}

function fakeLink(book: ReceiptBook) {
  const all: ReceiptBatch[] = []
  const sent = new EventEmitter()
  let refused = 0
  const link = {
    congested: false,
    up: () => book.linked(send),
    down: () => book.unlinked(send),
  }
  const send = (batch: ReceiptBatch): boolean => {
    if (link.congested) refused += 1
    else all.push(batch)
    sent.emit('batch')
    return !link.congested
  }
  const waitFor = async (enough: () => boolean) => {
    while (!enough()) await once(sent, 'batch')
  }
  const batches = {
    all,
    get receipts(): Receipt[] {
      return all.flatMap((batch) =>
        batch.receipts.map((text) => receiptSchema.parse(JSON.parse(text))),
      )
    },
    get ids(): string[] {
      return batches.receipts.map((receipt) => receipt.id)
    },
    until: (count: number) => waitFor(() => all.flatMap((batch) => batch.receipts).length >= count),
    refused: (count: number) => waitFor(() => refused >= count),
  }
  return { link, batches }
}
