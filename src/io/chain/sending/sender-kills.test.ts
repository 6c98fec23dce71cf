/**
 * The sender's program is killed at every step of its work, again and again, while the chain is reorganised under it; then
 * every action must have been done on the chain exactly once, and none be lost.
 */
import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { describe, it, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { encodeFunctionData, type Address } from 'viem'
import { createPostgresStore } from '../../store/postgres-store.ts'
import { testDatabaseUrl } from '../../store/testing.ts'
import { silentLogger } from '../../telemetry/logger.ts'
import { mockUsdcAbi } from '../abi/mock-usdc.ts'
import type { Death, SendingSetup } from './sender-kit.ts'
import { SENDER_STEPS, type SenderStep } from './sender.ts'
import { testChain, type TestChain } from '../local/test-chain.ts'

/** `TEST_SETTLEMENT_KILLS=200` for the long form. */
const KILLS = Number(process.env['TEST_SETTLEMENT_KILLS'] ?? 15)
const DEPTH = 4
const BLOCK_MS = 60
/** Actions that are on their way at a time. */
const BUSY = 6
const UNITS = 1_000n

describe('settlement', { timeout: 120_000 + KILLS * 15_000 }, () => {
  it(`does every action once when the sender is killed ${KILLS} times`, async (t) => {
    const run = await setup(t)
    try {
      await everyStep(t, run)
    } finally {
      // Before the chain and the database end, which they need.
      await run.end()
    }
  })
})

async function everyStep(t: TestContext, run: Awaited<ReturnType<typeof setup>>): Promise<void> {
  const died = new Map<SenderStep, number>()
  for (let round = 0; round < KILLS; round++) {
    const step = SENDER_STEPS[round % SENDER_STEPS.length] ?? 'held'
    const nth = 1 + Math.floor(Math.random() * 3)
    await run.killAt({ step, nth })
    died.set(step, (died.get(step) ?? 0) + 1)
    await run.check()
  }
  t.diagnostic(
    `${KILLS} kills at ${died.size} steps, ${run.written} actions, ${run.reorganisations} reorganisations`,
  )
  assert.equal(died.size, Math.min(KILLS, SENDER_STEPS.length), 'every step had its kill')
  assert.ok(run.reorganisations > 0 || KILLS < SENDER_STEPS.length)
  await run.finish()
  await run.check()
  const actions = await run.store.chainActions({ limit: 100_000 })
  assert.equal(actions.length, run.written, 'none is lost, none was made up')
  assert.deepEqual(
    actions.filter(({ state }) => state !== 'final'),
    [],
  )
  const nonces = actions.map(({ nonce }) => nonce)
  assert.equal(new Set(nonces).size, nonces.length, 'no nonce twice')
  for (const { purpose } of actions)
    assert.equal(await run.units(Number(purpose.slice(5))), UNITS, `${purpose} exactly once`)
  assert.equal(await run.supply(), UNITS * BigInt(run.written))
}

const who = (i: number): Address => `0x${(0x10_0000 + i).toString(16).padStart(40, '0')}`

async function setup(t: TestContext) {
  const chain = await testChain(t)
  const wallet = await chain.wallet('1000')
  const databaseUrl = await testDatabaseUrl()
  const store = await createPostgresStore({ url: databaseUrl, logger: silentLogger })
  t.after(() => store.close())
  await chain.mining(false)
  const supply = (): Promise<bigint> =>
    chain.client.readContract({
      abi: mockUsdcAbi,
      address: chain.addresses.token,
      functionName: 'totalSupply',
    })
  const before = await supply()
  const world = startWorld(chain)
  const victims = victimsOf({
    databaseUrl,
    rpcUrls: [chain.url],
    key: wallet.key,
    gateway: 'gw_victim',
    depth: DEPTH,
    resendAfterMs: 250,
  })
  const state = { written: 0 }
  const write = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) {
      const to = who(state.written)
      await store.writeChainAction({
        purpose: `mint:${state.written}`,
        kind: 'mint',
        target: chain.addresses.token,
        data: encodeFunctionData({ abi: mockUsdcAbi, functionName: 'mint', args: [to, UNITS] }),
      })
      state.written += 1
    }
  }
  const open = async (): Promise<number> => {
    const { written, signed, mined } = await store.openChainActions()
    return written + signed + mined
  }
  return {
    store,
    get written() {
      return state.written
    },
    get reorganisations() {
      return world.reorganisations
    },
    units: (i: number): Promise<bigint> =>
      chain.client.readContract({
        abi: mockUsdcAbi,
        address: chain.addresses.token,
        functionName: 'balanceOf',
        args: [who(i)],
      }),
    supply: async (): Promise<bigint> => (await supply()) - before,
    /** Lets one work until it dies at that step, with what leads there going on around it. */
    async killAt(death: Death): Promise<void> {
      world.weather = weatherFor(death.step)
      const victim = await victims.work(death)
      while (victim.exitCode === null && victim.signalCode === null) {
        world.checkAlive()
        const missing = BUSY - (await open())
        if (missing > 0) await write(missing)
        await sleep(25)
      }
      world.weather = 'calm'
      assert.equal(victim.signalCode, 'SIGKILL', `the sender ended by itself before ${death.step}`)
    },
    /** At any moment: nothing was done twice, and nothing that nobody asked for. */
    async check(): Promise<void> {
      assert.equal((await store.chainActions({ limit: 100_000 })).length, state.written)
      const done = await supply()
      assert.equal((done - before) % UNITS, 0n)
      const final = (await store.chainActions({ state: 'final', limit: 100_000 })).length
      const minted = Number((done - before) / UNITS)
      assert.ok(minted <= state.written, `${minted} were done of ${state.written}`)
      assert.ok(minted >= final, `${final} are final, but ${minted} were done`)
    },
    async finish(): Promise<void> {
      const survivor = await victims.work(null)
      while ((await open()) > 0) {
        world.checkAlive()
        assert.equal(survivor.exitCode, null, 'the sender ended by itself')
        await sleep(25)
      }
      survivor.kill('SIGKILL')
    },
    async end(): Promise<void> {
      victims.end()
      await world.end()
    },
  }
}

