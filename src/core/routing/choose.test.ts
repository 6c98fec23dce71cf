import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { seededRandom } from '../base/random.ts'
import { isRefusal } from '../base/refusal.ts'
import type { Capability } from '../protocol/offer.ts'
import { chooseReplica, type Choice } from './choose.ts'
import {
  busySlots,
  can,
  isFull,
  isWell,
  recordDispatch,
  recordEnd,
  recordFailure,
  recordFirstToken,
  recordTokens,
  type Replica,
} from './replica.ts'
import { hashText } from './ring.ts'
import { aChoice, aTable, nodeId, reasonIn } from './test-replicas.ts'

describe('choosing a replica', () => {
  it('takes the one expected to finish first', () => {
    const { table, replicas } = aTable([{}, {}])
    measure(replicas, [50, 200])
    assert.equal(nodeOf(chooseReplica(aChoice(table))), 'n0x')
    for (let i = 0; i < 4; i++) recordDispatch(at(replicas, 0))
    recordDispatch(at(replicas, 1))
    assert.equal(nodeOf(chooseReplica(aChoice(table))), 'n0x', 'twice the wait, a quarter the time')
    measure(replicas, [50, 80])
    assert.equal(nodeOf(chooseReplica(aChoice(table))), 'n0x')
  })

  it('tries what was never measured, one attempt at a time', () => {
    const { table, replicas } = aTable([{}, {}])
    measure(replicas.slice(0, 1), [20])
    recordDispatch(at(replicas, 0))
    assert.equal(nodeOf(chooseReplica(aChoice(table))), 'n1x')
    recordDispatch(at(replicas, 1))
    assert.equal(nodeOf(chooseReplica(aChoice(table))), 'n0x')
  })

  it('says full, and when to come again, if all that fit are full', () => {
    const { table, replicas } = aTable([{ slots: 1 }, { slots: 1 }])
    for (const replica of [...replicas, ...replicas]) recordDispatch(replica)
    assert.deepEqual(chooseReplica(aChoice(table)), { full: true, retryAfterS: 1 })
  })

  it('passes by what was tried, by node or by link, and what is leaving', () => {
    const { table, replicas } = aTable([{}, {}, {}])
    const exclude = new Set([at(replicas, 0).node, at(replicas, 1).link])
    assert.equal(nodeOf(chooseReplica(aChoice(table, { exclude }))), 'n2x')
    table.drain(at(replicas, 2).link)
    const refusal = chooseReplica(aChoice(table, { exclude }))
    assert.ok(isRefusal(refusal))
    assert.equal(refusal.code, 'no_node_available')
    assert.equal(refusal.retryAfterS, 5)
    assert.deepEqual([refusal.details['tried'], refusal.details['draining']], [2, 1])
  })

  it('rests a replica that failed, but rather tries the first to recover than refuse', () => {
    const { table, replicas } = aTable([{}, {}])
    recordFailure(at(replicas, 0), 'crashed', 0, 900)
    assert.equal(nodeOf(chooseReplica(aChoice(table))), 'n1x')
    recordFailure(at(replicas, 1), 'crashed', 0, 950)
    assert.equal(nodeOf(chooseReplica(aChoice(table))), 'n0x')
  })

  it('prefers a context that holds the prompt, and lets the node speak when none does', () => {
    const { table } = aTable([{ contextTokens: 1000 }, { contextTokens: 9000 }])
    assert.equal(nodeOf(chooseReplica(aChoice(table, { contextTokensAtLeast: 5000 }))), 'n1x')
    assert.ok('chosen' in chooseReplica(aChoice(table, { contextTokensAtLeast: 50_000 })))
  })

  it('resumes only on the same weights, and on the same engine where asked', () => {
    const { table } = aTable([
      { digest: 'name:x' },
      { digest: 'name:y', engine: 'vllm/1' },
      { digest: 'name:y' },
    ])
    const more = { digest: 'name:y', engineFamily: 'vllm' }
    assert.equal(nodeOf(chooseReplica(aChoice(table, more))), 'n1x')
    const gone = chooseReplica(aChoice(table, { digest: 'name:z' }))
    assert.ok(isRefusal(gone))
    assert.match(gone.message, /3 of 3 hold other weights/)
  })
})

