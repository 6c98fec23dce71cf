/** `baseload wallet exit`: the way out that needs nobody's consent. What is known is in the wallet's book and on the chain. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { BookChannel, Payee } from '../../../io/chain/wallet/book-schema.ts'
import {
  exitCall,
  finishCall,
  type OnChain,
  type PayerChain,
} from '../../../io/chain/wallet/wallet-chain.ts'
import { runTransaction, type Run } from '../../../io/chain/wallet/wallet-transaction.ts'
import type { Wallet } from '../../../io/chain/wallet/wallet.ts'
import { print, type Flags, type Shell } from './command.ts'
import { checkChannelFlag, freeOf, openChannels } from './wallet-channels.ts'
import { chooseWallet } from './wallet-choice.ts'
import { withChannel } from './wallet-deposit.ts'
import {
  amountText,
  chainFor,
  durationText,
  goingOn,
  moneyLabel,
  progressOf,
  withFaults,
} from './wallet-parts.ts'

const LOOK_AGAIN_MS = 2_000

type Exit = {
  readonly wallet: Wallet
  readonly chain: PayerChain
  readonly payee: Payee
  readonly channel: BookChannel
  readonly flags: Flags
  readonly shell: Shell
}

type Outcome = {
  readonly channel: string
  readonly state: 'waiting' | 'returned' | 'nothing left' | 'not begun'
  readonly amount_units: string
  readonly finish_at: string | null
  readonly test_money: boolean
}

export const exitChannels = async (flags: Flags, shell: Shell): Promise<void> =>
  withFaults(async () =>
    goingOn('baseload wallet exit', async () => {
      const wallet = await chooseWallet(flags, shell, null)
      const book = await wallet.book.read()
      checkChannelFlag(book, flags)
      const outcomes: Outcome[] = []
      const lines: string[] = []
      for (const payee of book.payees)
        for (const channel of openChannels(book, payee, flags)) {
          const chain = await chainFor(flags, shell, payee)
          const outcome = await exitOne({ wallet, chain, payee, channel, flags, shell })
          outcomes.push(outcome)
          lines.push(lineOf(outcome, payee))
        }
      await print(flags, shell.terminal, { data: outcomes }, () =>
        lines.length === 0 ? `wallet '${wallet.name}' has no open channel\n` : lines.join(''),
      )
    }),
  )

async function exitOne(of: Exit): Promise<Outcome> {
  const { wallet, channel, flags } = of
  const begun = (await wallet.book.read()).transactions.map(({ purpose }) => purpose)
  if (begun.includes(`finish:${channel.id}`)) return finish(of, await look(of))
  const seen = begun.includes(`exit:${channel.id}`) ? await begin(of, null) : await look(of)
  if (seen.exit !== null) return finishOrTell(of, seen)
  if (freeOf(seen) === 0n) return nothingLeft(of)
  if (flags['finish'] === true) return outcomeOf(of, 'not begun', freeOf(seen), null)
  return finishOrTell(of, await begin(of, seen))
}

const look = async ({ chain, payee, channel }: Exit): Promise<OnChain> =>
  chain.channel(payee.channels, channel.id, channel.config.withdrawDelay, 0)

const runOf = ({ wallet, chain, payee, shell }: Exit, what: string): Run => ({
  wallet,
  chain,
  finalityDepth: payee.finalityDepth,
  onProgress: progressOf(shell, what),
  signal: shell.stops.stop,
})

/** Asks the contract for all that is not claimed. */
async function begin(of: Exit, seen: OnChain | null): Promise<OnChain> {
  const { wallet, payee, channel } = of
  const { id, config } = channel
  // First of all nothing more is signed for it.
  await wallet.book.change((book) => withChannel(book, id, (one) => ({ ...one, state: 'exiting' })))
  await runTransaction(
    runOf(of, 'exit'),
    `exit:${id}`,
    async () => {
      const amountUnits = freeOf(seen ?? (await look(of)))
      return { ...exitCall(payee.channels, config, amountUnits), amountUnits }
    },
    (book) => book,
  )
  return look(of)
}

async function finishOrTell(of: Exit, seen: OnChain): Promise<Outcome> {
  const { exit } = seen
  if (exit === null) return nothingLeft(of)
  const { wait } = of.flags
  for (let told = false; (await now(of)) < exit.finishAt; told = true) {
    if (wait !== true) return outcomeOf(of, 'waiting', exit.amountUnits, exit.finishAt)
    const left = durationText(exit.finishAt - (await now(of)))
    if (!told) of.shell.terminal.err(`the contract pays in ${left}; waiting for that\n`)
    await sleep(LOOK_AGAIN_MS, undefined, { signal: of.shell.stops.stop })
  }
  return finish(of, seen)
}

/** A chain that makes blocks only when there is something to do has the clock of the next one. */
const now = async ({ chain }: Exit): Promise<number> =>
  Math.max(await chain.now(), Math.floor(Date.now() / 1000))

async function finish(of: Exit, seen: OnChain): Promise<Outcome> {
  const { wallet, payee, channel } = of
  const free = freeOf(seen)
  const amountUnits = seen.exit && seen.exit.amountUnits < free ? seen.exit.amountUnits : free
  await runTransaction(
    runOf(of, 'return'),
    `finish:${channel.id}`,
    async () => ({ ...finishCall(payee.channels, channel.config), amountUnits }),
    (book) => book,
  )
  const after = await look(of)
  const state = freeOf(after) === 0n ? 'closed' : 'exiting'
  await wallet.book.change((book) =>
    withChannel(book, channel.id, (one) => ({ ...one, state, depositUnits: after.balanceUnits })),
  )
  return outcomeOf(of, 'returned', amountUnits, null)
}

/** All of it was spent, or has gone back. */
async function nothingLeft(of: Exit): Promise<Outcome> {
  const { wallet, channel } = of
  if (channel.depositUnits > 0n)
    await wallet.book.change((book) =>
      withChannel(book, channel.id, (one) => ({ ...one, state: 'closed' })),
    )
  return outcomeOf(of, 'nothing left', 0n, null)
}

const outcomeOf = (
  { channel, payee }: Exit,
  state: Outcome['state'],
  units: bigint,
  finishAt: number | null,
): Outcome => ({
  channel: channel.id,
  state,
  amount_units: String(units),
  finish_at: finishAt === null ? null : new Date(finishAt * 1000).toISOString(),
  test_money: payee.testMoney,
})

function lineOf({ channel, state, amount_units, finish_at }: Outcome, payee: Payee): string {
  const amount = `${amountText(BigInt(amount_units), payee.token)}${moneyLabel(payee.testMoney)}`
  switch (state) {
    case 'waiting':
      return `channel ${channel}: ${amount} can be taken from ${finish_at} on: \`baseload wallet exit --finish\`\n`
    case 'returned':
      return `channel ${channel}: ${amount} is back\n`
    case 'nothing left':
      return `channel ${channel}: nothing is left in it\n`
    case 'not begun':
      return `channel ${channel}: no exit is begun; \`baseload wallet exit\` begins one for ${amount}\n`
  }
}
