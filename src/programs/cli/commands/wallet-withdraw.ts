/** `baseload wallet withdraw`: the gateway claims what was spent and gives the rest back, at once. */
import { setTimeout as sleep } from 'node:timers/promises'
import { payeeAt, type BookChannel, type Payee } from '../../../io/chain/wallet/book-schema.ts'
import type { PayerChain } from '../../../io/chain/wallet/wallet-chain.ts'
import type { Wallet } from '../../../io/chain/wallet/wallet.ts'
import { EXIT, Failure } from '../shell/failure.ts'
import { clientOf, print, type Flags, type Shell } from './command.ts'
import { checkChannelFlag, freeOf, lookAt, openChannels } from './wallet-channels.ts'
import { chooseWallet } from './wallet-choice.ts'
import { withChannel } from './wallet-deposit.ts'
import { amountText, chainFor, goingOn, moneyLabel, withFaults } from './wallet-parts.ts'

const LOOK_AGAIN_MS = 1_000

export const withdraw = async (flags: Flags, shell: Shell): Promise<void> =>
  withFaults(async () =>
    goingOn('baseload wallet withdraw', async () => {
      const client = clientOf(flags, shell)
      const { origin } = new URL(client.url)
      const wallet = await chooseWallet(flags, shell, origin)
      const book = await wallet.book.read()
      checkChannelFlag(book, flags)
      const payee = payeeAt(book, origin)
      const channels = payee === null ? [] : openChannels(book, payee, flags)
      const paidIn = channels.filter(({ depositUnits }) => depositUnits > 0n)
      if (payee === null || paidIn.length === 0)
        return print(
          flags,
          shell.terminal,
          { data: [] },
          () => `nothing is deposited at ${origin}\n`,
        )
      const chain = await chainFor(flags, shell, payee)
      const back: { id: string; returned_units: string }[] = []
      for (const channel of paidIn) {
        const before = await lookAt(wallet, chain, payee, [channel])
        await askToClose(client, wallet, channel)
        shell.terminal.err(
          `the gateway closes channel ${channel.id}; waiting until that is final\n`,
        )
        const claimed = await untilReturned(wallet, chain, payee, channel, shell)
        const held = before[0]?.final.balanceUnits ?? 0n
        back.push({ id: channel.id, returned_units: String(held - claimed) })
      }
      await print(flags, shell.terminal, { data: back, test_money: payee.testMoney }, () => {
        const total = back.reduce((sum, one) => sum + BigInt(one.returned_units), 0n)
        return `${amountText(total, payee.token)}${moneyLabel(payee.testMoney)} is back in ${wallet.address}\n`
      })
    }),
  )

async function askToClose(
  client: ReturnType<typeof clientOf>,
  wallet: Wallet,
  { id }: BookChannel,
): Promise<void> {
  try {
    await client.post(`/v1/channels/${id}/close`, {})
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    // It was asked before: what is left is to wait.
    if (error.code !== 'channel_closing')
      throw new Failure(error.exitCode, error.message, {
        code: error.code,
        cause: error,
        next:
          error.exitCode === EXIT.interrupted
            ? '`baseload wallet withdraw` goes on where it was'
            : '`baseload wallet exit` takes the rest without the gateway, after the delay',
      })
  }
  // From here on nothing is signed for it any more.
  await wallet.book.change((book) => withChannel(book, id, (one) => ({ ...one, state: 'exiting' })))
}

/** Gives back what was claimed of it. */
async function untilReturned(
  wallet: Wallet,
  chain: PayerChain,
  payee: Payee,
  { id, config }: BookChannel,
  { stops }: Shell,
): Promise<bigint> {
  for (;;) {
    const { finalityDepth, channels } = payee
    const seen = await chain.channel(channels, id, config.withdrawDelay, finalityDepth)
    if (freeOf(seen) === 0n) {
      await wallet.book.change((book) =>
        withChannel(book, id, (one) => ({
          ...one,
          state: 'closed',
          depositUnits: seen.balanceUnits,
        })),
      )
      return seen.claimedUnits
    }
    await sleep(LOOK_AGAIN_MS, undefined, { signal: stops.stop })
  }
}