describe('load', () => {
  it('spreads evenly by two choices: no replica far above the mean', () => {
    const { table, replicas } = aTable(Array.from({ length: 200 }, () => ({ slots: 64 })))
    measure(replicas, [100])
    const random = seededRandom(11)
    for (let i = 0; i < 4000; i++) dispatch(aChoice(table, { random }))
    const most = Math.max(...replicas.map(({ outstanding }) => outstanding))
    assert.ok(most <= 20 + 5, `the mean is 20, the most ${most}`)
  })

  it('gives a node twenty times slower almost nothing', () => {
    const { table, replicas } = aTable(Array.from({ length: 10 }, () => ({ slots: 16 })))
    measure(replicas, [2000, ...Array.from({ length: 9 }, () => 100)])
    const random = seededRandom(12)
    let slow = 0
    const running: Replica[] = []
    for (let i = 0; i < 2000; i++) {
      const chosen = dispatch(aChoice(table, { random, now: 1000 + i }))
      if (chosen === replicas[0]) slow += 1
      running.push(chosen)
      if (running.length > 40) recordEnd(at(running.splice(0, 1), 0), 1000 + i)
    }
    assert.ok(slow < 20, `${slow} of 2000`)
  })

  it('keeps a prompt at home, and the home within the bound', () => {
    const { table, replicas } = aTable(Array.from({ length: 50 }, () => ({ slots: 16 })))
    measure(replicas, [100])
    const random = seededRandom(13)
    const cached = new Set<string>()
    const running: Replica[] = []
    let hits = 0
    for (let i = 0; i < 8000; i++) {
      const affinity = hashText(`prompt ${Math.floor(random() ** 2 * 300)}`)
      const chosen = dispatch(aChoice(table, { random, affinity, now: 1000 + i }))
      if (cached.has(`${affinity} ${chosen.node}`)) hits += 1
      cached.add(`${affinity} ${chosen.node}`)
      assert.ok(busySlots(chosen) <= chosen.slots, 'nobody waits while another is free')
      running.push(chosen)
      if (running.length > 250) recordEnd(at(running.splice(0, 1), 0), 1000 + i)
    }
    assert.ok(hits > 8000 * 0.8, `${hits} of 8000 found their prefix; at random 2,455 do`)
  })

  it('moves only its own prompts when a node leaves', () => {
    const { table, replicas } = aTable(Array.from({ length: 40 }, () => ({})))
    const home = (i: number) => {
      const answer = chooseReplica(aChoice(table, { affinity: hashText(`p${i}`) }))
      assert.ok('chosen' in answer)
      return answer.chosen
    }
    const before = Array.from({ length: 1000 }, (_, i) => home(i))
    const gone = at(replicas, 3)
    table.removeLink(gone.link, null)
    before.forEach((replica, i) => {
      if (replica !== gone) assert.equal(home(i), replica)
    })
    const shares = replicas.map((replica) => before.filter((one) => one === replica).length)
    assert.ok(Math.max(...shares) < 75, `the mean share is 25, the most ${Math.max(...shares)}`)
  })

  it('leaves a home that is far slower than others', () => {
    const { table, replicas } = aTable(Array.from({ length: 20 }, () => ({})))
    const affinity = hashText('a prompt')
    const first = chooseReplica(aChoice(table, { affinity }))
    assert.ok('chosen' in first)
    measure(
      replicas,
      replicas.map((replica) => (replica === first.chosen ? 1000 : 100)),
    )
    const second = chooseReplica(aChoice(table, { affinity }))
    assert.notEqual(nodeOf(second), first.chosen.node)
  })
})

