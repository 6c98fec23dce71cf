/** A choice over nodes that do what the test says: where it goes, what the tenant gets, and who is paid for what. */
import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { refuse } from '../../core/base/refusal.ts'
import { aStartedChoice as setup, greedy, many, type ChoiceSetup } from './choice-kit.ts'

describe('a choice that nothing disturbs', () => {
  it('gives what its node gives, and is paid by its receipt', (t) => {
    const net = setup(t)
    net.last().say('a', 'b').end('stop', 7)
    assert.deepEqual([net.text(), net.choice.finish, net.ended()], ['ab', 'stop', 'finished'])
    assert.deepEqual(net.bill(), [['n0', 7, 2, 'receipt']])
    net.nothingIsLeft()
  })

  it('grants credit as the tenant takes it, and at once what nobody is shown', (t) => {
    const shown = setup(t, { request: { stream: true } })
    const stream = shown.last().say('a')
    assert.equal(stream.grantedBytes, 0)
    shown.owner.taken.forEach(([attempt, bytes]) => attempt.grant(bytes))
    assert.equal(stream.grantedBytes, 9)
  })

  it('grants at once what is held back until it is whole', (t) => {
    const net = setup(t, {
      nodes: [{ capabilities: ['chat', 'json_object'] }],
      request: { stream: true, response_format: { type: 'json_object' } },
    })
    const stream = net.last().say('{')
    assert.deepEqual([stream.grantedBytes, net.text()], [9, ''])
  })

  it('does not pay the prompt of a second choice', (t) => {
    const net = setup(t, { request: { n: 2 }, index: 1 })
    assert.equal(net.last().header.billInput, false)
    net.last().say('a').end('stop', 7)
    assert.deepEqual(net.bill(), [['n0', 0, 1, 'receipt']])
  })

  it('pays the prompt of each of several prompts once: choice = prompt × n + i', (t) => {
    const billed = [0, 1, 2, 3].map((index) => {
      const net = setup(t, {
        api: 'completion',
        nodes: [{ capabilities: ['completion'] }],
        request: { prompt: ['x', 'y'], n: 2 },
        index,
      })
      t.mock.timers.reset()
      return net.last().header.billInput
    })
    assert.deepEqual(billed, [true, false, true, false])
  })
})

describe('a choice before its first token', () => {
  it('goes to the next node when one is busy, and the busy one is not paid whatever it hands in', (t) => {
    const net = setup(t)
    const busy = net.last()
    busy.busy()
    assert.notEqual(net.last().node, busy.node)
    net.last().say('a').end()
    assert.equal(net.bill().length, 1)
    assert.ok(net.desk.forgiven.has(busy.header.attempt))
    net.nothingIsLeft()
  })

  it('starts over when a node is lost, and pays only the one that answered', (t) => {
    const net = setup(t)
    const [lost] = net.sent
    lost?.lost()
    assert.deepEqual([net.last().header.resume, net.last().header.billInput], [null, true])
    net.last().say('a').end('stop', 7)
    assert.deepEqual(net.bill(), [['n1', 7, 1, 'receipt']])
    assert.ok(net.desk.forgiven.has(lost?.header.attempt ?? ''))
    net.nothingIsLeft()
  })

  it('fails at once when the request itself is at fault', (t) => {
    const net = setup(t)
    net.last().error('context_length_exceeded', false)
    assert.equal(net.ended(), 'context_length_exceeded')
    assert.equal(net.sent.length, 1)
    net.nothingIsLeft()
  })

  it('tries elsewhere when an engine broke', (t) => {
    const net = setup(t)
    net.last().error('engine_failed', true)
    net.last().say('a').end()
    assert.equal(net.ended(), 'finished')
    assert.equal(net.sent.length, 2)
  })

  it('asks a fallback model when the first model has broken', (t) => {
    const net = setup(t, {
      nodes: [{}, { model: 'other' }],
      request: { models: ['other'] },
    })
    net.last().lost()
    assert.equal(net.last().header.model, 'other')
  })

  it('keeps to its one node when the tenant allows no other, and does not wait for nothing', (t) => {
    const net = setup(t, { request: { provider: { allow_fallbacks: false } } })
    net.last().lost()
    assert.equal(net.ended(), 'no_node_available')
    assert.equal(net.sent.length, 1)
    net.nothingIsLeft()
  })

  it('waits for a node to come back, and says so when none does', (t) => {
    const net = setup(t, { nodes: [{}], config: { vacancyTimeoutMs: 2_000 } })
    net.leave(net.replicas[0]!)
    net.last().lost()
    net.clock.pass(1_900)
    assert.equal(net.ended(), null)
    net.clock.pass(200)
    assert.equal(net.ended(), 'no_node_available')
    net.nothingIsLeft()
  })

  it('queues for a node that came back full', (t) => {
    const net = setup(t, {
      nodes: [{}],
      config: { vacancyTimeoutMs: 1_000, queueTimeoutMs: 5_000 },
    })
    net.leave(net.replicas[0]!)
    net.last().lost()
    const back = net.join({ slots: 1 }, 'n9')
    back.othersBusy = 99
    net.clock.pass(3_000)
    assert.equal(net.ended(), null)
    back.othersBusy = 0
    net.clock.pass(200)
    net.last().say('a').end()
    assert.equal(net.ended(), 'finished')
  })

  it('is refused without money, and sends nothing', (t) => {
    const net = setup(t, { before: ({ meter }) => meter.instead.push(noMoney) })
    assert.deepEqual([net.ended(), net.sent.length], ['insufficient_balance', 0])
    net.nothingIsLeft()
  })

  it('gives the money back when the tenant leaves while the ledger is asked', async (t) => {
    const net = setup(t, { before: ({ meter }) => meter.instead.push('later') })
    net.choice.cancel()
    await net.meter.answer()
    assert.equal(net.sent.length, 0)
    net.nothingIsLeft()
  })

  it('leaves the queue with its tenant', (t) => {
    const net = setup(t, {
      nodes: [{ slots: 1 }],
      before: ({ replicas }) => (replicas[0]!.othersBusy = 99),
    })
    assert.equal(net.dispatcher.room.size, 1)
    net.choice.cancel()
    net.nothingIsLeft()
  })
})

