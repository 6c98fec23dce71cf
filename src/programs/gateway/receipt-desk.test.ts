/** Receipts of real nodes, really signed: which are paid, on whose word, and when a node may forget them. */
import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { priceTokens } from '../../core/base/money.ts'
import { leafHash, merkleRoot } from '../../core/protocol/merkle.ts'
import {
  batchText,
  NO_PREVIOUS,
  RECEIPT_DOMAIN,
  receiptIdOf,
  receiptText,
  type Receipt,
  type ReceiptBatch,
} from '../../core/protocol/receipt.ts'
import { ephemeralIdentity, sha256 } from '../../io/keys/identity.ts'
import type { Settlement, SettleOutcome } from '../../io/store/store.ts'
import { silentLogger } from '../../io/telemetry/logger.ts'
import { createAttemptIds } from './attempt-id.ts'
import { createReceiptDesk, type DoneAttempt } from './receipt-desk.ts'
import { aClock, aKey, FakeLink, FakeReservation } from './test-kit.ts'

const PRICE = { inputNanoUsdPerMTok: 1_000_000n, outputNanoUsdPerMTok: 2_000_000n }
const REQUEST = 'req_00000000000000000000000a'

describe('receipt desk', () => {
  it('pays a receipt that agrees, and acknowledges it when the payment is durable', (t) => {
    const { desk, done, hand, link, commit } = setup(t)
    const one = done()
    desk.expect(one)
    hand(receiptOf(one))
    assert.deepEqual(settlements(one).map(paid), [['node', 7, 3, 13n]])
    assert.deepEqual([one.reservation.closed, link.acknowledged], [true, []])
    commit(one)
    assert.deepEqual(link.acknowledged, [receiptIdOf(one.attempt)])
  })

  for (const [what, lie] of Object.entries(lies())) {
    it(`pays what the gateway saw when the receipt lies about ${what}`, (t) => {
      const { desk, done, hand, link, commit, disputes } = setup(t)
      const one = done()
      desk.expect(one)
      hand({ ...receiptOf(one), ...lie })
      assert.deepEqual(settlements(one).map(paid), [['gateway', 7, 3, 13n]])
      assert.deepEqual([disputes(), link.acknowledged], [1, []])
      commit(one)
      assert.deepEqual(link.acknowledged, [receiptIdOf(one.attempt)])
    })
  }

  it('takes less input than was seen: a node whose engine broke does not know it', (t) => {
    const { desk, done, hand, disputes } = setup(t)
    const one = done()
    desk.expect(one)
    hand(priced({ ...receiptOf(one), inputTokens: 0, billedInputTokens: 0 }))
    assert.deepEqual([settlements(one)[0]?.usage.nanoUsd, disputes()], [6n, 0])
  })

  it('pays on its own word when no receipt came for 30 s, and keeps the one that comes later', (t) => {
    const { desk, done, hand, clock, late } = setup(t)
    const one = done()
    desk.expect(one)
    clock.pass(29_000)
    assert.equal(settlements(one).length, 0)
    clock.pass(3_000)
    assert.deepEqual(settlements(one).map(paid), [['gateway', 7, 3, 13n]])
    hand(receiptOf(one))
    assert.equal(late.length, 1)
  })

  it('pays a lost node what it delivered, on its receipt if that came meanwhile', (t) => {
    const { desk, done, hand } = setup(t)
    const [one, other] = [done(), done()]
    desk.begin(one.attempt, one.request)
    desk.begin(other.attempt, other.request)
    hand(receiptOf(one))
    assert.equal(settlements(one).length, 0)
    desk.witness(one)
    desk.witness(other)
    assert.deepEqual(settlements(one).map(paid), [['node', 7, 3, 13n]])
    assert.deepEqual(settlements(other).map(paid), [['gateway', 7, 3, 13n]])
  })

  it('checks a receipt that overtook its END as any other', (t) => {
    const { desk, done, hand, disputes, late } = setup(t)
    const one = done()
    desk.begin(one.attempt, one.request)
    hand({ ...receiptOf(one), ...lies()['its ids'] })
    desk.expect(one)
    assert.deepEqual(settlements(one).map(paid), [['gateway', 7, 3, 13n]])
    assert.deepEqual([disputes(), desk.expected, late], [1, 0, []])
  })

  it('pays a receipt that waited until the whole answer was there', (t) => {
    const { desk, done, hand } = setup(t)
    const one = done()
    desk.begin(one.attempt, one.request)
    hand(receiptOf(one))
    desk.expect(one)
    assert.deepEqual(settlements(one).map(paid), [['node', 7, 3, 13n]])
    assert.equal(desk.expected, 0)
  })

  it('never pays what is forgiven, and lets the node forget it, early or late', (t) => {
    const { desk, done, hand, link, late } = setup(t)
    const [early, after, ended] = [done(), done(), done()]
    desk.begin(early.attempt, early.request)
    hand(receiptOf(early))
    desk.forgive(early.attempt)
    desk.forgive(after.attempt)
    hand(receiptOf(after))
    desk.expect(ended)
    desk.forgive(ended.attempt)
    hand(receiptOf(ended))
    const all = [early, after, ended]
    assert.deepEqual(
      link.acknowledged,
      all.map(({ attempt }) => receiptIdOf(attempt)),
    )
    assert.deepEqual([all.flatMap(settlements), late], [[], []])
  })

  it('never pays for nothing, also when a receipt asks for it later', (t) => {
    const { desk, done, hand, clock, late } = setup(t)
    const one = done({ billedInputTokens: 0, inputTokens: 0, outputTokens: 0 })
    desk.expect(one)
    clock.pass(32_000)
    assert.ok(one.reservation.closed)
    hand(receiptOf(done({ attempt: one.attempt })))
    assert.deepEqual(late, [])
  })

  describe('a receipt from before a restart', () => {
    it('is paid by the key that its attempt names', (t) => {
      const { done, hand, late, key } = setup(t)
      const one = done()
      hand(receiptOf(one))
      assert.deepEqual(late.map(paid), [['node', 7, 3, 13n]])
      assert.equal(late[0]?.usage.apiKey, key.key.id)
    })

    const refused: Record<string, Partial<Receipt>> = {
      'asks for more than was set aside': { billedInputTokens: 4_000, inputTokens: 4_000 },
      'has a request that no gateway makes': { request: 'req_1\nreq_2' },
      'has a model that nobody can offer': { model: 'a\nb' },
      'is for no attempt of ours': { attempt: 'att_0000000000000000000000000' },
      'has the id of another': { id: 'rcpt_other' },
    }
    for (const [what, change] of Object.entries(refused)) {
      it(`is not paid when it ${what}, and not asked for again`, (t) => {
        const { done, hand, late, link, disputes } = setup(t)
        const receipt = priced({ ...receiptOf(done()), ...change })
        hand(receipt)
        assert.deepEqual([late, disputes(), link.acknowledged], [[], 1, [receipt.id]])
      })
    }
  })

  describe('a batch', () => {
    it('closes the link when its signature does not fit', (t) => {
      const { desk, done, link } = setup(t)
      const one = done()
      desk.expect(one)
      const batch = batchOf(receiptOf(one))
      desk.take(link, { ...batch, signedAtMs: batch.signedAtMs + 1 })
      assert.match(link.closedFor ?? '', /signature/)
      assert.equal(settlements(one).length, 0)
    })

    it('has one signature and not its look-alikes', (t) => {
      const { desk, done, link } = setup(t)
      const batch = batchOf(receiptOf(done()))
      desk.take(link, { ...batch, signature: `${batch.signature}\n` })
      assert.notEqual(link.closedFor, null)
    })

    it('is taken receipt by receipt: what is not understood stops no other', (t) => {
      const { desk, done, link } = setup(t)
      const [one, foreign] = [done(), done()]
      desk.expect(one)
      desk.take(link, batchOf({ ...receiptOf(foreign), node: 'node_other' }, receiptOf(one)))
      assert.equal(settlements(one).length, 1)
      assert.deepEqual(link.acknowledged, [])
    })

    it('may not put a receipt on two lines', (t) => {
      const { desk, done, link, late } = setup(t)
      desk.take(link, sign([receiptText(receiptOf(done())).replace('{', '{\n')]))
      assert.deepEqual([link.closedFor, late], [null, []])
    })
  })

  describe('quiet', () => {
    it('waits until a receipt is durable, by its request and by its own id', async (t) => {
      const { desk, done, hand, commit } = setup(t)
      const one = done()
      desk.expect(one)
      let quiet = 0
      const waits = [REQUEST, receiptIdOf(one.attempt)].map(
        async (id) => await desk.quiet(id, 2_000).then(() => (quiet += 1)),
      )
      hand(receiptOf(one))
      await Promise.resolve()
      assert.equal(quiet, 0)
      // Asked for between its arrival and its commit, too.
      const third = desk.quiet(receiptIdOf(one.attempt), 2_000)
      commit(one)
      await Promise.all([...waits, third])
    })

    it('waits for all attempts of a request, and not longer than it is told to', async (t) => {
      const { desk, done, hand, commit, clock } = setup(t)
      const [one, other] = [done(), done()]
      desk.expect(one)
      desk.expect(other)
      const quiet = desk.quiet(REQUEST, 2_000)
      let over = false
      void quiet.then(() => (over = true))
      hand(receiptOf(one))
      commit(one)
      await Promise.resolve()
      assert.equal(over, false)
      clock.pass(2_000)
      await quiet
    })

    it('says at once that nothing is on its way', async (t) => {
      const { desk } = setup(t)
      await desk.quiet('req_unknown', 60_000)
    })
  })

  it('settles what still waits when it closes', (t) => {
    const { desk, done } = setup(t)
    const one = done()
    desk.expect(one)
    desk.close()
    assert.deepEqual(settlements(one).map(paid), [['gateway', 7, 3, 13n]])
  })
})