describe('whatever is asked of whatever network', () => {
  it('never chooses an excluded, full, leaving or unfit replica, and never refuses while one fits', () => {
    const traits = fc.record({
      slots: fc.integer({ min: 1, max: 3 }),
      contextTokens: fc.constantFrom(100, 200),
      capabilities: fc.subarray<Capability>(['chat', 'logprobs', 'seed']),
      region: fc.constantFrom('eu', 'eu-de', 'europa', null),
      tier: fc.constantFrom('community', 'vetted'),
      dataCollection: fc.constantFrom('allow', 'deny'),
      outputPrice: fc.constantFrom('1', '2', '3'),
    })
    const preferences = fc.record(
      {
        region: fc.constantFrom([], ['eu']),
        tier: fc.constantFrom([], ['vetted' as const]),
        dataCollection: fc.constantFrom('allow', 'deny'),
        maxOutputPrice: fc.constantFrom(null, 2n),
        ignore: fc.constantFrom([], [nodeId('n1x')]),
        sort: fc.constantFrom(null, 'price', 'latency'),
      },
      { requiredKeys: [] },
    )
    const wish = fc.record({
      traits: fc.array(traits, { minLength: 1, maxLength: 12 }),
      preferences,
      needs: fc.subarray<Capability>(['chat', 'logprobs']),
      state: fc.array(fc.nat(9), { maxLength: 12 }),
      affinity: fc.option(fc.nat()),
      seed: fc.nat(),
    })
    fc.assert(
      fc.property(wish, ({ traits: list, state, seed, ...more }) => {
        const { table, replicas } = aTable(list)
        const exclude = new Set<string>()
        replicas.forEach((replica, i) => disturb(replica, state[i] ?? 0, exclude))
        const choice = aChoice(table, { ...more, exclude, random: seededRandom(seed) })
        const fit = replicas.filter((replica) => fits(replica, choice))
        const answer = chooseReplica(choice)
        const free = fit.filter((replica) => !isFull(replica))
        if ('chosen' in answer) {
          assert.ok(free.includes(answer.chosen), 'chosen though unfit')
          const well = free.filter((replica) => isWell(replica, choice.now))
          assert.ok(
            well.length === 0 || well.includes(answer.chosen),
            'rested one before a well one',
          )
        } else assert.equal(free.length, 0, reasonIn(answer))
        assert.equal('full' in answer, free.length === 0 && fit.length > 0)
      }),
      { numRuns: 1000 },
    )
  })
})

/** The specification in one line each, written again from the issue. */
function fits(replica: Replica, { preferences, needs, exclude }: Choice): boolean {
  const capable = needs.every((need) => can(replica, need))
  const { region } = replica
  return (
    capable &&
    !replica.draining &&
    !exclude.has(replica.node) &&
    (preferences.region.length === 0 || region === 'eu' || region === 'eu-de') &&
    (preferences.tier.length === 0 || replica.tier === 'vetted') &&
    (preferences.dataCollection === 'allow' || replica.dataCollection === 'deny') &&
    (preferences.maxOutputPrice === null || replica.price.outputNanoUsdPerMTok <= 2n) &&
    !preferences.ignore.includes(replica.node)
  )
}

function disturb(replica: Replica, state: number, exclude: Set<string>): void {
  if (state < 5) for (let i = 0; i < state && !isFull(replica); i++) recordDispatch(replica)
  else if (state === 5) exclude.add(replica.node)
  else if (state === 6) recordFailure(replica, 'crashed', 0, 500)
  else if (state === 7) replica.draining = true
  else measure([replica], [state * 10])
}

function measure(replicas: readonly Replica[], firstTokenMs: readonly number[]): void {
  replicas.forEach((replica, i) => {
    replica.firstTokenMs = 0
    replica.tokenMs = 0
    const ms = firstTokenMs[i] ?? at(firstTokenMs, 0)
    recordFirstToken(replica, ms)
    recordTokens(replica, 1, ms / 10)
  })
}

function dispatch(choice: Choice): Replica {
  const answer = chooseReplica(choice)
  assert.ok('chosen' in answer, reasonIn(answer))
  recordDispatch(answer.chosen)
  return answer.chosen
}

function nodeOf(answer: ReturnType<typeof chooseReplica>): string {
  assert.ok('chosen' in answer, reasonIn(answer))
  return answer.chosen.node.slice(5, 8)
}

function at<T>(list: readonly T[], index: number): T {
  const found = list[index]
  assert.ok(found !== undefined)
  return found
}
