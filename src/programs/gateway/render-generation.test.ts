/** The wire shapes, beside what OpenAI documents: https://platform.openai.com/docs/api-reference */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ChoiceEvents, usageEvent, wholeResponse, type ResponseHead } from './render-generation.ts'

describe('a streamed chat', () => {
  it('begins with the role, goes on with content, ends with a reason', () => {
    const events = new ChoiceEvents(chat, 1)
    const common = {
      id: 'chatcmpl-1',
      object: 'chat.completion.chunk',
      created: 5,
      model: 'bard "3m"',
      system_fingerprint: 'fp_x',
    }
    const choice = { index: 1, logprobs: null, finish_reason: null }
    assert.deepEqual(read(events.begin()), {
      ...common,
      choices: [{ ...choice, delta: { role: 'assistant', content: '' } }],
    })
    assert.deepEqual(read(events.text('a\n"', '', [])), {
      ...common,
      choices: [{ ...choice, delta: { content: 'a\n"' } }],
    })
    assert.deepEqual(read(events.finish('length', ',"baseload":{"attempts":[]}')), {
      ...common,
      choices: [{ ...choice, delta: {}, finish_reason: 'length' }],
      baseload: { attempts: [] },
    })
  })

  it('carries logprobs as they are, and ids for another Baseload', () => {
    const events = new ChoiceEvents({ ...chat, tokenIds: true }, 0)
    const [choice] = read(events.text('a', JSON.stringify(entry('a')), [7])).choices
    assert.deepEqual(choice.logprobs, { content: [entry('a')], refusal: null })
    assert.deepEqual(choice.token_ids, [7])
  })

  it('is one line of JSON after `data: `, whatever the text', () => {
    const event = new ChoiceEvents(chat, 0).text('a\n\nb\r\u2028', '', [])
    assert.match(event, /^data: [^\n\r]*\n\n$/)
  })

  it('tells usage in an event of its own, without choices', () => {
    const event = read(usageEvent(chat, usage, ''))
    assert.deepEqual([event.choices, event.usage], [[], usageJson])
  })
})

describe('a streamed completion', () => {
  it('has text instead of deltas, and nothing before the first', () => {
    const events = new ChoiceEvents(completion, 0)
    assert.equal(events.begin(), '')
    const event = read(events.text('a', '', []))
    assert.equal(event.object, 'text_completion')
    assert.deepEqual(event.choices, [{ index: 0, text: 'a', logprobs: null, finish_reason: null }])
    assert.equal(read(events.finish('stop', '')).choices[0].text, '')
  })

  it('counts text offsets over all its events', () => {
    const events = new ChoiceEvents(completion, 0)
    const offsets = ['ab', 'c', 'd'].map(
      (text) =>
        read(events.text(text, JSON.stringify(entry(text)), [])).choices[0].logprobs.text_offset,
    )
    assert.deepEqual(offsets, [[0], [2], [3]])
  })
})

describe('a whole answer', () => {
  const one = { index: 0, text: 'ab', finish: 'stop', logprobs: null, tokenIds: [1, 2] } as const

  it('of a chat has messages', () => {
    const answer = JSON.parse(wholeResponse(chat, [one], usage, ''))
    assert.equal(answer.object, 'chat.completion')
    assert.deepEqual(answer.choices, [
      {
        index: 0,
        message: { role: 'assistant', content: 'ab', refusal: null },
        logprobs: null,
        finish_reason: 'stop',
      },
    ])
    assert.deepEqual(answer.usage, usageJson)
  })

  it('of a completion has parallel arrays of logprobs', () => {
    const logprobs = ['a', 'b'].map((token) => JSON.stringify(entry(token)))
    const answer = JSON.parse(wholeResponse(completion, [{ ...one, logprobs }], usage, ''))
    assert.deepEqual(answer.choices[0].logprobs, {
      tokens: ['a', 'b'],
      token_logprobs: [-0.5, -0.5],
      top_logprobs: [
        { a: -0.5, x: -2 },
        { b: -0.5, x: -2 },
      ],
      text_offset: [0, 1],
    })
  })

  it('may have no token at all', () => {
    const empty = { ...one, text: '', logprobs: [], tokenIds: [] }
    const [said, wrote] = [chat, completion].map(
      (of) => JSON.parse(wholeResponse({ ...of, tokenIds: true }, [empty], usage, '')).choices[0],
    )
    assert.deepEqual(said.logprobs, { content: [], refusal: null })
    assert.deepEqual([wrote.logprobs.tokens, wrote.token_ids], [[], []])
  })
})

const chat: ResponseHead = {
  api: 'chat',
  id: 'chatcmpl-1',
  createdS: 5,
  model: 'bard "3m"',
  fingerprint: 'fp_x',
  tokenIds: false,
}
const completion: ResponseHead = { ...chat, api: 'completion', id: 'cmpl-1' }
const usage = { inputTokens: 7, outputTokens: 2 }
const usageJson = { prompt_tokens: 7, completion_tokens: 2, total_tokens: 9 }

const entry = (token: string) => ({
  token,
  logprob: -0.5,
  bytes: null,
  top_logprobs: [
    { token, logprob: -0.5, bytes: null },
    { token: 'x', logprob: -2, bytes: null },
  ],
})

const read = (event: string) => JSON.parse(event.replace(/^data: /, ''))
