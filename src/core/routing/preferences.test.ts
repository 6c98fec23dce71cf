import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { isRefusal } from '../base/refusal.ts'
import type { ProviderPreferences } from '../protocol/provider-preferences.ts'
import { chooseReplica } from './choose.ts'
import { recordDispatch, recordFirstToken, recordTokens } from './replica.ts'
import { aChoice, aTable, nodeId, reasonIn, type Traits } from './test-replicas.ts'

type Asked = Partial<ProviderPreferences>

describe('provider preferences', () => {
  it('order: the first that is free, then the next, then anybody', () => {
    const network = setup([{ providerName: 'Ada' }, { providerName: 'Bob' }, {}])
    const order = ['bob', 'ada']
    assert.equal(network.choose({ order }), 'n1x')
    network.fill(1)
    assert.equal(network.choose({ order }), 'n0x')
    network.fill(0)
    assert.equal(network.choose({ order }), 'n2x')
    assert.match(network.refusal({ order, allowFallbacks: false }), /full/)
  })

  it('order without fallbacks: only those named', () => {
    const network = setup([{ providerName: 'Ada' }, {}])
    const asked = { order: ['bob'], allowFallbacks: false }
    assert.match(network.refusal(asked), /2 of 2 are not named by provider\.order/)
  })

  it('no order and no fallbacks: the first node tried is the only one', () => {
    const network = setup([{}, {}])
    assert.match(
      network.refusal({ allowFallbacks: false }, new Set([nodeId('n0x')])),
      /allow_fallbacks is false/,
    )
  })

  it('only and ignore: by node id, by its beginning, by provider name in any case', () => {
    const network = setup([{ providerName: 'Ada' }, { providerName: 'Bob' }])
    assert.equal(network.choose({ only: [nodeId('n1x')] }), 'n1x')
    assert.equal(network.choose({ only: ['node_n1x0'] }), 'n1x')
    assert.equal(network.choose({ ignore: ['ADA'] }), 'n1x')
    assert.match(network.refusal({ only: ['node_n1'] }), /2 of 2 are not named by provider\.only/)
  })

  it('a beginning that several nodes share is ambiguous, and said so', () => {
    const network = setup([{ node: nodeId('same1') }, { node: nodeId('same2') }])
    assert.match(network.refusal({ ignore: ['node_same'] }), /beginning of 2 nodes' ids/)
  })

  it('sort: by price, by speed, by first token, with no balancing', () => {
    const network = setup([{ outputPrice: '3' }, { outputPrice: '1' }, { outputPrice: '2' }])
    network.measure(0, 10, 30)
    network.measure(1, 20, 20)
    network.measure(2, 30, 10)
    assert.equal(network.choose({ sort: 'price' }), 'n1x')
    assert.equal(network.choose({ sort: 'latency' }), 'n0x')
    assert.equal(network.choose({ sort: 'throughput' }), 'n2x')
    network.fill(1)
    assert.equal(network.choose({ sort: 'price' }), 'n2x')
  })

  it('preferred speeds put those that miss them last, and refuse nobody', () => {
    const network = setup([{ outputPrice: '1' }, { outputPrice: '2' }])
    network.measure(0, 3000, 100)
    network.measure(1, 100, 10)
    assert.equal(network.choose({ sort: 'price', maxLatencyS: 1 }), 'n1x')
    assert.equal(network.choose({ sort: 'price', minThroughput: 50 }), 'n1x')
    assert.equal(network.choose({ sort: 'price', minThroughput: 1000 }), 'n0x')
  })

  it('region holds its parts, tier and quantization are exact, prompts stay private', () => {
    const network = setup([
      { region: 'eu-de', tier: 'vetted', quantization: 'q8_0' },
      { region: 'europa', quantization: null, dataCollection: 'allow' },
      { region: null, quantization: 'F16' },
    ])
    assert.equal(network.choose({ region: ['EU'] }), 'n0x')
    assert.equal(network.choose({ tier: ['vetted', 'reserve'] }), 'n0x')
    assert.equal(network.choose({ quantizations: ['f16'] }), 'n2x')
    assert.equal(network.choose({ quantizations: ['unknown'] }), 'n1x')
    assert.equal(network.choose({ dataCollection: 'deny', region: ['eu', 'europa'] }), 'n0x')
  })
})

describe('a refusal', () => {
  it('says of how many nodes each demand excludes how many', () => {
    const cheap = Array.from({ length: 5 }, () => ({ outputPrice: '5000000', region: 'us' }))
    const dear = Array.from({ length: 4 }, () => ({ outputPrice: '50000000' }))
    const network = setup([...cheap, ...dear])
    const answer = network.ask({ maxOutputPrice: 10_000_000n, region: ['eu'] })
    assert.ok(isRefusal(answer))
    assert.equal(answer.code, 'no_matching_node')
    assert.match(
      answer.message,
      /5 of 9 are in us, not in eu; 4 of 9 ask an output price above \$0\.01 per million tokens, the cheapest of them \$0\.05/,
    )
    assert.deepEqual(answer.details, {
      model: 'bard-3m',
      nodes: 9,
      'provider.region': 5,
      'provider.max_price.completion': 4,
    })
  })

  it('names the parameter and the capability that no node has', () => {
    const { table } = aTable([{}, {}])
    const answer = chooseReplica(aChoice(table, { needs: ['chat', 'json_schema'] }))
    assert.ok(isRefusal(answer))
    assert.deepEqual([answer.code, answer.param], ['unsupported_feature', 'response_format'])
    assert.match(answer.message, /'json_schema', which no node that serves .* \(2 asked\)/)
  })

  it('is about the match when each capability exists, but not together', () => {
    const { table } = aTable([
      { capabilities: ['chat', 'logprobs'] },
      { capabilities: ['chat', 'stop'] },
    ])
    const answer = chooseReplica(aChoice(table, { needs: ['chat', 'logprobs', 'stop'] }))
    assert.ok(isRefusal(answer))
    assert.match(answer.message, /2 of 2 cannot do all of chat, logprobs, stop/)
  })

  it('asks to come again when every node of a model is gone', () => {
    const { table, replicas } = aTable([{}, {}, {}])
    for (const { link } of replicas) table.removeLink(link, { reason: 'gone', now: 900 })
    const answer = chooseReplica(aChoice(table))
    assert.ok(isRefusal(answer))
    assert.deepEqual([answer.code, answer.retryAfterS], ['no_node_available', 5])
  })

  it('does not call a model unknown while no node at all is there to know it', () => {
    const answer = chooseReplica(aChoice(aTable([]).table, { model: 'any' }))
    assert.ok(isRefusal(answer))
    assert.deepEqual([answer.code, answer.retryAfterS], ['no_node_available', 5])
  })

  it('suggests models for one that nobody knows', () => {
    const { table } = aTable([{ model: 'bard-3m' }, { model: 'meta/llama-3' }])
    const answer = chooseReplica(aChoice(table, { model: 'Brad-3m' }))
    assert.ok(isRefusal(answer))
    assert.equal(answer.code, 'model_not_found')
    assert.match(answer.message, /Did you mean bard-3m\? GET \/v1\/models lists all 2/)
    const other = chooseReplica(aChoice(table, { model: 'llama-3' }))
    assert.match(isRefusal(other) ? other.message : '', /mean meta\/llama-3\?/)
  })
})

function setup(traits: readonly Traits[]) {
  const { table, replicas } = aTable(traits)
  const one = (index: number) => {
    const replica = replicas[index]
    assert.ok(replica)
    return replica
  }
  const ask = (preferences: Asked, exclude: ReadonlySet<string> = new Set()) =>
    chooseReplica(aChoice(table, { preferences, exclude }))
  return {
    ask,
    choose(preferences: Asked): string {
      const answer = ask(preferences)
      assert.ok('chosen' in answer, reasonIn(answer))
      return answer.chosen.node.slice(5, 8)
    },
    refusal(preferences: Asked, exclude?: ReadonlySet<string>): string {
      const answer = ask(preferences, exclude)
      assert.ok(!('chosen' in answer), 'chosen')
      return 'full' in answer ? 'full' : answer.message
    },
    fill(index: number): void {
      for (let i = 0; i < 5; i++) recordDispatch(one(index))
    },
    measure(index: number, firstTokenMs: number, tokenMs: number): void {
      recordFirstToken(one(index), firstTokenMs)
      recordTokens(one(index), 1, tokenMs)
    },
  }
}
