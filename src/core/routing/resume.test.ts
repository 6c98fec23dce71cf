import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { isRefusal } from '../base/refusal.ts'
import { recordDispatch } from './replica.ts'
import { Replay } from './replay.ts'
import {
  chooseForPlans,
  MAX_ATTEMPTS_PER_CHOICE,
  MAX_FRUITLESS_ATTEMPTS,
  planResume,
  type Broken,
} from './resume.ts'
import { aChoice, aTable, nodeId, reasonIn } from './test-replicas.ts'

describe('when an attempt breaks', () => {
  it('continues after the ids on the same engine, then on any with the weights, then by text, then repeats', () => {
    assert.deepEqual(kinds({}), [
      'resume_ids resume_ids name:bard llama.cpp',
      'resume_ids resume_ids name:bard',
      'resume_text resume_text name:bard',
      'replay  name:bard llama.cpp',
    ])
  })

  it('goes on with the same sample where randomness is keyed by position', () => {
    assert.deepEqual(kinds({ sampled: true }).slice(0, 2), [
      'resume_ids resume_ids,positional_seed name:bard llama.cpp',
      'resume_ids resume_ids name:bard',
    ])
    assert.equal(kinds({ sampled: true }).at(-1), 'replay seed name:bard llama.cpp')
  })

  it('continues by text only, where ids are hidden', () => {
    assert.deepEqual(kinds({ idsKnown: false }), [
      'resume_text resume_text name:bard',
      'replay  name:bard llama.cpp',
    ])
  })

  it('starts over freely while nobody has seen anything', () => {
    assert.deepEqual(kinds({ tokens: 0, shown: false }), ['restart  any'])
    assert.deepEqual(kinds({ structured: true, shown: false }), ['restart  any'])
    assert.deepEqual(kinds({ api: 'embedding', tokens: 0, shown: false }), ['restart  any'])
    assert.equal(kinds({ shown: false }).at(-1), 'restart  any')
  })

  it('obeys provider.resume', () => {
    assert.deepEqual(kinds({ preference: 'restart' }), ['replay  name:bard llama.cpp'])
    assert.deepEqual(kinds({ preference: 'restart', shown: false }), ['restart  any'])
    assert.match(failure({ preference: 'fail' }), /after 5 tokens: .*provider\.resume is 'fail'/)
    assert.deepEqual(kinds({ preference: 'fail', tokens: 0, shown: false }), ['restart  any'])
  })

  it('gives again what is too long to be sent along', () => {
    assert.deepEqual(kinds({ fits: false }), ['replay  name:bard llama.cpp'])
    assert.deepEqual(kinds({ fits: false, shown: false }), ['restart  any'])
    assert.match(failure({ fits: false, structured: true }), /cannot be continued/)
  })

  it('is done when only the END was lost', () => {
    assert.deepEqual(planResume(broken({ maxTokens: 5 })), { kind: 'whole' })
  })

  it('gives up after enough attempts, or when time is up, and says why', () => {
    assert.match(failure({ attempts: MAX_ATTEMPTS_PER_CHOICE }), /32 attempts failed.*link lost/)
    assert.match(
      failure({ attempts: 9, fruitless: MAX_FRUITLESS_ATTEMPTS }),
      /8 attempts in a row gave nothing.*link lost/,
    )
    assert.match(failure({ now: 100, deadline: 100 }), /time was up after 1 attempts/)
  })

  it('goes on for as long as the answer grows', () => {
    assert.equal(kinds({ attempts: MAX_ATTEMPTS_PER_CHOICE - 1, fruitless: 0 }).length, 4)
  })

  it('never glues: whatever was shown is continued with the same weights or repeated', () => {
    const any = fc.record({
      api: fc.constantFrom('chat', 'completion'),
      preference: fc.constantFrom('continue', 'restart', 'fail'),
      structured: fc.boolean(),
      sampled: fc.boolean(),
      tokens: fc.nat(9),
      idsKnown: fc.boolean(),
      attempts: fc.nat(9),
    })
    fc.assert(
      fc.property(any, (more) => {
        const plans = planResume(broken({ ...more, shown: true }))
        if (isRefusal(plans) || 'kind' in plans) return
        assert.ok(plans.length > 0)
        for (const { kind, digest } of plans) assert.ok(kind !== 'restart' && digest !== null)
      }),
    )
  })
})

describe('choosing for the plans', () => {
  it('takes the first plan that somebody free can follow', () => {
    const { table } = aTable([
      { digest: 'name:other' },
      { capabilities: ['chat', 'resume_text'] },
      { capabilities: ['chat', 'resume_ids'], engine: 'vllm/1' },
    ])
    const first = chooseForPlans(aChoice(table), plansOf({}))
    assert.ok('chosen' in first, reasonIn(first))
    assert.deepEqual([first.plan.kind, first.chosen.engine], ['resume_ids', 'vllm/1'])
    const second = chooseForPlans(
      aChoice(table, { exclude: new Set([nodeId('n2x')]) }),
      plansOf({}),
    )
    assert.ok('chosen' in second, reasonIn(second))
    assert.equal(second.plan.kind, 'resume_text')
  })

  it('is full rather than refused when somebody could follow one later', () => {
    const { table, replicas } = aTable([{ slots: 1 }, { digest: 'name:other' }])
    for (const replica of replicas) recordDispatch(replica)
    for (const replica of replicas) recordDispatch(replica)
    assert.ok('full' in chooseForPlans(aChoice(table), plansOf({})))
    const gone = chooseForPlans(aChoice(table), plansOf({ digest: 'name:gone' }))
    assert.ok(isRefusal(gone))
  })
})

describe('a replay', () => {
  it('drops what the tenant has, however it is cut, and passes on the rest', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), fc.array(fc.nat(5)), (shown, more, cuts) => {
        const replay = new Replay(shown)
        const whole = shown + more
        let fresh = ''
        let at = 0
        for (const size of [...cuts, whole.length]) {
          fresh += replay.feed(whole.slice(at, at + size)) ?? 'unlike'
          at += size
        }
        assert.equal(fresh, more)
        assert.ok(replay.caughtUp)
      }),
    )
  })

  it('ends at the first difference, and is not caught up before the end', () => {
    const replay = new Replay('the same')
    assert.equal(replay.feed('the '), '')
    assert.ok(!replay.caughtUp)
    assert.equal(replay.feed('other'), null)
  })
})

function broken(more: Partial<Broken>): Broken {
  return {
    api: 'chat',
    preference: 'continue',
    structured: false,
    sampled: false,
    shown: true,
    tokens: 5,
    idsKnown: true,
    maxTokens: 100,
    digest: 'name:bard',
    engineFamily: 'llama.cpp',
    attempts: 1,
    fruitless: 0,
    fits: true,
    reason: 'link lost',
    now: 0,
    deadline: 1000,
    ...more,
  }
}

function plansOf(more: Partial<Broken>) {
  const plans = planResume(broken(more))
  assert.ok(!isRefusal(plans) && !('kind' in plans))
  return plans
}

const kinds = (more: Partial<Broken>): string[] =>
  plansOf(more).map(({ kind, needs, digest, engineFamily }) =>
    [kind, needs.join(), digest ?? 'any', ...(engineFamily ? [engineFamily] : [])].join(' '),
  )

function failure(more: Partial<Broken>): string {
  const answer = planResume(broken(more))
  assert.ok(isRefusal(answer))
  assert.equal(answer.code, 'node_failed')
  return answer.message
}
