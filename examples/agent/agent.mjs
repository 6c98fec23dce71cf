#!/usr/bin/env node
// An agent with a wallet and a budget, and no account anywhere: it buys answers by x402, checks their receipts, hires a machine
// for a job, and stops at its budget. `npm run build` first; docs/agents.md shows the flow.
import { readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { Wallet } from '@ethereumjs/wallet'
import { createPublicClient, http, parseAbi } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { findModel, NotPaid, openShop, readJson } from './inference.mjs'
import { runJob, topUp } from './job.mjs'
import { BudgetReached, Purse } from './purse.mjs'

const HELP = `node examples/agent/agent.mjs --gateway URL --wallet FILE --budget 0.50 --rpc URL

  --gateway URL     a gateway that settles on a chain
  --wallet FILE     a keystore (its password in BASELOAD_WALLET_PASSWORD), or 64 digits of hex
  --budget USD      the most it may spend, in all runs with this purse together
  --rpc URL         a node of the chain, to read from
  --job-budget USD  of it, for hiring a machine (default 0.10; 0: hire none)
  --model NAME      default: the cheapest
  --max-tokens N    of an answer (default 64)
  --answers N       stop after so many, though the budget is not used up
  --purse FOLDER    what was spent is kept there (default: FILE.purse)
  --json            the table as JSON; everything else goes to standard error`

const { values: flags } = parseArgs({
  options: {
    ...Object.fromEntries(
      [
        'gateway',
        'wallet',
        'budget',
        'rpc',
        'job-budget',
        'model',
        'max-tokens',
        'answers',
        'purse',
      ].map((name) => [name, { type: 'string' }]),
    ),
    json: { type: 'boolean' },
    help: { type: 'boolean' },
  },
})
const missing = ['gateway', 'wallet', 'budget', 'rpc'].filter((name) => flags[name] === undefined)
if (flags.help || missing.length > 0) {
  const problem = flags.help ? '' : `missing: ${missing.map((name) => `--${name}`).join(', ')}\n\n`
  process[flags.help ? 'stdout' : 'stderr'].write(`${problem}${HELP}\n`)
  process.exit(flags.help ? 0 : 2)
}

const say = (text) => process.stderr.write(`${text}\n`)

async function main() {
  const gateway = new URL(flags.gateway).origin
  const budget = unitsOf(flags.budget, '--budget')
  const jobBudget = unitsOf(flags['job-budget'] ?? '0.10', '--job-budget')
  const maxTokens = countOf(flags['max-tokens'] ?? '64', '--max-tokens')
  const answers = flags.answers === undefined ? Infinity : countOf(flags.answers, '--answers')
  const account = privateKeyToAccount(await openWallet(flags.wallet))
  const chain = await readJson(`${gateway}/v1/chain`)
  const money = chain.test_money ? 'test money' : chain.token.symbol
  const folder = resolve(
    flags.purse ?? join(dirname(flags.wallet), `${flags.wallet.split('/').at(-1)}.purse`),
  )
  const purse = new Purse(folder, budget, account.address)
  process.once('exit', () => purse.close())
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1))

  const client = createPublicClient({ transport: http(flags.rpc) })
  await releaseOld(purse, client, chain)
  const signer = purse.signer(account, (call) => client.readContract(call))
  say(
    `${account.address} has a budget of ${usd(budget)} (${money}); ${usd(purse.left)} of it are left`,
  )

  const { id: model, pricing } = await findModel(gateway, flags.model)
  say(`${model}: $${pricing.prompt} in, $${pricing.completion} out, a million tokens`)
  const shop = openShop({ gateway, chain, purse, signer, folder, budget })
  const trip = {
    shop,
    purse,
    model,
    maxTokens,
    bought: purse.notes.bought ?? NOTHING,
    toVerify: [],
  }

  const hires = jobBudget > 0n && purse.notes.job === undefined
  if (hires && purse.toppedUp === 0n) purse.reserved = jobBudget
  const first = await buy(trip, 'Why does steady demand make power cheap? One sentence.', (text) =>
    process.stderr.write(text),
  )
  say('')
  if (first) await verify(trip, 20_000)
  if (hires) await hire({ gateway, chain, purse, signer, jobBudget })
  purse.reserved = 0n
  await buyUntilRefused(trip, answers)
  await verify(trip, 20_000)
  report({ purse, trip, budget, money })
}

const NOTHING = { answers: 0, tokens: 0, nanoUsd: '0', toldUnits: '0', verified: 0, broken: 0 }

/** False: the budget does not pay for it. The books are written when the answer is there. */
async function buy(trip, prompt, onText, maxTokens = trip.maxTokens, tries = 5) {
  try {
    const answer = await trip.shop.ask({ model: trip.model, prompt, maxTokens, onText })
    const { bought } = trip
    trip.bought = {
      ...bought,
      answers: bought.answers + 1,
      tokens: bought.tokens + answer.tokens,
      nanoUsd: String(BigInt(bought.nanoUsd) + answer.nanoUsd),
      toldUnits: String(answer.toldUnits),
    }
    trip.purse.note({ bought: trip.bought })
    trip.toVerify.push(answer)
    return true
  } catch (error) {
    if (error instanceof BudgetReached) return false
    // As when two vouchers would be equal: the client has heard where the channel stands. Other words have another price.
    if (error instanceof NotPaid && tries > 1)
      return await buy(trip, `${prompt} Please.`, onText, maxTokens, tries - 1)
    throw error
  }
}