type Weather = 'calm' | 'reorganising' | 'slow'

/** Which weather makes the sender come by that step. */
function weatherFor(step: SenderStep): Weather {
  if (step === 'block-gone' || step === 'unmined') return 'reorganising'
  if (step.startsWith('raise')) return 'slow'
  return Math.random() < 0.3 ? 'reorganising' : 'calm'
}

/** Mines a block now and then, and reorganises the last 1 to 3 at random moments, less than what is final. */
function startWorld(chain: TestChain) {
  const world = { weather: 'calm' as Weather, reorganisations: 0, going: true }
  const live = async (): Promise<void> => {
    while (world.going) {
      await sleep(Math.random() * 2 * BLOCK_MS)
      if (!world.going) return
      if (world.weather !== 'slow' || Math.random() < 0.04) await chain.mine()
      if (world.weather === 'reorganising' && Math.random() < 0.2) {
        await chain.reorganise(1 + Math.floor(Math.random() * 3))
        world.reorganisations += 1
      }
    }
  }
  let broken: unknown = null
  const living = live().catch((error: unknown) => (broken = error))
  /** Without blocks nothing goes on, and the test would wait for ever. */
  const checkAlive = (): void => {
    if (broken !== null) throw new Error('the chain mines no more', { cause: broken })
  }
  const end = async (): Promise<void> => {
    world.going = false
    await living
  }
  return Object.assign(world, { end, checkAlive })
}

const KIT = fileURLToPath(new URL('./sender-kit.ts', import.meta.url))
const PROGRAM = `import(${JSON.stringify(KIT)}).then((kit) => kit.runVictim())`

/** The next one is started while the one before still works: loading takes longer than dying. */
function victimsOf(sending: SendingSetup) {
  const all = new Set<ChildProcess>()
  const start = (): ChildProcess => {
    const args = ['--import', 'tsx', '--input-type=module', '-e', PROGRAM]
    const child = spawn(process.execPath, args, { stdio: ['pipe', 'ignore', 'inherit'] })
    all.add(child)
    child.once('exit', () => all.delete(child))
    return child
  }
  let next = start()
  const end = (): void => {
    for (const child of all) child.kill('SIGKILL')
  }
  const work = async (death: Death | null): Promise<ChildProcess> => {
    const child = next
    next = start()
    const raiseAfterMs = death?.step.startsWith('raise') ? 50 : 10_000
    child.stdin?.write(`${JSON.stringify([{ ...sending, raiseAfterMs }, death])}\n`)
    return child
  }
  return { work, end }
}
