/** Whom the watch gives up: silent nodes that do not answer, engines that hang; never one that is only slow. */
import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { aReplica } from '../../core/routing/test-replicas.ts'
import { Attempt } from './attempt.ts'
import { aClock, aKey, FakeLink, FakeReservation, turn } from './test-kit.ts'
import { createWatch } from './watch.ts'

describe('watch', () => {
  it('asks a node that is silent far beyond its rhythm, and gives it up when it does not answer', async (t) => {
    const { clock, link, attempt, broken } = setup(t)
    clock.pass(2_000)
    assert.equal(link.pings.length, 0)
    clock.pass(200)
    assert.equal(link.pings.length, 1)
    await answer(link, false)
    assert.match(broken[0] ?? '', /silent/)
    assert.ok(attempt.over)
  })

  it('asks one thing at a time, and again later while the silence lasts', async (t) => {
    const { clock, link, broken } = setup(t)
    clock.pass(11_000)
    assert.equal(link.pings.length, 1)
    await answer(link, true)
    clock.pass(1_900)
    assert.equal(link.pings.length, 0)
    clock.pass(300)
    assert.equal(link.pings.length, 1)
    assert.deepEqual(broken, [])
  })

  it('leaves a slow node that answers its time, and gives up an engine that hangs', async (t) => {
    const { clock, link, broken } = setup(t)
    for (let s = 0; s < 119; s++) {
      clock.pass(1_000)
      await answer(link, true)
    }
    assert.deepEqual(broken, [])
    clock.pass(1_000)
    await answer(link, true)
    clock.pass(200)
    assert.match(broken[0] ?? '', /though the node answers/)
  })

  it('does not trust a missing pong when tokens came meanwhile', async (t) => {
    const { clock, link, attempt, broken } = setup(t)
    clock.pass(2_200)
    clock.pass(100)
    attempt.lastProgressAt = clock.now()
    await answer(link, false)
    assert.deepEqual(broken, [])
  })

  it('judges nobody after it was late itself', async (t) => {
    const { clock, link } = setup(t)
    clock.pass(1_000)
    clock.jump(60_000)
    clock.pass(100)
    assert.equal(link.pings.length, 0)
    clock.pass(200)
    assert.equal(link.pings.length, 1)
  })

  it('does not trust a missing pong when the process was stopped meanwhile', async (t) => {
    const { clock, link, broken } = setup(t)
    clock.pass(2_200)
    clock.jump(60_000)
    await answer(link, false)
    assert.deepEqual(broken, [])
  })

  it('does not blame the node for a tenant that takes nothing', async (t) => {
    const { clock, link, attempt } = setup(t)
    attempt.tokens(Buffer.from([0, 0, 0, 1, 0, 1, 0, 0, 97]))
    clock.pass(300_000)
    assert.deepEqual([link.pings.length, attempt.over], [0, false])
    attempt.grant(9)
    clock.pass(3_200)
    assert.equal(link.pings.length, 1)
  })

  it('goes on judging after the clock was set back', (t) => {
    const { clock, link } = setup(t)
    clock.pass(1_000)
    clock.jump(-3_600_000)
    clock.pass(11_000)
    assert.equal(link.pings.length, 1)
  })

  it('forgets whom it is told to', (t) => {
    const { clock, watch, attempt, link } = setup(t)
    watch.remove(attempt)
    clock.pass(60_000)
    assert.deepEqual([watch.size, link.pings.length], [0, 0])
  })
})

async function answer(link: FakeLink, alive: boolean): Promise<void> {
  for (const settle of link.pings.splice(0)) settle(alive)
  await turn()
}

/** One attempt at a replica of which nothing was measured: suspect after 2 s, given up after 2 min. */
function setup(t: TestContext) {
  const clock = aClock(t)
  const replica = aReplica()
  const link = new FakeLink(replica)
  const broken: string[] = []
  const attempt = new Attempt({
    header: {
      attempt: 'att_1',
      request: 'req_1',
      api: 'chat',
      model: 'bard-3m',
      bodyBytes: 2,
      choice: 0,
      seed: 1,
      maxTokens: 10,
      billInput: true,
      resume: null,
    },
    asked: { maxTokens: 10, inputTokens: 10, vectors: 0, logprobs: false },
    body: Buffer.from('{}'),
    replica,
    link,
    key: aKey(),
    reservation: new FakeReservation(1n),
    charged: 0,
    owner: {
      chunks: () => {},
      vector: () => {},
      ended: () => {},
      broke: (_attempt, { reason }) => void broken.push(reason),
    },
    now: clock.now,
  })
  attempt.open()
  const watch = createWatch({ now: clock.now })
  t.after(() => watch.close())
  watch.add(attempt)
  return { clock, link, attempt, watch, broken }
}