const paid = ({ usage }: Settlement) => [
  usage.witness,
  usage.billedInputTokens,
  usage.outputTokens,
  usage.nanoUsd,
]

/** What a dishonest or broken node might say of an attempt. */
function lies(): Record<string, Partial<Receipt>> {
  const none = '0'.repeat(64)
  return {
    'the tokens it made': { outputTokens: 4, nanoUsd: '15' },
    'the input it may bill': { billedInputTokens: 8, inputTokens: 8, nanoUsd: '14' },
    'its price': { outputNanoUsdPerMTok: '3000000', nanoUsd: '16' },
    'the sum': { nanoUsd: '14' },
    'the model': { model: 'better' },
    'the weights': { modelDigest: 'name:better' },
    'the request': { requestHash: none },
    'its ids': { outputHash: none },
    'its text': { textHash: none },
  }
}

type Done = DoneAttempt & { readonly reservation: FakeReservation }

let node = ephemeralIdentity('node')

/** What an honest node says. */
function receiptOf(done: DoneAttempt): Receipt {
  return priced({
    v: 1,
    id: receiptIdOf(done.attempt),
    attempt: done.attempt,
    request: done.request,
    gateway: 'gw_here',
    node: done.node,
    nodeKey: node.publicKey,
    api: done.api,
    model: done.model,
    modelDigest: done.digest,
    engine: 'test/1',
    requestHash: done.requestHash,
    outputHash: done.outputHash,
    textHash: done.textHash,
    choice: 0,
    seed: 1,
    firstToken: 0,
    inputTokens: done.inputTokens,
    billedInputTokens: done.billedInputTokens,
    outputTokens: done.outputTokens,
    finish: 'stop',
    startedAtMs: done.startedAt,
    finishedAtMs: done.finishedAt,
    inputNanoUsdPerMTok: String(done.price.inputNanoUsdPerMTok),
    outputNanoUsdPerMTok: String(done.price.outputNanoUsdPerMTok),
    carryIn: 0,
    carryOut: 0,
    nanoUsd: '0',
    previous: NO_PREVIOUS,
  })
}

