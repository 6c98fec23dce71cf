import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createPublicClient, http, toHex } from 'viem'
import { silentLogger } from '../../telemetry/logger.ts'
import { mockUsdcAbi } from '../abi/mock-usdc.ts'
import { startAnvil } from './anvil.ts'
import { startLocalChain, type LocalChain } from './local-chain.ts'
import { endOrphan, notePid } from './orphan.ts'

const WHO = `0x${'12'.repeat(20)}` as const

/** Code that cannot be compressed. */
async function put({ url }: LocalChain, number: number): Promise<void> {
  const params = [
    `0x${(0x1000 + number).toString(16).padStart(40, '0')}`,
    toHex(randomBytes(24_000)),
  ]
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'anvil_setCode', params })
  const headers = { 'content-type': 'application/json' }
  assert.ok((await fetch(url, { method: 'POST', headers, body })).ok)
}

describe('a local chain', { timeout: 120_000 }, () => {
  it('keeps what was on it when anvil is killed, and goes on at the same address', async (t) => {
    const { start } = setup(t)
    const chain = await start()
    await chain.fund(WHO, '1', 700n)
    const before = await headOf(chain)
    const pid = chain.pid()
    assert.ok(pid !== null)
    process.kill(pid, 'SIGKILL')
    await until(() => chain.pid() !== null && chain.pid() !== pid)
    await until(async () => (await headOf(chain).catch(() => null)) !== null)
    assert.equal(await units(chain), 700n)
    const same = await client(chain).getBlock({ blockNumber: before.number })
    assert.equal(same.hash, before.hash, 'the block that had it is the same')
    await chain.fund(WHO, '1', 5n)
    assert.equal(await units(chain), 705n)
    // What was read at a past block is read again: final blocks lie in the past.
    assert.equal(await units(chain, before.number), 700n)
  })

  it('is the same one after a restart, and its contracts stay where they are', async (t) => {
    const { start } = setup(t)
    const one = await start()
    await one.fund(WHO, '1', 42n)
    const genesis = await client(one).getBlock({ blockNumber: 0n })
    await one.stop()
    const two = await start()
    assert.deepEqual([two.addresses, two.guardian], [one.addresses, one.guardian])
    assert.equal((await client(two).getBlock({ blockNumber: 0n })).hash, genesis.hash)
    assert.equal(await units(two), 42n)
    assert.equal(two.url, one.url)
    await two.stop()
    for (let again = 1; again <= 5; again++) {
      const chain = await start()
      const head = await headOf(chain)
      assert.equal((await client(chain).getBlock({ blockNumber: 0n })).hash, genesis.hash)
      await until(async () => (await headOf(chain)).number > head.number)
      const { timestamp } = await headOf(chain)
      assert.ok(timestamp >= head.timestamp, 'its clock goes on')
      assert.ok(Math.abs(Number(timestamp) - Date.now() / 1000) < 10, 'and is right')
      await chain.stop()
    }
  })

  it('takes up a state of any size, and keeps it from growing with each block', async (t) => {
    const { start, folder } = setup(t)
    const one = await start()
    const kept = () => statSync(join(folder, 'state.hex')).size
    for (let block = 0; block < 50; block++) await one.fund(WHO, '1', 1n)
    const before = kept()
    for (let block = 0; block < 50; block++) await one.fund(WHO, '1', 1n)
    assert.ok(kept() < 1.2 * before, `${before} bytes became ${kept()}`)
    for (let code = 1; code <= 60; code++) await put(one, code)
    await one.fund(WHO, '1', 20n)
    assert.ok(kept() > 2 * 1024 * 1024, `${kept()} bytes: anvil takes them only when told so`)
    await one.stop()
    assert.equal(await units(await start()), 120n)
  })

  it('mines until what it has is final, and then stands still', async (t) => {
    const { start } = setup(t)
    const chain = await start()
    const { number } = await headOf(chain)
    await until(async () => (await headOf(chain)).number >= number + 12n)
    await until(async () => {
      const { number: now } = await headOf(chain)
      await sleep(200)
      return (await headOf(chain)).number === now
    })
  })

  it('ends an anvil that outlived its program, and nobody who has its number', async (t) => {
    const { folder } = setup(t)
    const marker = join(folder, 'anvil.json')
    const orphan = await startAnvil({ args: ['--config-out', marker] })
    t.after(() => orphan.stop())
    const file = join(folder, 'pid')
    notePid(file, orphan.pid, join(folder, 'another'))
    await endOrphan(file)
    assert.equal(await orphan.rpc('eth_chainId'), '0x7a69', 'it is not that one')
    notePid(file, orphan.pid, marker)
    await endOrphan(file)
    await orphan.stop()
    await assert.rejects(orphan.rpc('eth_chainId'))
  })
})

const client = ({ url }: LocalChain) => createPublicClient({ transport: http(url), cacheTime: 0 })
const headOf = (chain: LocalChain) => client(chain).getBlock()

const units = (chain: LocalChain, blockNumber?: bigint): Promise<bigint> =>
  client(chain).readContract({
    abi: mockUsdcAbi,
    address: chain.addresses.token,
    functionName: 'balanceOf',
    args: [WHO],
    ...(blockNumber === undefined ? {} : { blockNumber }),
  })

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 30_000
  while (!(await condition())) {
    assert.ok(Date.now() < deadline, 'it did not happen within 30 s')
    await sleep(20)
  }
}

function setup(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), 'baseload-local-chain-'))
  const chains: LocalChain[] = []
  t.after(async () => {
    for (const chain of chains) await chain.stop()
    rmSync(folder, { recursive: true, force: true })
  })
  const start = async (): Promise<LocalChain> => {
    const chain = await startLocalChain({ folder, logger: silentLogger, blockMs: 25 })
    chains.push(chain)
    return chain
  }
  return { folder, start }
}
