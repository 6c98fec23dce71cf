/** The agent of examples/agent as a process of its own, with a wallet that has test money, and what its purse says. */
import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { erc20Abi, type Hex } from 'viem'
import { channelsAbi } from '../../src/io/chain/abi/channels.ts'
import { tenantLedger } from '../../src/io/store/store.ts'
import { accountOfChannel } from '../../src/programs/gateway/x402/payer-accounts.ts'
import type { PaidNetwork } from './paid-network.ts'

const SOURCE = fileURLToPath(new URL('../../examples/agent/agent.mjs', import.meta.url))
/** Tests run built, from dist/; the example is not built. */
export const AGENT = existsSync(SOURCE)
  ? SOURCE
  : fileURLToPath(new URL('../../../examples/agent/agent.mjs', import.meta.url))

type Table = {
  money: string
  answers: {
    bought: number
    paid: string
    cost_nano_usd: string
    receipts_verified: number
    receipts_broken: number
  }
  channel: { deposited: string; signed: string; unspent: string }
  account: { paid_in: string; job: { result: number; cost_nano_usd: string } | null }
  signed_in_all: string
  left: string
}
type PurseFile = {
  ceilings: Record<Hex, string>
  deposits: { units: string }[]
  topUps: { units: string }[]
  notes: { account?: string; key?: string; bought?: { answers: number; nanoUsd: string } }
}
type Agent = Awaited<ReturnType<typeof newAgent>>

const unitsIn = (usd: string): bigint => BigInt(usd.replace(/^\$|\./g, ''))

/** What was signed, what moved on chain and what the ledger has: none of them above the budget, all of them alike. */
export async function checkBooks(net: PaidNetwork, agent: Agent, table: Table, budget: bigint) {
  const { ceilings, deposits, topUps } = agent.purse()
  const moved = sum([...deposits, ...topUps])
  assert.ok(moved <= budget && unitsIn(table.signed_in_all) <= budget, JSON.stringify(table))
  const has = await net.chain.client.readContract({
    abi: erc20Abi,
    address: net.chain.addresses.token,
    functionName: 'balanceOf',
    args: [agent.address],
  })
  assert.equal(agent.began - has, moved, 'what left the wallet is what the purse says')
  assert.equal(unitsIn(table.channel.deposited), sum(deposits))
  const [[channel, ceiling], ...others] = Object.entries(ceilings) as [[Hex, string]]
  assert.equal(others.length, 0, 'one channel')
  assert.ok(BigInt(ceiling) <= sum(deposits))
  const { balance } = await channelOf(net, channel)
  assert.equal(balance, sum(deposits))
  const [record] = await net.store.channelRecords([channel])
  assert.ok(record, 'the gateway knows the channel')
  assert.ok(record.ceilingUnits <= BigInt(ceiling), 'the gateway has no more')
  const { balanceNanoUsd } = await net.store.balance(tenantLedger(accountOfChannel(channel)))
  const spent = record.ceilingUnits * 1000n - balanceNanoUsd
  assert.ok(spent <= unitsIn(table.answers.paid) * 1000n + 999n, 'the ledger took what was told')
  assert.ok(spent >= BigInt(table.answers.cost_nano_usd), 'and all that was bought')
  const { sumNanoUsd, wrong } = await net.store.audit()
  assert.deepEqual([sumNanoUsd, wrong], [0n, []])
}

const sum = (list: readonly { units: string }[]): bigint =>
  list.reduce((all, { units }) => all + BigInt(units), 0n)

async function channelOf(net: PaidNetwork, id: Hex) {
  const [balance, totalClaimed] = await net.chain.client.readContract({
    abi: channelsAbi,
    address: net.chain.addresses.channels,
    functionName: 'channels',
    args: [id],
  })
  return { balance, totalClaimed }
}

export async function newAgent(t: TestContext, net: PaidNetwork, budget: string) {
  const folder = mkdtempSync(join(tmpdir(), 'baseload-agent-'))
  const began = 10_000_000n
  const { wallet } = await net.payer(began)
  const file = join(folder, 'wallet')
  writeFileSync(file, wallet.key, { mode: 0o600 })
  const children: ChildProcess[] = []
  t.after(() => {
    for (const child of children) child.kill('SIGKILL')
    rmSync(folder, { recursive: true, force: true })
  })
  const start = (more: readonly string[]): ChildProcess => {
    const flags = ['--gateway', net.url, '--wallet', file, '--budget', budget]
    const args = [AGENT, ...flags, '--rpc', net.chain.url, ...more]
    const child = spawn(process.execPath, args)
    children.push(child)
    return child
  }
  const purse = (): PurseFile =>
    JSON.parse(readFileSync(join(`${file}.purse`, 'purse.json'), 'utf8'))
  return {
    address: wallet.address,
    wallet: file,
    began,
    start,
    purse,
    answers: () =>
      existsSync(join(`${file}.purse`, 'purse.json')) ? (purse().notes.bought?.answers ?? 0) : 0,
    async run(more: readonly string[]) {
      const { code, out, err } = await ended(start(['--json', ...more]))
      assert.equal(code, 0, err)
      const table: Table = JSON.parse(out)
      return { table, said: err }
    },
  }
}

export async function ended(child: ChildProcess) {
  const said = { out: '', err: '' }
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (said.out += text))
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (said.err += text))
  const [code]: unknown[] = await once(child, 'close')
  return { code, ...said }
}
