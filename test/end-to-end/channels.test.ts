/** Channels through the whole gateway: real HTTP, PostgreSQL, contracts on an anvil, and a gateway that is killed. */
import assert from 'node:assert/strict'
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { z } from 'zod'
import { hexOf } from '../../src/core/base/hex.ts'
import { testChain } from '../../src/io/chain/local/test-chain.ts'
import { VOUCHERS } from '../../src/io/store/channel-records.ts'
import { createPostgresStore } from '../../src/io/store/postgres-store.ts'
import { tenantLedger, type Store } from '../../src/io/store/store.ts'
import { testDatabaseUrl } from '../../src/io/store/testing.ts'
import { silentLogger } from '../../src/io/telemetry/logger.ts'
import { FakeChannelChain, TestPayer } from '../../src/programs/gateway/money/channel-kit.ts'
import { mintSecret } from '../../src/programs/gateway/control/key-secret.ts'
import { randomBytes } from 'node:crypto'
import { idFrom } from '../../src/core/base/id.ts'
import { NO_LIMITS } from '../../src/io/store/store.ts'
import type { ChannelGatewayPlan } from '../support/channel-gateway.ts'
import { hello, smallNetwork } from '../support/small-network.ts'

const limit = { timeout: 120_000 }
/** Full ones before a release: TEST_CHANNEL_KILLS=50. */
const KILLS = Number(process.env['TEST_CHANNEL_KILLS'] ?? 3)

const channelAnswer = z.object({
  id: z.string(),
  state: z.string(),
  ceiling: z.string(),
  credited: z.string(),
  charged: z.string(),
})
const refusalAnswer = z.object({
  error: z.object({ code: z.string(), details: z.record(z.string(), z.string()).optional() }),
})

