/** The example as it is published: an agent with a budget, on a network that is paid on chain. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { loadImage } from '../../src/io/runtime/images.ts'
import { tenantLedger } from '../../src/io/store/store.ts'
import { silentLogger } from '../../src/io/telemetry/logger.ts'
import { nodeConfig } from '../../src/programs/node/config.ts'
import { createFakeEngine } from '../../src/programs/node/fake-engine.ts'
import { startNode } from '../../src/programs/node/main.ts'
import { AGENT, checkBooks, ended, newAgent } from '../support/agent-run.ts'
import { containersUnavailable } from '../support/container-engines.ts'
import { imageArchive, makeLayer } from '../support/container-image.ts'
import { openYard, type LeaseYard } from '../support/lease-network.ts'
import { paidNetwork, type PaidNetwork } from '../support/paid-network.ts'

describe('the agent of examples/agent', { timeout: 240_000 }, () => {
  it('buys answers until its budget refuses, and its table is what chain and ledger say', async (t) => {
    const net = await paidNetwork(t, { config: { x402MinDepositUsd: '0.0001' } })
    const agent = await newAgent(t, net, '0.0003')
    const { table, said } = await agent.run(['--job-budget', '0'])
    assert.equal(table.money, 'test money')
    assert.match(said, /not even the shortest answer is within the budget/)
    assert.ok(table.answers.bought > 3, `${table.answers.bought} answers`)
    assert.equal(table.answers.receipts_broken, 0)
    assert.equal(table.answers.receipts_verified, table.answers.bought)
    await checkBooks(net, agent, table, 300n)
    const [channel = ''] = Object.keys(agent.purse().ceilings)
    const receipt = /rcpt_\w+/.exec(said)?.[0] ?? ''
    const statusOf = async (of: string) =>
      (await fetch(`${net.url}/v1/channels/${of}/receipts/${receipt}`)).status
    assert.equal(await statusOf(channel), 200)
    assert.equal(await statusOf(`0x${'0'.repeat(64)}`), 404, 'of another channel it is not')
    const again = await ended(agent.start(['--job-budget', '0']))
    assert.equal(again.code, 0, again.err)
    assert.match(again.out, /^what +how much +paid \(test money\)$/m)
    const bought = new RegExp(`^answers of words +${table.answers.bought}, \\d+ tokens`, 'm')
    assert.match(again.out, bought, 'a purse that is empty stays empty')
  })

  it('pays into an account, and goes on when no machine can be hired', async (t) => {
    const net = await paidNetwork(t, { config: { x402MinDepositUsd: '0.0001' } })
    const agent = await newAgent(t, net, '0.0013')
    const { table, said } = await agent.run(['--job-budget', '0.001'])
    assert.match(said, /no job was (hired|done)/)
    assert.equal(table.account.paid_in, '$0.001000')
    const { account, key } = agent.purse().notes
    assert.match(key ?? '', /^sk-/)
    const { balanceNanoUsd } = await net.store.balance(tenantLedger(account ?? ''))
    assert.equal(balanceNanoUsd, 1_000_000n)
    assert.ok(!said.includes(key ?? ''), 'the key is in the purse only')
    await checkBooks(net, agent, table, 1_300n)
  })

  it('never signs above its budget, however often it is killed and started again', async (t) => {
    const net = await paidNetwork(t, { config: { x402MinDepositUsd: '0.0001' } })
    const agent = await newAgent(t, net, '0.0003')
    for (let kill = 0; kill < 6; kill++) {
      const child = agent.start(['--job-budget', '0'])
      // The kills are spread over its start, its deposit and its answers.
      const answers = kill
      const dead = once(child, 'exit')
      while (agent.answers() < answers && child.exitCode === null) await sleep(5)
      await sleep(kill * 7)
      child.kill('SIGKILL')
      await dead
    }
    const { table } = await agent.run(['--job-budget', '0'])
    await checkBooks(net, agent, table, 300n)
  })

  it('is one process at a time, and says what is missing', async (t) => {
    const net = await paidNetwork(t, { config: { x402MinDepositUsd: '0.0001' } })
    const agent = await newAgent(t, net, '0.0003')
    const first = agent.start(['--job-budget', '0'])
    while (!existsSync(join(`${agent.wallet}.purse`, 'lock'))) await sleep(5)
    const second = await ended(agent.start(['--job-budget', '0']))
    assert.equal(second.code, 1)
    assert.match(second.err, /has the purse .* open/)
    first.kill('SIGKILL')
    await once(first, 'exit')
    const bare = await ended(spawn(process.execPath, [AGENT, '--gateway', net.url]))
    assert.equal(bare.code, 2)
    assert.match(bare.err, /missing: --wallet, --budget, --rpc/)
  })
})

describe(
  'the same with machines to hire',
  { skip: containersUnavailable(), timeout: 300_000 },
  () => {
    let yard: LeaseYard
    before(async () => (yard = await openYard()), { timeout: 300_000 })
    after(() => yard.close(), { timeout: 60_000 })

    it('hires one for its job, pays for the time, and closes it', async (t) => {
      const net = await paidNetwork(t, { config: { x402MinDepositUsd: '0.0001' } })
      await addLeasingNode(t, net, yard)
      const agent = await newAgent(t, net, '0.1003')
      const { table, said } = await agent.run([])
      assert.match(said, /fetched http:.*: 9592 primes below 100000, as counted here/)
      assert.equal(table.account.job?.result, 9592)
      assert.equal(table.account.paid_in, '$0.100000')
      const cost = BigInt(table.account.job?.cost_nano_usd ?? 0)
      assert.ok(cost > 0n)
      const { account = '' } = agent.purse().notes
      const { balanceNanoUsd, heldNanoUsd } = await net.store.balance(tenantLedger(account))
      assert.deepEqual([balanceNanoUsd, heldNanoUsd], [100_000_000n - cost, 0n])
      assert.equal((await yard.docker.listContainers()).length, 0, 'nothing is left running')
      await checkBooks(net, agent, table, 100_300n)
    })
  },
)

/** A node that leases out the yard's containers; the image of the job is there, as no registry can be reached. */
async function addLeasingNode(t: TestContext, net: PaidNetwork, { docker, engine }: LeaseYard) {
  const layer = await makeLayer()
  const config = { Env: ['PATH=/bin'], Cmd: ['sh'] }
  await loadImage(docker, await imageArchive(layer, { name: 'busybox:1.37', config }))
  await layer.remove()
  const home = mkdtempSync(join(tmpdir(), 'baseload-agent-node-'))
  const settings = nodeConfig.parse({
    gateways: [net.url],
    home,
    models: [{ source: 'words.gguf', name: 'words' }],
    drainSeconds: 1,
    runtimeSocket: engine.socket,
  })
  const parts = { logger: silentLogger, say: () => {}, engine: createFakeEngine(), settleMs: 500 }
  const node = await startNode(settings, parts)
  t.after(async () => {
    await node.stop()
    rmSync(home, { recursive: true, force: true })
  })
}
