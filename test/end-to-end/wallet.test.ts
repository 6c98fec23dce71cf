/** A wallet against the whole gateway: real HTTP, PostgreSQL, a node, contracts on an anvil, and the gateway's own sender. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { promisify } from 'node:util'
import { erc20Abi, type Address } from 'viem'
import { openWallet, payingFetch } from '../../src/io/chain/wallet/paying-fetch.ts'
import { testChain } from '../../src/io/chain/local/test-chain.ts'
import type { Store } from '../../src/io/store/store.ts'
import { silentLogger } from '../../src/io/telemetry/logger.ts'
import { setup as setupShell } from '../../src/programs/cli/fake-shell.ts'
import { keepMining } from '../../src/programs/cli/commands/wallet-kit.ts'
import { gatewayConfig } from '../../src/programs/gateway/config.ts'
import { openChain } from '../../src/programs/gateway/money/chain.ts'
import { hello, smallNetwork } from '../support/small-network.ts'

const limit = { timeout: 180_000 }
const PASSWORD = 'correct horse'
const DEPOSIT = 50_000n

describe('a wallet end to end', limit, () => {
  it('deposits, pays for chat by itself, and has the rest back to the unit', limit, async (t) => {
    const { run, unitsOf, address, operator, home, network, key } = await setup(t)
    const paidIn = await run('wallet', 'deposit', '0.05', '--accept-receiver')
    assert.equal(paidIn.code, 0, paidIn.err)
    assert.match(paidIn.out, /holds 0\.05 testUSDC \(test money\)/)

    for (let i = 0; i < 3; i++) {
      const { code, out, err } = await run('chat', 'Who goes there?')
      assert.equal(code, 0, err)
      assert.notEqual(out.trim(), '')
      if (i === 0) assert.match(err, /wallet main: signed up to 0\.00\d+ testUSDC/)
    }
    // The same for programs, several requests at once.
    const wallet = await openWallet({ home, name: 'main', password: PASSWORD })
    const paying = payingFetch({ wallet, gateway: network.url })
    const headers = { 'content-type': 'application/json', authorization: `Bearer ${key}` }
    const request = { method: 'POST', headers, body: JSON.stringify(hello) }
    const answers = await Promise.all(
      [1, 2, 3].map(
        async () => (await paying(`${network.url}/v1/chat/completions`, request)).status,
      ),
    )
    assert.deepEqual(answers, [200, 200, 200])

    const shown = await run('wallet', 'show', '--json')
    const [channel] = JSON.parse(shown.out).data[0].channels
    assert.deepEqual(channel.differences, [], shown.out)
    assert.ok(BigInt(channel.signed_units) > 0n && BigInt(channel.signed_units) < DEPOSIT)

    const back = await run('wallet', 'withdraw')
    assert.equal(back.code, 0, back.err)
    const left = await unitsOf(address)
    const claimed = DEPOSIT - left
    assert.ok(claimed > 0n && claimed <= BigInt(channel.signed_units), `${claimed} was claimed`)
    await network.until('the gateway has what was claimed', async () => {
      return (await unitsOf(operator)) === claimed
    })
  })

  it('is reached from the package by its name', limit, async () => {
    const code = `const pay = await import('baseload/pay'); console.log(Object.keys(pay).sort().join())`
    const args = ['--input-type=module', '-e', code]
    const { stdout } = await promisify(execFile)(process.execPath, args)
    assert.equal(stdout, 'PaymentError,openWallet,payingFetch\n')
  })
})

async function setup(t: TestContext) {
  const chain = await testChain(t)
  t.after(keepMining(chain))
  const operator = await chain.wallet('10')
  const files = mkdtempSync(join(tmpdir(), 'baseload-wallet-'))
  t.after(() => rmSync(files, { recursive: true }))
  const [keyFile, contracts] = [join(files, 'chain.key'), join(files, 'contracts.json')]
  writeFileSync(keyFile, operator.key.slice(2), { mode: 0o600 })
  writeFileSync(contracts, JSON.stringify(chain.addresses))
  const chainConfig = gatewayConfig.pick({ ...CHAIN_FIELDS }).parse({
    home: files,
    chainRpc: [chain.url],
    chainContracts: contracts,
    chainKeyFile: keyFile,
    chainFinality: 2,
    chainPollMs: 100,
  })
  const network = await smallNetwork(t, {
    config: {
      settlement: 'chain',
      voucherStepUsd: '0.001',
      trancheUsd: '0.000001',
      minWithdrawDelaySeconds: 900,
    },
    openChain: (store: Store) =>
      openChain(chainConfig, store, { logger: silentLogger, gateway: 'gw_test' }),
  })
  const { key } = await network.newKey(await network.newTenant(0n))
  const shell = setupShell({
    BASELOAD_URL: network.url,
    BASELOAD_API_KEY: key,
    BASELOAD_WALLET_PASSWORD: PASSWORD,
    BASELOAD_CHAIN_RPC: chain.url,
  })
  t.after(shell.close)
  const { address } = JSON.parse((await shell.run('wallet', 'new', '--json')).out)
  await chain.fund(address, '1', DEPOSIT)
  const unitsOf = async (owner: Address): Promise<bigint> =>
    chain.client.readContract({
      abi: erc20Abi,
      address: chain.addresses.token,
      functionName: 'balanceOf',
      args: [owner],
    })
  return { ...shell, unitsOf, address, operator: operator.address, network, key }
}

const CHAIN_FIELDS = {
  home: true,
  chainRpc: true,
  chainContracts: true,
  chainFinality: true,
  chainMaxFeeGwei: true,
  chainKeyFile: true,
  chainKeyPasswordFile: true,
  chainPollMs: true,
  testMoney: true,
} as const