function priced(receipt: Receipt): Receipt {
  const { nanoUsd } = priceTokens({
    inputTokens: receipt.billedInputTokens,
    outputTokens: receipt.outputTokens,
    price: PRICE,
    carry: 0n,
  })
  return { ...receipt, nanoUsd: String(nanoUsd) }
}

function sign(texts: readonly string[]): ReceiptBatch {
  const leaves = texts.map((text) => leafHash(Buffer.from(text), sha256))
  const root = Buffer.from(merkleRoot(leaves, sha256)).toString('hex')
  const signature = node.sign(RECEIPT_DOMAIN, batchText(root, leaves.length, 1))
  return { signedAtMs: 1, signature, receipts: [...texts] }
}

const batchOf = (...receipts: Receipt[]): ReceiptBatch => sign(receipts.map(receiptText))

const settlements = ({ reservation }: Done): readonly Settlement[] => reservation.settlements

function setup(t: TestContext) {
  node = ephemeralIdentity('node')
  const clock = aClock(t)
  const key = aKey()
  const link = new FakeLink({ node: node.id, nodeKey: node.publicKey })
  const attemptIds = createAttemptIds(Buffer.alloc(16, 1))
  const late: Settlement[] = []
  let disputes = 0
  const desk = createReceiptDesk({
    gateway: 'gw_here',
    meter: { settleLate: (settlement) => void late.push(settlement) },
    keyring: { byTag: (tag) => (tag === key.tag ? key : null) },
    attemptIds,
    linkOf: (id) => (id === link.node ? link : undefined),
    now: clock.now,
    logger: silentLogger,
    disputed: () => (disputes += 1),
  })
  t.after(() => desk.close())
  const done = (more: Partial<DoneAttempt> = {}): Done => ({
    attempt: attemptIds.make({ keyTag: key.tag, ceilingNanoUsd: 100n }),
    request: REQUEST,
    api: 'chat',
    key,
    node: node.id,
    model: 'bard-3m',
    digest: 'name:bard',
    price: PRICE,
    startedAt: clock.now(),
    finishedAt: clock.now(),
    inputTokens: 7,
    billedInputTokens: 7,
    outputTokens: 3,
    requestHash: 'a'.repeat(64),
    outputHash: 'b'.repeat(64),
    textHash: 'c'.repeat(64),
    ...more,
    reservation: new FakeReservation(100n),
  })
  return {
    desk,
    clock,
    key,
    link,
    late,
    done,
    disputes: () => disputes,
    hand: (...receipts: Receipt[]) => desk.take(link, batchOf(...receipts)),
    /** The store has it durably. */
    commit: (one: Done, outcome: SettleOutcome = 'settled') =>
      desk.settled(
        settlements(one),
        settlements(one).map(() => outcome),
      ),
  }
}