/** Shorter and shorter answers, down to the last one that the budget pays for. */
async function buyUntilRefused(trip, answers) {
  let { maxTokens } = trip
  for (let n = 1; trip.bought.answers < answers; n++) {
    if (await buy(trip, `Say one thing that is true of the number ${n}.`, undefined, maxTokens)) {
      if (trip.toVerify.length >= 20) await verify(trip, 0)
      continue
    }
    if (maxTokens === 1)
      return say('the purse refuses: not even the shortest answer is within the budget')
    maxTokens = Math.floor(maxTokens / 2)
  }
}

/** A receipt is there once its payment is in the gateway's books: after a deposit, when it is final. */
async function verify(trip, waitMs) {
  const deadline = Date.now() + waitMs
  for (const answer of trip.toVerify.splice(0)) {
    for (;;) {
      try {
        for (const { id, node, ok, failed } of await trip.shop.verify(answer)) {
          trip.bought[ok ? 'verified' : 'broken'] += 1
          if (!ok) say(`✗ ${id} does not hold: ${failed.map(({ detail }) => detail).join(' ')}`)
          else if (trip.bought.verified === 1) say(`✓ ${id} holds: signed by ${node}`)
        }
        break
      } catch (error) {
        if (Date.now() < deadline) await sleep(500)
        else {
          if (waitMs === 0) trip.toVerify.push(answer)
          else say(`– ${error.message}`)
          break
        }
      }
    }
  }
  trip.purse.note({ bought: trip.bought })
}

async function hire({ gateway, chain, purse, signer, jobBudget }) {
  try {
    let { key } = purse.notes
    if (key === undefined) {
      if (purse.toppedUp > 0n)
        throw new Error('a top-up was signed before, and its key did not arrive')
      const paid = await topUp({ gateway, chain, purse, signer, usd: dollars(jobBudget) })
      say(
        `paid ${usd(jobBudget)} into ${paid.account} (${paid.state}), which this agent now has a key of`,
      )
      key = paid.key
    }
    const job = await runJob({ gateway, key, purse, say })
    if (job.skipped) return say(`no job was hired: ${job.skipped}`)
    purse.note({ job: { ...job, nanoUsd: String(job.nanoUsd) } })
  } catch (error) {
    say(`no job was done: ${error.message}`)
  }
}

/** What was signed and never made in its time is free again: the chain knows which authorizations were used. */
async function releaseOld(purse, client, { token }) {
  const abi = parseAbi(['function authorizationState(address, bytes32) view returns (bool)'])
  const { timestamp } = await client.getBlock()
  const used = (nonce) =>
    client.readContract({
      abi,
      address: token.address,
      functionName: 'authorizationState',
      args: [purse.address, nonce],
    })
  await purse.release(used, Number(timestamp))
}

function report({ purse, trip, budget, money }) {
  const { bought } = trip
  const { job } = purse.notes
  const spent = BigInt(bought.toldUnits)
  const table = {
    money,
    budget: usd(budget),
    answers: {
      bought: bought.answers,
      tokens: bought.tokens,
      paid: usd(spent),
      cost_nano_usd: bought.nanoUsd,
      receipts_verified: bought.verified,
      receipts_broken: bought.broken,
    },
    channel: {
      deposited: usd(purse.deposited),
      signed: usd(purse.signed - purse.toppedUp),
      unspent: usd(purse.deposited - spent),
    },
    account: {
      paid_in: usd(purse.toppedUp),
      job: job
        ? { result: job.result, cost_nano_usd: job.nanoUsd, deployment: job.deployment }
        : null,
    },
    signed_in_all: usd(purse.signed),
    left: usd(purse.left),
  }
  if (flags.json) return void process.stdout.write(`${JSON.stringify(table, null, 2)}\n`)
  const rows = [
    ['what', 'how much', `paid (${money})`],
    [`answers of ${trip.model}`, `${bought.answers}, ${bought.tokens} tokens`, table.answers.paid],
    ['  receipts that hold', `${bought.verified} of ${bought.verified + bought.broken}`, ''],
    [
      'account, for jobs',
      job ? `${job.result} primes found, $${dollars(BigInt(job.nanoUsd), 9)} spent` : 'no job',
      table.account.paid_in,
    ],
    ['in the channel, unspent', 'comes back on closing', table.channel.unspent],
    ['not signed away', `of ${table.budget}`, table.left],
  ]
  const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => row[column].length)))
  for (const row of rows)
    process.stdout.write(
      `${row
        .map((cell, i) => cell.padEnd(widths[i]))
        .join('  ')
        .trimEnd()}\n`,
    )
}

async function openWallet(path) {
  const text = readFileSync(path, 'utf8').trim()
  const [, digits] = /^(?:0x)?([0-9a-fA-F]{64})$/.exec(text) ?? []
  if (digits) return `0x${digits}`
  const password = process.env.BASELOAD_WALLET_PASSWORD
  if (password === undefined) throw new Error(`${path} is a keystore: set BASELOAD_WALLET_PASSWORD`)
  return (await Wallet.fromV3(text.toLowerCase(), password)).getPrivateKeyString()
}

/** "0.50" is 500000 units: the token has six decimals. */
function unitsOf(text, flag) {
  const [, whole, part = ''] = /^(\d{1,9})(?:\.(\d{1,6}))?$/.exec(text) ?? []
  if (whole === undefined)
    throw new Error(`${flag} is dollars with at most six decimals, not ${text}`)
  return BigInt(whole + part.padEnd(6, '0'))
}

function countOf(text, flag) {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text)
  throw new Error(`${flag} is a whole number from 1 on, not ${text}`)
}

function dollars(amount, decimals = 6) {
  const digits = String(amount).padStart(decimals + 1, '0')
  return `${digits.slice(0, -decimals)}.${digits.slice(-decimals)}`
}

function usd(units) {
  return `$${dollars(units)}`
}

try {
  await main()
} catch (error) {
  say(`✗ ${error.message}`)
  process.exitCode = 1
}