describe('a choice whose tenant leaves', () => {
  it('stops the node, and pays what it made until then', (t) => {
    const net = setup(t, { request: greedy })
    net.last().say('a')
    net.choice.cancel()
    assert.ok(net.last().cancelled)
    net.last().end('cancelled', 7)
    assert.deepEqual(net.bill(), [['n0', 7, 1, 'receipt']])
    net.nothingIsLeft()
  })

  it('pays on the gateway’s word when the node says nothing more', (t) => {
    const net = setup(t, { request: greedy })
    net.last().say('a')
    net.choice.cancel()
    net.last().lost()
    assert.deepEqual(net.bill(), [['n0', 0, 1, 'gateway']])
    assert.equal(net.sent.length, 1)
    net.nothingIsLeft()
  })
})

describe('a choice beside others', () => {
  it('is paid only when the tenant gets it, and not at all when another one fails', (t) => {
    const net = setup(t, { request: { n: 2 }, settle: false })
    net.last().say('a').end()
    assert.deepEqual([net.ended(), net.bill(), net.desk.undecided], ['finished', [], 1])
    net.choice.discard()
    assert.deepEqual(net.bill(), [])
    net.nothingIsLeft()
  })

  it('is paid when its tenant left before the others were there', (t) => {
    const net = setup(t, { request: { n: 2 }, settle: false })
    net.last().say('a').end('stop', 7)
    net.choice.cancel()
    assert.deepEqual(net.bill(), [['n0', 7, 1, 'receipt']])
    net.nothingIsLeft()
  })
})

describe('a hedged choice', () => {
  it('asks a second node when the first token is late; the loser is not paid', (t) => {
    const net = hedged(t)
    const [slow, quick] = net.sent
    quick?.say('a').end('stop', 7)
    assert.ok(slow?.forgotten)
    assert.deepEqual(net.bill(), [['n1', 7, 1, 'receipt']])
    assert.equal(net.choice.replica?.node, quick?.node)
    net.nothingIsLeft()
  })

  it('names the first node when that one answers after all', (t) => {
    const net = hedged(t)
    const [first] = net.sent
    first?.say('a').end()
    assert.equal(net.choice.replica?.node, first?.node)
    net.nothingIsLeft()
  })

  it('goes on with the one that is left when the other breaks', (t) => {
    const net = hedged(t)
    net.sent[0]?.lost()
    net.sent[1]?.say('a').end()
    assert.deepEqual([net.ended(), net.sent.length], ['finished', 2])
    net.nothingIsLeft()
  })

  it('gives both reservations back when the tenant leaves', (t) => {
    const net = hedged(t)
    net.choice.cancel()
    net.sent[0]?.end('cancelled', 0)
    net.nothingIsLeft()
  })

  it('ends both when the request is at fault', (t) => {
    const net = hedged(t)
    net.sent[1]?.error('context_length_exceeded', false)
    assert.ok(net.sent[0]?.forgotten)
    net.nothingIsLeft()
  })

  it('does not begin once the first token has come while the ledger was asked', async (t) => {
    const net = hedged(t, ({ meter }) => meter.instead.push('later'))
    net.sent[0]?.say('a')
    await net.meter.answer()
    net.sent[0]?.say('b').end()
    assert.deepEqual([net.text(), net.sent.length], ['ab', 1])
    net.nothingIsLeft()
  })
})

describe('an embedding', () => {
  it('starts over when the node leaves one out, and pays for the whole one only', (t) => {
    const net = setup(t, {
      api: 'embedding',
      nodes: many(2, { capabilities: ['embedding'] }),
    })
    net.last().vector(1, 1, 2).end('stop', 4)
    net.last().vector(0, 5).vector(1, 6).end('stop', 4)
    assert.deepEqual(net.choice.answer.vectors, [Float32Array.of(5), Float32Array.of(6)])
    assert.deepEqual(net.bill(), [['n1', 4, 0, 'receipt']])
    net.nothingIsLeft()
  })
})

const noMoney = refuse('insufficient_balance', 'There is no money.')

/** A choice whose first token is so late that a second node has been asked. */
function hedged(t: TestContext, before: ChoiceSetup['before'] = () => {}) {
  const net = setup(t, {
    request: { ...greedy, provider: { hedge: true } },
    before({ dispatcher }) {
      for (let i = 0; i < 48; i++) dispatcher.hedges.firstToken('bard-3m', 100)
    },
  })
  before(net)
  net.clock.pass(200)
  return net
}
