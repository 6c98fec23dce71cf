/** For tests of a choice: one that has started, over nodes that do what the test says, and what became of it. */
import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import type { Refusal } from '../../core/base/refusal.ts'
import type { Api } from '../../core/protocol/inference-request.ts'
import type { Traits } from '../../core/routing/test-replicas.ts'
import type { Attempt } from './attempt.ts'
import { Choice, type ChoiceOwner } from './choice.ts'
import type { GatewayConfig } from './config.ts'
import { aDispatch, aKey, aRequest } from './test-kit.ts'

/** A stream whose text can be foreseen. */
export const greedy = { stream: true, temperature: 0 }

export const many = (count: number, traits: Traits): Traits[] =>
  Array.from({ length: count }, () => traits)

export type ChoiceSetup = {
  nodes?: Traits[]
  config?: Partial<GatewayConfig>
  request?: Record<string, unknown>
  api?: Api
  index?: number
  /** False: others of the same answer still run when it finishes. */
  settle?: boolean
  before?: (net: ReturnType<typeof aDispatch>) => unknown
}

/** A choice that has started, at the first of two nodes unless told otherwise. */
export function aStartedChoice(t: TestContext, options: ChoiceSetup = {}) {
  const { api = 'chat', index = 0, settle = true } = options
  const nodes = options.nodes ?? [{}, {}]
  const net = aDispatch(t, { ...options, nodes })
  options.before?.(net)
  const order = net.replicas.map(({ node }) => node)
  const provider = { ...(pins(options) ? {} : { order }), ...preferencesOf(options) }
  const request = aRequest({ ...options.request, provider }, api)
  const taken: [Attempt, number][] = []
  const owner = { taken, shown: '', outcomes: [] as (Refusal | 'finished')[] }
  const listener: ChoiceOwner = {
    chunks(_choice, chunks, bytes, attempt) {
      for (const { text } of chunks) owner.shown += text
      taken.push([attempt, bytes])
    },
    finished(choice) {
      owner.outcomes.push('finished')
      if (settle) choice.settle()
    },
    failed: (_choice, refusal) => void owner.outcomes.push(refusal),
  }
  const choice = new Choice(net.dispatcher, {
    request,
    requestId: 'req_1',
    index,
    seed: 1,
    body: Buffer.from('{"the":"body of the request, which is no less than its tokens"}'),
    key: aKey(),
    affinity: null,
    owner: listener,
  })
  choice.start()
  return {
    ...net,
    choice,
    owner,
    text: () => owner.shown,
    /** How it ended; null while it has not. It must never end twice. */
    ended(): string | null {
      assert.ok(owner.outcomes.length < 2, 'it ended twice')
      const [outcome] = owner.outcomes
      return outcome === undefined ? null : outcome === 'finished' ? outcome : outcome.code
    },
    /** [node, billed input, output, witness] of each attempt that is paid. */
    bill: () =>
      net.desk.paid.map(({ node, input, output, by }) => [node.slice(5, 7), input, output, by]),
  }
}

const preferencesOf = ({ request }: ChoiceSetup): object => {
  const provider = request?.['provider']
  return typeof provider === 'object' && provider !== null ? provider : {}
}
const pins = (options: ChoiceSetup): boolean => 'allow_fallbacks' in preferencesOf(options)
