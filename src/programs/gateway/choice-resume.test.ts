/** A choice that is carried on at another node, or given again there: never unlike texts, each token paid once. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { aStartedChoice as setup, greedy, many } from './choice-kit.ts'

describe('a choice whose node is lost after some tokens', () => {
  it('goes on from the ids, for the tokens that are left, and bills the prompt once', (t) => {
    const net = setup(t, { request: { ...greedy, max_tokens: 5 } })
    net.last().say('a', 'b').lost()
    const { header } = net.last()
    assert.deepEqual(header.resume, { tokenIds: [100, 101], text: 'ab' })
    assert.deepEqual([header.maxTokens, header.billInput], [3, false])
    net.last().say('c').end('stop', 7)
    assert.equal(net.text(), 'abc')
    assert.deepEqual(net.bill(), [
      ['n0', 7, 2, 'gateway'],
      ['n1', 0, 1, 'receipt'],
    ])
    net.nothingIsLeft()
  })

  it('goes on from the text where ids are unknown', (t) => {
    const net = setup(t, {
      nodes: many(2, { capabilities: ['chat', 'resume_text'] }),
      request: greedy,
    })
    net
      .last()
      .tokens([{ id: 0xffff_ffff, text: 'ab', logprob: '' }])
      .lost()
    assert.deepEqual(net.last().header.resume, { tokenIds: [], text: 'ab' })
  })

  it('is given again from the start when it is too long for a header: that would end the next link', (t) => {
    const net = setup(t, { request: greedy })
    const piece = '\u0001'.repeat(60_000) // six bytes each in JSON
    for (let i = 0; i < 50; i++) net.last().say(piece)
    net.last().lost()
    assert.equal(net.last().header.resume, null)
  })

  it('is whole when only its END was lost', (t) => {
    const net = setup(t, { request: { ...greedy, max_tokens: 2 } })
    net.last().say('a', 'b').lost()
    assert.deepEqual([net.ended(), net.choice.finish, net.sent.length], ['finished', 'length', 1])
    assert.deepEqual(net.bill(), [['n0', 0, 2, 'gateway']])
    net.nothingIsLeft()
  })

  it('breaks with an error the tenant sees when nobody can go on, and pays what was shown', (t) => {
    const net = setup(t, { nodes: [{}], request: greedy, config: { resumeTimeoutMs: 1_000 } })
    net.leave(net.replicas[0]!)
    net.last().say('a').lost()
    net.clock.pass(1_100)
    assert.equal(net.ended(), 'no_node_available')
    assert.deepEqual(net.bill(), [['n0', 0, 1, 'gateway']])
    net.nothingIsLeft()
  })

  it('charges nothing of an answer that nobody was shown', (t) => {
    const config = { resumeTimeoutMs: 1_000 }
    const net = setup(t, { nodes: [{}], request: { temperature: 0 }, config })
    net.leave(net.replicas[0]!)
    net.last().say('a').lost()
    net.clock.pass(1_100)
    net.choice.discard()
    assert.deepEqual(net.bill(), [])
    net.nothingIsLeft()
  })

  it('treats an END that nobody asked for as a break', (t) => {
    const net = setup(t, { request: greedy })
    net.last().say('a').end('cancelled', 7)
    net.last().say('b').end('stop', 7)
    assert.equal(net.text(), 'ab')
    assert.deepEqual(net.bill(), [
      ['n0', 7, 1, 'gateway'],
      ['n1', 0, 1, 'receipt'],
    ])
  })

  it('restarts structured output unseen, and pays only the one that gave it whole', (t) => {
    const net = setup(t, {
      nodes: many(2, { capabilities: ['chat', 'json_object', 'resume_ids'] }),
      request: { stream: true, response_format: { type: 'json_object' } },
    })
    net.last().say('{"a').lost()
    assert.equal(net.last().header.resume, null)
    net.last().say('{}').end('stop', 7)
    assert.equal(net.choice.answer.text, '{}')
    assert.deepEqual(net.bill(), [['n1', 7, 1, 'receipt']])
    net.nothingIsLeft()
  })

  it('gives up after eight attempts that gave nothing', (t) => {
    const net = setup(t, { nodes: many(12, {}), request: greedy })
    net.last().say('a').lost()
    for (let i = 0; i < 10 && net.ended() === null; i++) net.last().lost()
    assert.equal(net.ended(), 'node_failed')
    assert.deepEqual(net.bill(), [['n0', 0, 1, 'gateway']])
    net.nothingIsLeft()
  })
})

describe('a choice that is given again from the start', () => {
  const seeded = {
    nodes: many(3, { capabilities: ['chat', 'seed'] }),
    request: greedy,
  }

  it('shows only what is new, and is paid once, to the node that gave it whole', (t) => {
    const net = setup(t, seeded)
    net.last().say('a', 'b').lost()
    assert.equal(net.last().header.resume, null)
    net.last().say('ab', 'c')
    assert.equal(net.text(), 'abc')
    net.last().end('stop', 7)
    assert.deepEqual(net.bill(), [['n1', 7, 2, 'receipt']])
    assert.deepEqual(net.choice.answer.ids, [100, 101])
    net.nothingIsLeft()
  })

  it('never glues unlike texts: another node must try', (t) => {
    const net = setup(t, seeded)
    net.last().say('a', 'b').lost()
    const unlike = net.last().say('a', 'x')
    assert.ok(unlike.forgotten)
    assert.ok(net.desk.forgiven.has(unlike.header.attempt))
    net.last().say('a', 'b', 'c').end()
    assert.equal(net.text(), 'abc')
    assert.equal(net.bill().length, 1)
    net.nothingIsLeft()
  })

  it('is not whole when it ends before all that was shown has come again', (t) => {
    const net = setup(t, seeded)
    net.last().say('a', 'b').lost()
    net.last().say('a').end('stop')
    assert.equal(net.ended(), null)
    net.last().say('a', 'b').end('stop')
    assert.deepEqual([net.ended(), net.text(), net.bill().length], ['finished', 'ab', 1])
  })

  it('leaves the first node its pay when the second does not catch up', (t) => {
    const net = setup(t, seeded)
    net.last().say('a', 'b').lost()
    net.last().say('a')
    net.choice.cancel()
    net.last().end('cancelled')
    assert.deepEqual(net.bill(), [['n0', 0, 2, 'gateway']])
    net.nothingIsLeft()
  })
})
