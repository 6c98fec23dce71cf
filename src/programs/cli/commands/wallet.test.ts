import assert from 'node:assert/strict'
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { testChain } from '../../../io/chain/local/test-chain.ts'
import { setup as setupShell } from '../fake-shell.ts'
import { EXIT } from '../shell/failure.ts'
import { fakeSettlingGateway, keepMining } from './wallet-kit.ts'

const TIMEOUT = { timeout: 120_000 }
const KEY = '0x0000000000000000000000000000000000000000000000000000000000000001'
const ADDRESS = '0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf'
const PASSWORD = { BASELOAD_WALLET_PASSWORD: 'correct horse' }

describe('baseload wallet: keys', TIMEOUT, () => {
  it('makes a key under a password, mode 0600, and never prints it', TIMEOUT, async (t) => {
    const { run, home } = shellOf(t)
    const made = await run('wallet', 'new', '--json')
    assert.equal(made.code, EXIT.ok, made.err)
    const { name, address, keystore } = JSON.parse(made.out)
    assert.equal(name, 'main')
    assert.match(address, /^0x[0-9a-fA-F]{40}$/)
    assert.equal(keystore, join(home, 'wallets', 'main.json'))
    assert.equal(statSync(keystore).mode & 0o777, 0o600)
    assert.equal(statSync(join(home, 'wallets')).mode & 0o777, 0o700)
    assert.deepEqual(readdirSync(join(home, 'wallets')), ['main.json'])
    const listed = await run('wallet', 'list')
    assert.match(listed.out, new RegExp(`main +${address} +0 +none yet`, 'i'))
    const again = await run('wallet', 'new')
    assert.equal(again.code, EXIT.usage)
    assert.match(again.err, /there is a wallet 'main' already.*\n {2}→ name another/)
  })

  it('takes a key from standard input, a file and another keystore', TIMEOUT, async (t) => {
    const { run, home, stdin } = shellOf(t)
    stdin.end(`${KEY}\n`)
    assert.equal((await run('wallet', 'import')).out, `${ADDRESS}\n`)
    const file = join(home, 'key.txt')
    writeFileSync(file, KEY, { mode: 0o600 })
    assert.equal((await run('wallet', 'import', 'two', '--key-file', file)).out, `${ADDRESS}\n`)
    const keystore = join(home, 'wallets', 'two.json')
    const third = await run('wallet', 'import', 'three', '--keystore', keystore)
    assert.equal(third.out, `${ADDRESS}\n`)
    assert.ok(!readFileSync(keystore, 'utf8').includes(KEY.slice(2)))
  })

  it('says what is wrong with names, keys, passwords and files', TIMEOUT, async (t) => {
    const { run, home } = shellOf(t)
    const file = join(home, 'key.txt')
    writeFileSync(file, 'not a key', { mode: 0o600 })
    const open = join(home, 'open.txt')
    writeFileSync(open, KEY, { mode: 0o644 })
    const refused: readonly [string[], RegExp][] = [
      [['new', '../x'], /names no wallet/],
      [['import', '--key-file', file], /64 digits of hex/],
      [['import', '--key-file', open], /read by others.*\n {2}→ chmod 600/],
      [['import', '--keystore', file], /no keystore.*not JSON/],
      [['import', '--keystore', file, '--key-file', file], /both given/],
      [['import', '--key-file', join(home, 'none')], /cannot read .*no such file/],
      [['new', '--password-file', open + 'x'], /cannot read/],
    ]
    for (const [args, why] of refused) {
      const { code, err } = await run('wallet', ...args)
      assert.ok(code === EXIT.usage || code === EXIT.failure, `${code} ${err}`)
      assert.match(err, why)
    }
    const short = shellOf(t, { BASELOAD_WALLET_PASSWORD: '1234567' })
    assert.match((await short.run('wallet', 'new')).err, /shorter than 8 characters/)
    const silent = shellOf(t, {})
    const nobody = await silent.run('wallet', 'new')
    assert.match(nobody.err, /no terminal to ask on\n {2}→ give --password-file/)
    assert.deepEqual(readdirSync(silent.home), [])
  })
})

