/** A wallet's channels as the chain has them now, and what is found in the book because of it. */
import {
  channelsOf,
  type Book,
  type BookChannel,
  type Payee,
} from '../../../io/chain/wallet/book-schema.ts'
import type { OnChain, PayerChain } from '../../../io/chain/wallet/wallet-chain.ts'
import type { Wallet } from '../../../io/chain/wallet/wallet.ts'
import { EXIT, Failure } from '../shell/failure.ts'
import { textOf, type Flags } from './command.ts'
import { withChannel } from './wallet-deposit.ts'

export type SeenChannel = {
  readonly channel: BookChannel
  /** As of the last final block, and as of now. */
  readonly final: OnChain
  readonly latest: OnChain
}

/** Reads the channels of a payee, and corrects in the book what they hold. */
export async function lookAt(
  wallet: Wallet,
  chain: PayerChain,
  payee: Payee,
  channels: readonly BookChannel[],
): Promise<SeenChannel[]> {
  const seen = await Promise.all(
    channels.map(async (channel) => {
      const { id, config } = channel
      const at = async (depth: number): Promise<OnChain> =>
        chain.channel(payee.channels, id, config.withdrawDelay, depth)
      const [final, latest] = await Promise.all([at(payee.finalityDepth), at(0)])
      return { channel, final, latest }
    }),
  )
  const book = await wallet.book.change((before) => seen.reduce(withBalance, before))
  return seen.map(({ channel, ...rest }) => ({
    ...rest,
    channel: book.channels.find(({ id }) => id === channel.id) ?? channel,
  }))
}

/** A deposit on its way is added when it is final, by the command that made it. */
function withBalance(book: Book, { channel, final }: SeenChannel): Book {
  const begun = book.transactions.some(({ purpose }) => purpose === `deposit:${channel.id}`)
  const now = book.channels.find(({ id }) => id === channel.id)
  if (begun || !now || now.state === 'opening' || now.depositUnits === final.balanceUnits)
    return book
  return withChannel(book, channel.id, (one) => ({ ...one, depositUnits: final.balanceUnits }))
}

export const freeOf = ({ balanceUnits, claimedUnits }: OnChain): bigint =>
  balanceUnits - claimedUnits

/** Those of a payee that are not closed; --channel names one. Throws Failure for one that is unknown. */
export function openChannels(book: Book, payee: Payee, flags: Flags): BookChannel[] {
  const open = channelsOf(book, payee).filter(({ state }) => state !== 'closed')
  const wanted = textOf(flags, 'channel')?.toLowerCase()
  return wanted === undefined ? open : open.filter(({ id }) => id === wanted)
}

/** Throws Failure where --channel names none of the wallet's. */
export function checkChannelFlag(book: Book, flags: Flags): void {
  const wanted = textOf(flags, 'channel')?.toLowerCase()
  if (wanted === undefined || book.channels.some(({ id }) => id === wanted)) return
  throw new Failure(EXIT.usage, `this wallet has no channel ${wanted}`, {
    code: 'channel_unknown',
    next: '`baseload wallet show` lists them',
  })
}
