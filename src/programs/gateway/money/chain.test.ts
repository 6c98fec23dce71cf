import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { encodeFunctionData } from 'viem'
import { Fault } from '../../../core/base/refusal.ts'
import { mockUsdcAbi } from '../../../io/chain/abi/mock-usdc.ts'
import { fakeRpc } from '../../../io/chain/local/fake-rpc.ts'
import { testChain } from '../../../io/chain/local/test-chain.ts'
import type { ChainAction } from '../../../io/store/chain-records.ts'
import { testStore } from '../../../io/store/testing.ts'
import { silentLogger } from '../../../io/telemetry/logger.ts'
import { openChain, type Chain, type ChainConfig } from './chain.ts'

const SOMEBODY = `0x${'34'.repeat(20)}` as const

describe('the gateway’s chain', { timeout: 120_000 }, () => {
  it('knows the token, the contracts and its own key', async (t) => {
    const { chain, open } = await setup(t)
    const { token, addresses, testMoney, operator, signer, chainId } = await open()
    assert.deepEqual(token, {
      address: chain.addresses.token,
      decimals: 6,
      symbol: 'testUSDC',
      name: 'Test USD Coin',
      version: '2',
    })
    assert.deepEqual(addresses, chain.addresses)
    assert.deepEqual([testMoney, chainId, operator], [true, 31_337, signer.address])
    assert.equal((await open()).operator, operator, 'the key stays')
  })

  it('sends what was written, and tells when it is final', async (t) => {
    const { chain, open, store } = await setup(t)
    const opened = await open()
    await chain.fund(opened.operator, '1')
    const settled = new Promise<ChainAction>((resolve) => void opened.onSettled(resolve))
    await store.writeChainAction({
      purpose: 'mint:1',
      kind: 'mint',
      target: chain.addresses.token,
      data: encodeFunctionData({ abi: mockUsdcAbi, functionName: 'mint', args: [SOMEBODY, 9n] }),
    })
    opened.wake()
    await until(async () => (await store.chainAction('mint:1'))?.state === 'mined')
    await chain.mine(2)
    assert.equal((await settled).state, 'final')
    const { number } = opened.finalBlock() ?? {}
    assert.ok(number !== undefined && number >= ((await settled).mined?.blockNumber ?? 0n))
  })

  it('waits while the chain is away, says so, and goes on', async (t) => {
    const { chain, open } = await setup(t)
    const server = await fakeRpc(t, chain.url)
    const opened = await open({ chainRpc: [server.url] })
    await until(() => opened.head() !== null)
    server.mood = 'HTTP 500'
    await until(() => opened.troubles().length > 0)
    assert.match(opened.troubles()[0] ?? '', /HTTP 500/)
    server.mood = 'honest'
    await chain.mine()
    const height = await chain.client.getBlockNumber()
    await until(() => opened.head()?.number === height)
    assert.deepEqual(opened.troubles(), [])
  })

  it('starts while the chain is away, when it met it before, and settles once it is back', async (t) => {
    const { chain, open } = await setup(t)
    const server = await fakeRpc(t, chain.url)
    const { token } = await open({ chainRpc: [server.url] })
    server.mood = 'HTTP 500'
    const opened = await open({ chainRpc: [server.url] })
    assert.deepEqual(opened.token, token)
    assert.ok(opened.troubles().length > 0 || opened.head() === null)
    server.mood = 'honest'
    await until(() => opened.finalBlock() !== null && opened.head() !== null)
    assert.deepEqual(opened.troubles(), [])
  })

  it('follows no other chain that answers in the place of its own', async (t) => {
    const { chain, open } = await setup(t)
    const server = await fakeRpc(t, chain.url)
    await open({ chainRpc: [server.url] })
    server.mood = 'HTTP 500'
    const opened = await open({ chainRpc: [server.url] })
    server.mood = 'fork'
    await until(() => opened.troubles().some((trouble) => trouble.includes('is about chain')))
    assert.equal(opened.head(), null)
  })

  it('refuses another chain than the one its database is about', async (t) => {
    const { open } = await setup(t)
    await open()
    const other = await testChain(t)
    await other.rpc('anvil_reset')
    await assert.rejects(open({ chainRpc: [other.url] }), isFault('chain_other'))
  })

  it('refuses addresses where there is nothing, or another token’s contract', async (t) => {
    const { chain, open, file } = await setup(t)
    const wrong = { ...chain.addresses, payouts: SOMEBODY }
    const chainContracts = file(JSON.stringify(wrong))
    await assert.rejects(open({ chainContracts }), isFault('chain_contracts_wrong'))
    await assert.rejects(open({ chainContracts: null }), isFault('config_invalid'))
    await assert.rejects(
      open({ chainContracts: file('{"token":"0x1"}') }),
      isFault('config_invalid'),
    )
    await assert.rejects(open({ chainRpc: [] }), isFault('config_invalid'))
    await assert.rejects(open({ chainKeyPasswordFile: '/nowhere' }), isFault('config_invalid'))
  })

  it('gives up waiting for a chain that does not answer when it is told to', async (t) => {
    const { chain, open } = await setup(t)
    const server = await fakeRpc(t, chain.url)
    server.mood = 'garbage'
    const signal = AbortSignal.timeout(300)
    await assert.rejects(open({ chainRpc: [server.url] }, signal), { name: 'TimeoutError' })
  })
})

const isFault =
  (code: string) =>
  (error: unknown): boolean =>
    error instanceof Fault && error.code === code

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 30_000
  while (!(await condition())) {
    assert.ok(Date.now() < deadline, 'it did not happen within 30 s')
    await sleep(20)
  }
}

async function setup(t: TestContext) {
  const chain = await testChain(t)
  const store = await testStore(t)
  const home = mkdtempSync(join(tmpdir(), 'baseload-chain-'))
  let files = 0
  const file = (text: string): string => {
    const path = join(home, `contracts-${(files += 1)}.json`)
    writeFileSync(path, text)
    return path
  }
  const config: ChainConfig = {
    home,
    chainRpc: [chain.url],
    chainContracts: file(JSON.stringify(chain.addresses)),
    chainFinality: 2,
    chainPollMs: 20,
    chainMaxFeeGwei: 50,
    chainKeyFile: null,
    chainKeyPasswordFile: null,
    testMoney: false,
  }
  t.after(() => rmSync(home, { recursive: true, force: true }))
  const open = async (change: Partial<ChainConfig> = {}, signal?: AbortSignal): Promise<Chain> => {
    const parts = { logger: silentLogger, gateway: 'gw_a', ...(signal ? { signal } : {}) }
    const opened = await openChain({ ...config, ...change }, store, parts)
    t.after(() => opened.close())
    return opened
  }
  return { chain, store, open, file }
}
