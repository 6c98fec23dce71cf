// `npm run demo:money`: one tenant's test money through the whole of it, on a network and a chain of its own: deposit, chat, claim
// and settle, payout root, providers' claims, exit without the gateway. Ends with a table of who has what, by the chain and by
// the ledger, and fails when they differ by a unit. The chain's clock is moved on where a contract makes people wait for hours.
import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { setTimeout as sleep } from 'node:timers/promises'
import { prepare } from './prepare.mjs'

const { cli, root } = await prepare({ engine: true })
const load = (path) => import(pathToFileURL(join(root, 'dist', 'src', path)).href)
const { createPublicClient, http, erc20Abi, getAddress } = await import('viem')

const HOME = mkdtempSync(join(tmpdir(), 'baseload-money-'))
const NODES = 3
const DEPOSIT = '1'
const DEPOSIT_UNITS = 1_000_000n
const ANSWERS = 12
const EPOCH_S = 15
const env = {
  ...process.env,
  BASELOAD_HOME: HOME,
  BASELOAD_PAYOUT_EPOCH_SECONDS: String(EPOCH_S),
  BASELOAD_CLAIM_SECONDS: '10',
  BASELOAD_WALLET_PASSWORD: 'a password for a demonstration',
  // Of the person who runs this; here they would lead elsewhere.
  BASELOAD_URL: undefined,
  BASELOAD_API_KEY: undefined,
  DATABASE_URL: undefined,
}
/** Whole units of nano-dollars. */
const units = (nanoUsd) => nanoUsd / 1_000n
const dollars = (value) => `$${(Number(value) / 1e6).toFixed(6)}`
const larger = (one, other) => (one > other ? one : other)
const said = (text) => process.stderr.write(`  · ${text}\n`)

/** One command as a person types it. */
function baseload(args, options = {}) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [cli, ...args], {
    env,
    encoding: 'utf8',
    timeout: 120_000,
    ...options,
  })
  if (status === 0) return stdout
  throw new Error(`baseload ${args.join(' ')} ended with ${status}:\n${stderr}${stdout}`)
}
const asked = (args) =>
  JSON.parse(
    baseload([...args, '--json'])
      .trim()
      .split('\n')
      .at(-1),
  )

async function until(what, condition, seconds = 90) {
  said(what)
  for (const deadline = Date.now() + seconds * 1000; ;) {
    const value = await condition()
    if (value) return value
    if (Date.now() > deadline) throw new Error(`waited ${seconds} s in vain: ${what}`)
    await sleep(300)
  }
}

const network = () => JSON.parse(readFileSync(join(HOME, 'network.json'), 'utf8'))