describe('baseload wallet: money', TIMEOUT, () => {
  it('deposits, pays for chat by itself, and withdraws the rest', TIMEOUT, async (t) => {
    const { run, chain, gateway, address } = await setup(t)
    const paid = await run('wallet', 'deposit', '1', '--accept-receiver')
    assert.equal(paid.code, EXIT.ok, paid.err)
    assert.match(paid.out, /^channel 0x[0-9a-f]{64} holds 1\.00 USDC \(test money\)\n$/)
    assert.match(paid.err, /Deposit 1\.00 USDC \(test money\) for http/)
    assert.match(paid.err, /this wallet has not paid it before/)
    assert.equal(gateway.state.vouchers.length, 0)

    const answers = []
    for (let i = 0; i < 4; i++) answers.push(await run('chat', 'Who goes there?'))
    for (const { code, out, err } of answers)
      assert.deepEqual([code, out], [EXIT.ok, 'A friend.\n'], err)
    // 0.02 each, in steps of 0.05: the first and the third need one.
    assert.match(answers[0]?.err ?? '', /wallet main: signed up to 0\.05 USDC/)
    assert.doesNotMatch(answers[1]?.err ?? '', /signed/)
    assert.match(answers[2]?.err ?? '', /signed up to 0\.1/)

    const shown = await run('wallet', 'show', '--json')
    const [page] = JSON.parse(shown.out).data
    assert.equal(page.test_money, true)
    assert.equal(page.token_units, '1000000')
    const [channel] = page.channels
    assert.equal(channel.deposit_units, '1000000')
    assert.deepEqual(channel.differences, [])
    const text = await run('wallet', 'show')
    assert.match(text.out, /token +1\.00 USDC \(test money\)/)

    const back = await run('wallet', 'withdraw')
    assert.equal(back.code, EXIT.ok, back.err)
    assert.equal(back.out, `0.92 USDC (test money) is back in ${address.toLowerCase()}\n`)
    const { token } = chain.addresses
    assert.equal(await unitsOf(chain, token, address), 1_920_000n)
    assert.match((await run('wallet', 'withdraw')).out, /nothing is deposited/)
    const dry = await run('chat', 'Who?')
    assert.equal(dry.code, EXIT.refused)
  })

  it('signs up to the budget and no unit more', TIMEOUT, async (t) => {
    const { run, gateway } = await setup(t)
    await run('wallet', 'deposit', '1', '--accept-receiver')
    const set = await run('wallet', 'budget', '0.059999')
    assert.match(set.out, /0\.00 USDC of 0\.059999 USDC is signed \(test money\)/)
    for (let i = 0; i < 2; i++) assert.equal((await run('chat', 'Who?')).code, EXIT.ok)
    const refused = await run('chat', 'Who?')
    assert.equal(refused.code, EXIT.refused)
    assert.match(refused.err, /budget is used up: .*0\.06 USDC.*0\.059999 USDC/)
    assert.match(refused.err, /→ `baseload wallet budget/)
    assert.equal(gateway.state.vouchers.length, 1)
    await run('wallet', 'budget', '0.06')
    assert.equal((await run('chat', 'Who?')).code, EXIT.ok)
    assert.equal(gateway.state.vouchers.at(-1)?.ceiling, 60_000n)
  })

  it('leaves with the gateway gone: asks, waits, takes', TIMEOUT, async (t) => {
    const { run, chain, gateway, address } = await setup(t)
    await run('wallet', 'deposit', '1', '--accept-receiver', '--approve')
    await run('chat', 'Who?')
    gateway.close()
    assert.match((await run('wallet', 'withdraw')).err, /wallet exit/)
    assert.match((await run('wallet', 'exit', '--finish')).out, /no exit is begun/)
    const asked = await run('wallet', 'exit')
    assert.equal(asked.code, EXIT.ok, asked.err)
    assert.match(asked.out, /1\.00 USDC \(test money\) can be taken from .*--finish/)
    assert.match((await run('wallet', 'show')).out, /exit at 20.*Z/)
    assert.match((await run('wallet', 'exit', '--finish')).out, /can be taken from/)
    await chain.pass(901)
    const taken = await run('wallet', 'exit', '--finish')
    assert.match(taken.out, /1\.00 USDC \(test money\) is back/, taken.err)
    assert.equal(await unitsOf(chain, chain.addresses.token, address), 2_000_000n)
    assert.match((await run('wallet', 'exit')).out, /has no open channel/)
  })

  it('goes on after Ctrl-C where it was, and deposits once', TIMEOUT, async (t) => {
    const { run, chain, gateway, printed, interrupt, renew, address, stopMining } = await setup(t)
    await stopMining()
    const first = run('wallet', 'deposit', '1', '--accept-receiver')
    await until(() => printed().err.includes('0 of 2 blocks'))
    interrupt()
    const stopped = await first
    assert.equal(stopped.code, EXIT.interrupted)
    assert.match(stopped.err, /nothing is lost\n {2}→ `baseload wallet deposit 1` goes on/)
    renew()
    t.after(keepMining(chain))
    gateway.desk.refuseBinding = 1
    const finished = await run('wallet', 'deposit', '1')
    assert.equal(finished.code, EXIT.ok, finished.err)
    assert.match(finished.err, /going on with the deposit of 1\.00 USDC, begun earlier/)
    assert.match(finished.err, /waiting until the gateway has seen the deposit/)
    assert.equal(await unitsOf(chain, chain.addresses.token, address), 1_000_000n)
    const more = await run('wallet', 'deposit', '0.5')
    assert.match(more.out, /holds 1\.50 USDC/, more.err)
  })

  it('pays no receiver that was not agreed to, nor one that changed', TIMEOUT, async (t) => {
    const { run, chain, gateway } = await setup(t)
    const strange = await run('wallet', 'deposit', '1')
    assert.equal(strange.code, EXIT.usage)
    assert.match(strange.err, /may not be paid yet\n {2}→ .*--accept-receiver 0x/)
    await run('wallet', 'deposit', '0.5', '--accept-receiver', gateway.desk.facts.operator)
    const other = await chain.wallet()
    gateway.desk.facts.operator = other.address
    const changed = await run('wallet', 'deposit', '0.1')
    assert.equal(changed.code, EXIT.usage)
    assert.match(changed.err, /NOT the one that this gateway had before/)
    const wrong = await run('wallet', 'deposit', '0.1', '--accept-receiver', `0x${'1'.repeat(40)}`)
    assert.equal(wrong.code, EXIT.usage)
  })

  it('sends nothing to what is no contract of ours, or another chain', TIMEOUT, async (t) => {
    const { run, chain, gateway, address } = await setup(t)
    const { facts } = gateway.desk
    const { channels } = facts.contracts
    facts.contracts.channels = `0x${'12'.repeat(20)}`
    assert.match((await run('wallet', 'deposit', '1', '--accept-receiver')).err, /no contract at/)
    facts.contracts.channels = chain.addresses.token
    const fake = await run('wallet', 'deposit', '1', '--accept-receiver')
    assert.match(fake.err, /is not the contract Channels/)
    facts.contracts.channels = channels
    facts.chain_id = 1
    assert.match((await run('wallet', 'deposit', '1')).err, /is chain 31337, not 1/)
    assert.equal(await unitsOf(chain, chain.addresses.token, address), 2_000_000n)
  })

  it('takes amounts to the unit, and says what is missing', TIMEOUT, async (t) => {
    const { run } = await setup(t)
    for (const amount of ['0', '1.0000001', '1e3', '-1', '1,5', ''])
      assert.match((await run('wallet', 'deposit', '--', amount)).err, /is no amount of USDC/)
    const much = await run('wallet', 'deposit', '2.000001', '--accept-receiver')
    assert.match(much.err, /has 2\.00 USDC, not 2\.000001 USDC/)
    const wrong = await run('wallet', 'show', '--rpc', 'http://127.0.0.1:1')
    assert.equal(wrong.code, EXIT.unreachable)
    assert.match(wrong.err, /did not answer.*\n {2}→ check the address: --rpc/)
  })
})

function shellOf(t: TestContext, env: NodeJS.ProcessEnv = PASSWORD) {
  const shell = setupShell(env)
  t.after(shell.close)
  return shell
}

/** A wallet 'main' with two test dollars and some gas, and a gateway whose chain makes blocks. */
async function setup(t: TestContext) {
  const chain = await testChain(t)
  const operator = await chain.wallet('10')
  const gateway = await fakeSettlingGateway(chain, operator)
  t.after(gateway.close)
  const stopMining = keepMining(chain)
  t.after(stopMining)
  const env = { ...PASSWORD, BASELOAD_URL: gateway.url, BASELOAD_API_KEY: 'key' }
  const shell = shellOf(t, env)
  const made = await shell.run('wallet', 'new', '--json')
  const { address } = JSON.parse(made.out)
  await chain.fund(address, '1', 2_000_000n)
  return { ...shell, chain, gateway, address, stopMining }
}

const unitsOf = async (
  chain: Awaited<ReturnType<typeof testChain>>,
  token: `0x${string}`,
  owner: `0x${string}`,
): Promise<bigint> =>
  BigInt(
    (await chain.client.call({ to: token, data: `0x70a08231${owner.slice(2).padStart(64, '0')}` }))
      .data ?? '0x0',
  )

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((wake) => setTimeout(wake, 20))
}
