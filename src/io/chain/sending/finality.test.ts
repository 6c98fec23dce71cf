import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { BlockRef } from '../../store/chain-records.ts'
import { testStore } from '../../store/testing.ts'
import { silentLogger } from '../../telemetry/logger.ts'
import { fakeRpc, type FakeRpc, type Mood } from '../local/fake-rpc.ts'
import { createFinality, type Finality, type Reorganisation } from './finality.ts'
import { openRpc } from './rpc.ts'
import { testChain, type TestChain } from '../local/test-chain.ts'

const DEPTH = 3

describe('finality', { timeout: 120_000 }, () => {
  it('comes when a block is deep enough, and not before', async (t) => {
    const { chain, open } = await setup(t)
    const { finality, finals } = await open()
    await finality.look()
    const first = finality.finalBlock()
    const height = await chain.client.getBlockNumber()
    assert.equal(first?.number, height - 3n)
    await finality.look()
    assert.equal(finals.length, 1, 'nothing new, nothing told')
    await chain.mine(5)
    await finality.look()
    assert.equal(finality.finalBlock()?.number, height + 2n)
    assert.deepEqual(finals.at(-1)?.[1], first)
    const { hash } = await chain.client.getBlock({ blockNumber: height + 2n })
    assert.equal(finality.finalBlock()?.hash, hash)
  })

  it('takes no notice of a reorganisation above it', async (t) => {
    const { chain, open } = await setup(t)
    const { finality, reorgs, finals } = await open()
    for (const depth of [1, 2, 3]) {
      await chain.mine(4)
      await finality.look()
      const before = finality.finalBlock()
      await chain.reorganise(depth)
      await chain.mine(1)
      await finality.look()
      assert.equal(reorgs.length, 0)
      assert.deepEqual(finals.at(-1)?.[1], before)
    }
  })

  it('tells down to which block a reorganisation goes, also when nobody ran meanwhile', async (t) => {
    const { chain, open } = await setup(t)
    const one = await open()
    await chain.mine(20)
    await one.finality.look()
    await chain.mine(6)
    await one.finality.look()
    const from = one.finality.finalBlock()
    assert.ok(from)
    const { hash } = await chain.client.getBlock({ blockNumber: from.number - 2n })
    await chain.reorganise(DEPTH + 2)
    const two = await open()
    await two.finality.look()
    assert.deepEqual(two.reorgs, [{ ancestor: { number: from.number - 2n, hash }, from }])
    assert.equal(two.finality.finalBlock()?.number, from.number)
    assert.notEqual(two.finality.finalBlock()?.hash, from.hash)
    await one.finality.look()
    assert.equal(one.reorgs.length, 1, 'the one that ran noticed it, too')
  })

  it('tells again what a listener could not take', async (t) => {
    const { chain, open } = await setup(t)
    const { finality } = await open()
    await finality.look()
    const told: (BlockRef | null)[] = []
    finality.onFinal(async (_, previous) => {
      told.push(previous)
      if (told.length < 3) throw new Error('the database is away')
    })
    await chain.mine(2)
    assert.deepEqual(
      [await finality.look(), await finality.look(), await finality.look()],
      [false, false, true],
    )
    assert.deepEqual(told[0], told[2])
  })

  const BAD: readonly Mood[] = [
    'stall',
    'cut',
    'HTTP 500',
    'garbage',
    'limit',
    'lag',
    'future',
    'fork',
    'other chain',
    'back',
  ]
  for (const mood of BAD) {
    it(`goes on with two honest servers beside one of mood '${mood}'`, async (t) => {
      const { chain, open } = await setup(t)
      const servers = await proxies(t, chain.url)
      const { finality, reorgs } = await open(servers.map(({ url }) => url))
      set(servers[0], mood)
      for (let i = 0; i < 3; i++) {
        await chain.mine(2)
        await finality.look()
      }
      await lookUntilFinal(finality, chain)
      assert.equal(reorgs.length, 0)
    })

    it(`waits while most servers are of mood '${mood}', and goes on after`, async (t) => {
      const { chain, open } = await setup(t)
      const servers = await proxies(t, chain.url)
      const { finality, reorgs } = await open(servers.map(({ url }) => url))
      await lookUntilFinal(finality, chain)
      set(servers[0], mood)
      set(servers[1], mood)
      for (let i = 0; i < 3; i++) {
        await chain.mine(1)
        await finality.look()
      }
      const then = finality.finalBlock()
      assert.ok(then)
      // The two agree with each other where they lie the same way: a majority of liars is believed, and noticed after.
      if (mood !== 'fork') {
        const { hash } = await chain.client.getBlock({ blockNumber: then.number })
        assert.equal(then.hash, hash)
        assert.equal(reorgs.length, 0)
      }
      for (const server of servers) set(server, 'honest')
      await lookUntilFinal(finality, chain)
    })
  }

  it('says of a server what is wrong with it, and never its address', async (t) => {
    const { chain, open } = await setup(t)
    const server = await fakeRpc(t, chain.url)
    const { finality, rpc } = await open([`${server.url}/v1/SECRET`])
    server.mood = 'HTTP 500'
    assert.equal(await finality.look(), false)
    assert.match(rpc.troubles().join(), /^127\.0\.0\.1:\d+: HTTP 500$/)
    assert.ok(!rpc.troubles().join().includes('SECRET'))
  })
})

/** Honest servers may be late, too, on a machine with other work: then it takes another look. */
async function lookUntilFinal(finality: Finality, chain: TestChain): Promise<void> {
  const blockNumber = (await chain.client.getBlockNumber()) - BigInt(DEPTH)
  const { hash } = await chain.client.getBlock({ blockNumber })
  for (let i = 0; i < 200 && finality.finalBlock()?.hash !== hash; i++) {
    await finality.look()
    await sleep(20)
  }
  assert.deepEqual(finality.finalBlock(), { number: blockNumber, hash })
}

function set(server: FakeRpc | undefined, mood: Mood): void {
  if (server) server.mood = mood
}

const proxies = (t: TestContext, url: string): Promise<FakeRpc[]> =>
  Promise.all([fakeRpc(t, url), fakeRpc(t, url), fakeRpc(t, url)])

async function setup(t: TestContext) {
  const chain = await testChain(t)
  const store = await testStore(t)
  const open = async (urls: readonly string[] = [chain.url]) => {
    const rpc = await openRpc({ urls, logger: silentLogger, deadlineMs: 400 })
    const finality = await createFinality({ rpc, store, logger: silentLogger, depth: DEPTH })
    const finals: (readonly [BlockRef, BlockRef | null])[] = []
    const reorgs: Reorganisation[] = []
    finality.onFinal((...told) => void finals.push(told))
    finality.onReorg((told) => void reorgs.push(told))
    return { finality, finals, reorgs, rpc }
  }
  return { chain, open }
}