async function ask(path, key, body) {
  const response = await fetch(network().url + path, {
    method: body === undefined ? 'GET' : 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  const answer = await response.json()
  if (!response.ok) throw new Error(`${path}: ${JSON.stringify(answer)}`)
  return answer
}

said(`a network and a chain of its own in ${HOME}: all of it is TEST MONEY`)
const engines = join(root, 'node_modules', '.cache', 'baseload', 'engines')
const flags = ['--nodes', String(NODES), '--engines-dir', engines, '--json']
const up = spawn(process.execPath, [cli, 'up', ...flags], {
  env,
  stdio: ['ignore', 'pipe', 'ignore'],
})
const ended = new Promise((resolve) => up.once('exit', resolve))
process.once('SIGINT', () => up.kill('SIGINT'))
try {
  await new Promise((resolve, reject) => {
    up.stdout.once('data', resolve)
    up.once('exit', (code) => reject(new Error(`the network ended with ${code}`)))
  })
  up.stdout.resume()
  process.exitCode = (await walk()) ? 0 : 1
} finally {
  up.kill('SIGINT')
  await ended
  rmSync(HOME, { recursive: true, force: true })
}

async function walk() {
  const { operatorKey } = network()
  const tenant = await ask('/v1/accounts', operatorKey, { name: 'a tenant without credit' })
  const key = tenant.key.secret
  const keyFile = join(HOME, 'tenant.key')
  writeFileSync(keyFile, key, { mode: 0o600 })
  const facts = await ask('/v1/chain', key)
  const rpc = facts.rpc_url
  const client = createPublicClient({ transport: http(rpc) })
  const contracts = JSON.parse(readFileSync(join(HOME, 'chain', 'contracts.json'), 'utf8'))
  const { channelsAbi } = await load('io/chain/abi/channels.js')
  const { payoutsAbi } = await load('io/chain/abi/payouts.js')
  const dev = async (method, params = []) => {
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method, params })
    const headers = { 'content-type': 'application/json' }
    return (await (await fetch(rpc, { method: 'POST', headers, body })).json()).result
  }
  /** Moves the chain's clock on. */
  const pass = async (seconds) => {
    said(`the chain's clock is moved on by ${seconds} s`)
    await dev('evm_increaseTime', [seconds])
    await dev('evm_mine')
  }
  const tokens = (owner) =>
    client.readContract({
      abi: erc20Abi,
      address: contracts.token,
      functionName: 'balanceOf',
      args: [owner],
    })

  said('the tenant makes a wallet and gets test dollars')
  baseload(['wallet', 'new'])
  asked(['wallet', 'faucet', '10', '--key-file', keyFile])
  const wallet = getAddress(asked(['wallet', 'list']).data[0].address)
  const walletBefore = await tokens(wallet)
  said(`deposits $${DEPOSIT}`)
  baseload(['wallet', 'deposit', DEPOSIT, '--yes', '--accept-receiver', '--key-file', keyFile])
  said(`${ANSWERS} questions; the wallet signs vouchers as they are asked for`)
  for (let n = 0; n < ANSWERS; n++)
    baseload(['chat', `ROMEO: the ${n + 1}th question,`, '--key-file', keyFile])

  const [channel] = (await ask('/v1/channels', key)).data
  const read = () =>
    client.readContract({
      abi: channelsAbi,
      address: contracts.channels,
      functionName: 'channels',
      args: [channel.id],
    })
  const spentUnits = async () => BigInt((await ask('/v1/channels', key)).data[0].charged)
  await until('the gateway claims what was spent, and is paid', async () => {
    const [, claimed] = await read()
    const [, settled] = await client.readContract({
      abi: channelsAbi,
      address: contracts.channels,
      functionName: 'receivers',
      args: [facts.operator, contracts.token],
    })
    return claimed > 0n && claimed === (await spentUnits()) && settled === claimed
  })
  const gatewayOf = () =>
    client.readContract({
      abi: payoutsAbi,
      address: contracts.payouts,
      functionName: 'gatewayOf',
      args: [facts.operator],
    })
  await until('payout epochs close; bond, funds and roots are posted', async () => {
    const [gateway, ledger] = [await gatewayOf(), await inLedger(tenant.id)]
    const owed = ledger.payouts / 1_000n
    const posted = gateway.pendingTotal === owed
    if (gateway.pendingTotal > 0n) await pass(3_601)
    // Less than a unit of each node's waits for its next epoch.
    return posted && ledger.nodes < BigInt(NODES) * 1_000n
  })

  const providers = []
  for (let number = 1; number <= NODES; number++) {
    const home = join(HOME, 'nodes', String(number))
    said(`provider ${number} checks its leaf and claims by itself`)
    const gas = ['--gas-key', join(home, 'payout.key')]
    const leaf = ['--home', home, '--rpc', rpc, '--by', 'leaf']
    let claimed = true
    try {
      baseload(['payouts', 'claim', ...leaf, ...gas])
    } catch (error) {
      if (!/nothing|no leaf|claimable/i.test(String(error))) throw error
      claimed = false
    }
    const { loadOperatorKey } = await load('io/chain/sending/operator-key.js')
    const { address } = await loadOperatorKey(join(home, 'payout.key'))
    providers.push({ number, address, claimed })
  }

  said('the gateway is made to stand still; the tenant leaves without it')
  process.kill(network().gateway.pid, 'SIGSTOP')
  baseload(['wallet', 'exit', '--rpc', rpc])
  await pass(901)
  baseload(['wallet', 'exit', '--finish', '--rpc', rpc])
  process.kill(network().gateway.pid, 'SIGCONT')

  const [balance, claimed] = await read()
  const gateway = await gatewayOf()
  const chain = {
    wallet: await tokens(wallet),
    channel: balance - claimed,
    operator: await tokens(facts.operator),
    funds: gateway.deposited - gateway.paid,
    bond: gateway.bond,
    providers: await Promise.all(providers.map(({ address }) => tokens(address))),
  }
  const operatorHad = 1_000_000_000n
  const ledger = await inLedger(tenant.id)
  const paid = chain.providers.reduce((sum, one) => sum + one, 0n)
  const rows = [
    ['tenant spent', walletBefore - chain.wallet, units(ledger.vouchers - ledger.tenant)],
    ['tenant has in the channel', chain.channel, 0n],
    ['gateway was paid by the channel', claimed, units(ledger.vouchers - ledger.tenant)],
    [
      'gateway owes by its root',
      larger(gateway.total, gateway.pendingTotal),
      units(ledger.payouts),
    ],
    ['providers were paid', paid, units(ledger.payouts)],
    ['gateway still keeps for providers', chain.funds, 0n],
    [
      'gateway has, with its bond',
      chain.operator + chain.bond + chain.funds,
      operatorHad + claimed - paid,
    ],
    [
      'all test dollars',
      chain.wallet + chain.channel + chain.operator + chain.funds + chain.bond + paid,
      walletBefore + operatorHad,
    ],
  ]
  const cells = rows.map(([what, one, other]) => [
    what,
    dollars(one),
    dollars(other),
    one === other ? '✓' : '✗',
  ])
  const widths = [0, 1, 2].map((i) => Math.max(...cells.map((row) => row[i].length), 14))
  const line = (row) =>
    `  ${row[0].padEnd(widths[0])}  ${row[1].padStart(widths[1])}  ${row[2].padStart(widths[2])}  ${row[3]}`
  process.stdout.write(
    `\n${line(['TEST MONEY, worth nothing', 'by the chain', 'by the ledger', ''])}\n${cells.map(line).join('\n')}\n\n` +
      `  The ledger sums to ${ledger.sum} over ${ledger.transfers} transfers; ${ledger.wrong === 0 ? 'every balance is the sum of its transfers' : `${ledger.wrong} balances are wrong`}.\n` +
      `  Less than a unit each stays with nodes until their next epoch: ${ledger.nodes} nano-dollars.\n`,
  )
  const agrees =
    rows.every(([, one, other]) => one === other) && ledger.sum === 0n && ledger.wrong === 0
  const figures = {
    spentUnits: String(walletBefore - chain.wallet),
    paidUnits: String(paid),
    depositUnits: String(DEPOSIT_UNITS),
  }
  process.stdout.write(`${JSON.stringify({ demo: 'money', pass: agrees, figures })}\n`)
  return agrees
}

/** What the ledger says, in nano-dollars. */
async function inLedger(tenant) {
  const { createPostgresStore } = await load('io/store/postgres-store.js')
  const { silentLogger } = await load('io/telemetry/logger.js')
  const url = readFileSync(`/proc/${network().gateway.pid}/environ`, 'utf8')
    .split('\0')
    .find((line) => line.startsWith('BASELOAD_DATABASE_URL='))
    ?.slice('BASELOAD_DATABASE_URL='.length)
  const store = await createPostgresStore({ url, logger: silentLogger, connections: 1 })
  try {
    const of = async (account) => (await store.balance(account)).balanceNanoUsd
    const { sumNanoUsd, transfers, wrong } = await store.audit()
    let nodes = 0n
    for (const { node } of await store.nodes()) nodes += await of(`node:${node}`)
    return {
      vouchers: -(await of('world:vouchers')),
      payouts: await of('world:payouts'),
      tenant: await of(`tenant:${tenant}`),
      nodes,
      sum: sumNanoUsd,
      transfers,
      wrong: wrong.length,
    }
  } finally {
    await store.close()
  }
}