describe('channels end to end', limit, () => {
  it(
    'pay for requests: deposit, bind, sign when dry, close, equal to the unit',
    limit,
    async (t) => {
      const chain = await FakeChannelChain.start(t)
      const network = await smallNetwork(t, {
        config: { settlement: 'chain', voucherStepUsd: '0.001', trancheUsd: '0.000001' },
        openChain: () => Promise.resolve(chain),
      })
      const { store } = network
      const account = await network.newTenant(0n)
      const { key } = await network.newKey(account)
      const post = (path: string, body: unknown) => network.post(path, body, { key })
      const facts = z
        .object({ operator: z.string(), test_money: z.boolean(), network: z.string() })
        .parse(await (await network.get('/v1/chain')).json())
      assert.deepEqual(facts, {
        operator: chain.operator.toLowerCase(),
        test_money: true,
        network: 'eip155:31337',
      })

      const payer = await TestPayer.start(chain, 50_000n)
      await payer.deposit(50_000n)
      const bind = () =>
        post('/v1/channels', {
          network: facts.network,
          config: payer.config,
          voucher: wire(payer, 1n),
        })
      const early = await bind()
      assert.equal(early.status, 503)
      assert.ok(early.headers.get('retry-after'))
      assert.equal(await codeOf(early), 'deposit_not_final')
      await chain.finalise()
      const elsewhere = { network: 'eip155:1', config: payer.config, voucher: wire(payer, 1n) }
      assert.equal(await codeOf(await post('/v1/channels', elsewhere)), 'channel_wrong_chain')
      assert.equal((await bind()).status, 201)
      assert.equal((await bind()).status, 201, 'again, after an answer that got lost')

      let signed = 1n
      let served = 0
      while (served < 4) {
        const response = await post('/v1/chat/completions', hello)
        if (response.status === 200) {
          served += 1
          continue
        }
        const { error } = refusalAnswer.parse(await response.json())
        assert.equal(error.code, 'voucher_needed')
        assert.equal(error.details?.['channelId'], payer.channelId)
        const needed = BigInt(error.details?.['needCeiling'] ?? 0)
        assert.ok(needed > signed)
        signed = needed
        const path = `/v1/channels/${payer.channelId}/vouchers`
        const answer = channelAnswer.parse(await (await post(path, wire(payer, signed))).json())
        assert.equal(answer.ceiling, String(signed))
        assert.equal((await post(path, wire(payer, signed))).status, 200, 'the same again')
        assert.equal(await codeOf(await post(path, wire(payer, signed - 1n))), 'voucher_stale')
      }
      await network.until('all is settled', async () => {
        const rows = await store.usage(account, 0, Date.now() + 1_000)
        return rows.reduce((sum, { requests }) => sum + requests, 0) === served
      })
      const usage = await store.usage(account, 0, Date.now() + 1_000)
      const spent = usage.reduce((sum, { nanoUsd }) => sum + nanoUsd, 0n)
      assert.ok(spent > 0n)

      const closing = await post(`/v1/channels/${payer.channelId}/close`, {})
      assert.equal(closing.status, 202)
      await network.until('it is closed', async () => {
        await chain.settle(store)
        const [channel] = await store.channelRecords([payer.channelId])
        return channel?.state === 'closed'
      })
      const claimed = (spent + 999n) / 1_000n
      assert.equal(await chain.balanceOf(chain.operator), claimed)
      assert.equal(await chain.balanceOf(payer.config.payer), 50_000n - claimed)
      assert.equal(await ledger(store, VOUCHERS), -claimed * 1_000n)
      assert.equal(await ledger(store, tenantLedger(account)), claimed * 1_000n - spent)
      await holds(store)
    },
  )

  it(
    'are claimed and refunded by the gateway itself, over its own view of the chain',
    limit,
    async (t) => {
      const chain = await testChain(t)
      const folder = mkdtempSync(join(tmpdir(), 'baseload-channels-'))
      t.after(() => rmSync(folder, { recursive: true, force: true }))
      const contracts = join(folder, 'contracts.json')
      writeFileSync(contracts, JSON.stringify(chain.addresses))
      const operator = await chain.wallet()
      const keyFile = join(folder, 'chain.key')
      writeFileSync(keyFile, operator.key.slice(2), { mode: 0o600 })
      const network = await smallNetwork(t, {
        config: {
          settlement: 'chain',
          chainRpc: [chain.url],
          chainContracts: contracts,
          chainKeyFile: keyFile,
          chainFinality: 2,
          chainPollMs: 50,
        },
      })
      const mining = setInterval(() => void chain.mine(1).catch(() => {}), 100)
      t.after(() => clearInterval(mining))
      const { store } = network
      const account = await network.newTenant(0n)
      const { key } = await network.newKey(account)
      const view = new FakeChannelChain(chain, operator)
      const payer = await TestPayer.start(view, 50_000n)
      await payer.deposit(50_000n)
      const config = payer.config
      await network.until('it is bound', async () => {
        const body = { config, voucher: wire(payer, 20_000n) }
        return (await network.post('/v1/channels', body, { key })).status === 201
      })
      assert.equal((await network.post('/v1/chat/completions', hello, { key })).status, 200)
      await network.post(`/v1/channels/${payer.channelId}/close`, {}, { key })
      const deadline = Date.now() + 100_000
      for (;;) {
        const [channel] = await store.channelRecords([payer.channelId])
        if (channel?.state === 'closed') break
        assert.ok(Date.now() < deadline, `not closed: ${channel?.state}`)
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
      const usage = await store.usage(account, 0, Date.now() + 1_000)
      const spent = usage.reduce((sum, { nanoUsd }) => sum + nanoUsd, 0n)
      const claimed = (spent + 999n) / 1_000n
      assert.ok(claimed > 0n)
      assert.equal(await view.balanceOf(view.operator), claimed)
      assert.equal(await view.balanceOf(config.payer), 50_000n - claimed)
      await holds(store)
    },
  )

  it(
    'lose no voucher that was acknowledged, and credit none twice, when the gateway is killed',
    limit,
    async (t) => {
      const chain = await FakeChannelChain.start(t)
      const { store, plan, key, account } = await setup(t, chain)
      const payer = await TestPayer.start(chain, 1_000_000n)
      await payer.deposit(1_000_000n)
      await chain.finalise()
      let acknowledged = 0n
      let ceiling = 0n
      let cut = 0
      for (let kill = 0; kill < KILLS; kill++) {
        const gateway = await startGateway(plan)
        const post = (path: string, body: unknown) =>
          fetch(gateway.url + path, {
            method: 'POST',
            headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
            body: JSON.stringify(body),
          })
        const bound = await post('/v1/channels', { config: payer.config, voucher: wire(payer, 0n) })
        assert.equal(bound.status, 201, await bound.clone().text())
        const kept = channelAnswer.parse(await bound.json())
        assert.ok(BigInt(kept.credited) >= acknowledged, 'an acknowledged voucher is lost')
        const dying = once(gateway.child, 'exit')
        const timer = setTimeout(() => gateway.child.kill('SIGKILL'), 150 + 40 * kill)
        while (gateway.child.exitCode === null && gateway.child.signalCode === null) {
          ceiling += 10n
          const mine = ceiling
          const answer = await post(
            `/v1/channels/${payer.channelId}/vouchers`,
            wire(payer, mine),
          ).catch(() => null)
          if (answer?.status === 200) acknowledged = mine
          else if (answer === null) {
            cut += 1
            break
          } else assert.fail(await answer.text())
        }
        await dying
        clearTimeout(timer)
        const [channel] = await store.channelRecords([payer.channelId])
        const credited = channel?.creditedUnits ?? 0n
        assert.ok(credited >= acknowledged && credited <= ceiling)
        assert.equal(await ledger(store, tenantLedger(account)), credited * 1_000n)
        await holds(store)
      }
      assert.ok(acknowledged > 0n && cut > 0, 'no gateway was killed under a voucher')
    },
  )
})

const wire = (payer: TestPayer, units: bigint) => {
  const { maxClaimable, signature } = payer.voucher(units)
  return { maxClaimableAmount: String(maxClaimable), signature: hexOf(signature) }
}

const codeOf = async (response: Response): Promise<string> =>
  refusalAnswer.parse(await response.json()).error.code

const ledger = async (store: Store, account: string): Promise<bigint> =>
  (await store.balance(account)).balanceNanoUsd

async function holds(store: Store): Promise<void> {
  const { sumNanoUsd, wrong } = await store.audit()
  assert.deepEqual({ sumNanoUsd, wrong }, { sumNanoUsd: 0n, wrong: [] })
}

async function setup(t: TestContext, chain: FakeChannelChain) {
  const home = mkdtempSync(join(tmpdir(), 'baseload-channels-'))
  const databaseUrl = await testDatabaseUrl()
  const store = await createPostgresStore({ url: databaseUrl, logger: silentLogger })
  t.after(async () => {
    await store.close()
    rmSync(home, { recursive: true, force: true })
  })
  const account = idFrom('acct', randomBytes(15))
  await store.createAccount({ id: account, kind: 'tenant', name: 'alice', limits: NO_LIMITS })
  const { secret, hash, hint } = mintSecret(randomBytes)
  await store.createKey({
    id: idFrom('key', randomBytes(15)),
    account,
    name: 'test',
    hash,
    hint,
    scopes: ['account'],
    limits: NO_LIMITS,
    budgetNanoUsd: null,
    expiresAt: null,
  })
  const { chainId, addresses, operator, chain: anvil } = chain
  const { channels } = addresses
  const plan: ChannelGatewayPlan = {
    home,
    databaseUrl,
    chainId,
    operator,
    rpc: anvil.url,
    addresses: { channels, token: chain.token.address },
  }
  return { store, plan, key: secret, account }
}

const living = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of living) child.kill('SIGKILL')
})

async function startGateway(plan: ChannelGatewayPlan) {
  const program = fileURLToPath(new URL('../support/channel-gateway.ts', import.meta.url))
  const child = fork(program, [JSON.stringify(plan)], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  living.add(child)
  child.once('exit', () => living.delete(child))
  const [message] = await once(child, 'message')
  return { child, ...z.object({ url: z.string() }).parse(message) }
}
