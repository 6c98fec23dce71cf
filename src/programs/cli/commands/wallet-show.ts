/** `baseload wallet show`: what the chain says of a wallet, and what the gateway says beside it. */
import { formatEther } from 'viem'
import { channelsOf, type Payee } from '../../../io/chain/wallet/book-schema.ts'
import { channelsAnswer, type ChannelAnswer } from '../../../io/chain/wallet/channel-answers.ts'
import type { Wallet } from '../../../io/chain/wallet/wallet.ts'
import { readAccess, type Access } from '../shell/client-settings.ts'
import { Failure } from '../shell/failure.ts'
import { table } from '../shell/terminal.ts'
import { understand } from './answers.ts'
import { clientFor, print, type Flags, type Shell } from './command.ts'
import { freeOf, lookAt, type SeenChannel } from './wallet-channels.ts'
import { chooseWallet } from './wallet-choice.ts'
import { amountText, budgetText, chainFor, moneyLabel, withFaults } from './wallet-parts.ts'
import { payeeOf, readTerms, rpcFor } from './wallet-terms.ts'

type Page = { readonly json: object; readonly text: string }
type Said = { readonly channels: readonly ChannelAnswer[] } | { readonly silent: string }

export const showWallet = async (flags: Flags, shell: Shell): Promise<void> =>
  withFaults(async () => {
    const access = accessOf(flags, shell)
    const origin = access === null ? null : new URL(access.url).origin
    const wallet = await chooseWallet(flags, shell, origin)
    const book = await wallet.book.read()
    const payees = [...book.payees]
    // A wallet that has not paid anybody yet: what it holds on this gateway's chain is what one wants to know.
    if (payees.length === 0 && access !== null)
      payees.push(await payeeOfGateway(access, flags, shell))
    const pages: Page[] = []
    for (const payee of payees) pages.push(await pageOf(wallet, payee, access, flags, shell))
    const value = {
      wallet: wallet.name,
      address: wallet.address,
      data: pages.map(({ json }) => json),
    }
    await print(flags, shell.terminal, value, () => {
      const head = table([
        ['wallet', wallet.name],
        ['address', wallet.address],
      ])
      return [head, ...pages.map(({ text }) => text)].join('\n')
    })
  })

/** Null: no gateway is known here, and the chain is asked alone. */
function accessOf(flags: Flags, shell: Shell): Access | null {
  try {
    return readAccess(flags, shell.env)
  } catch (error) {
    if (error instanceof Failure && error.code === 'no_gateway') return null
    throw error
  }
}

async function payeeOfGateway(access: Access, flags: Flags, shell: Shell): Promise<Payee> {
  const terms = await readTerms(clientFor(access, flags, shell))
  const { origin } = new URL(access.url)
  return payeeOf(terms, null, { origin, rpcUrl: rpcFor(terms, flags, shell) })
}

async function pageOf(
  wallet: Wallet,
  payee: Payee,
  access: Access | null,
  flags: Flags,
  shell: Shell,
): Promise<Page> {
  const chain = await chainFor(flags, shell, payee)
  const { tokenUnits, wei } = await chain.balances(wallet.address, payee.token.address)
  const book = await wallet.book.read()
  const channels = channelsOf(book, payee)
  const seen = await lookAt(wallet, chain, payee, channels)
  const said = await ask(access, payee, flags, shell)
  const rows = seen.map((one) => ({ ...one, notes: notesOf(one, said, payee) }))
  const signed = channels.reduce((sum, { signedUnits }) => sum + signedUnits, 0n)
  const known = book.payees.some(({ receiver }) => receiver === payee.receiver)
  const json = {
    chain_id: payee.chainId,
    test_money: payee.testMoney,
    gateways: payee.origins,
    receiver: payee.receiver,
    token: payee.token,
    token_units: String(tokenUnits),
    gas_wei: String(wei),
    budget_units: payee.budgetUnits === null ? null : String(payee.budgetUnits),
    signed_units: String(signed),
    gateway: 'silent' in said ? { silent: said.silent } : { channels: said.channels.length },
    channels: rows.map(rowJson),
    transactions: book.transactions
      .filter(({ chainId }) => chainId === payee.chainId)
      .map(({ purpose, sent }) => ({ purpose, hash: sent.at(-1)?.hash })),
  }
  const head = table([
    ['chain', `${payee.chainId}, by ${new URL(chain.rpcUrl).host}${moneyLabel(payee.testMoney)}`],
    ['gateway', `${payee.origins.join(', ')}${'silent' in said ? ` — ${said.silent}` : ''}`],
    ['receiver', payee.receiver],
    ['token', `${amountText(tokenUnits, payee.token)}${moneyLabel(payee.testMoney)}`],
    ['for gas', `${formatEther(wei)} of the chain's own coin`],
    ...(known ? [['budget', budgetText(payee, signed)]] : []),
    ...json.transactions.map(({ purpose, hash }) => ['on its way', `${purpose}, ${hash}`]),
  ])
  return { json, text: `${head}${channelTable(rows, payee)}` }
}

type Row = SeenChannel & { readonly notes: readonly string[] }

function channelTable(rows: readonly Row[], { token }: Payee): string {
  if (rows.length === 0) return 'no channel yet; `baseload wallet deposit <amount>` opens one\n'
  const amount = (units: bigint): string => amountText(units, token)
  const lines = rows.map(({ channel, final, latest }) => [
    channel.id,
    latest.exit === null ? channel.state : `exit at ${timeOf(latest.exit.finishAt)}`,
    amount(final.balanceUnits),
    amount(final.claimedUnits),
    amount(channel.signedUnits),
    amount(freeOf(final)),
  ])
  const head = ['channel', 'state', 'deposit', 'claimed', 'signed', 'not claimed']
  const notes = rows.flatMap((row) => row.notes.map((note) => `! ${row.channel.id}: ${note}\n`))
  return `\n${table([head, ...lines], [2, 3, 4, 5])}${notes.join('')}`
}

const timeOf = (seconds: number): string => new Date(seconds * 1000).toISOString()

const rowJson = ({ channel, final, latest, notes }: Row) => ({
  id: channel.id,
  state: channel.state,
  deposit_units: String(final.balanceUnits),
  claimed_units: String(final.claimedUnits),
  signed_units: String(channel.signedUnits),
  free_units: String(freeOf(final)),
  exit:
    latest.exit === null
      ? null
      : { amount_units: String(latest.exit.amountUnits), finish_at: timeOf(latest.exit.finishAt) },
  differences: notes,
})

async function ask(access: Access | null, payee: Payee, flags: Flags, shell: Shell): Promise<Said> {
  if (access === null) return { silent: 'none is named, so that only the chain was asked' }
  if (!payee.origins.includes(new URL(access.url).origin))
    return { silent: 'not the one that --url names, so that only the chain was asked' }
  try {
    const answer = await clientFor(access, flags, shell).get('/v1/channels')
    return { channels: understand(channelsAnswer, answer).data }
  } catch (error) {
    if (error instanceof Failure) return { silent: `it did not say: ${error.message}` }
    throw error
  }
}

/** Where gateway, chain and wallet differ, in words. */
function notesOf({ channel, final }: SeenChannel, said: Said, { token }: Payee): string[] {
  const amount = (units: bigint): string => amountText(units, token)
  const notes: string[] = []
  if (final.claimedUnits > channel.signedUnits)
    notes.push(
      `${amount(final.claimedUnits)} is claimed, and this book knows of ${amount(channel.signedUnits)} signed: the key signed elsewhere, too`,
    )
  if ('silent' in said || channel.state === 'closed') return notes
  const theirs = said.channels.find(({ id }) => id === channel.id)
  if (theirs === undefined)
    return [
      ...notes,
      'the gateway does not know it; `baseload wallet deposit` binds one that is new',
    ]
  if (theirs.ceiling > channel.signedUnits)
    notes.push(`the gateway says that ${amount(theirs.ceiling)} is signed`)
  if (theirs.ceiling < channel.signedUnits)
    notes.push(`the gateway has not got the newest voucher, only ${amount(theirs.ceiling)}`)
  if (theirs.charged > theirs.ceiling)
    notes.push(`the gateway counts ${amount(theirs.charged)} as spent, more than is signed`)
  if (theirs.deposit !== final.balanceUnits)
    notes.push(`the gateway sees ${amount(theirs.deposit)} deposited`)
  if (theirs.claimed !== final.claimedUnits)
    notes.push(`the gateway sees ${amount(theirs.claimed)} claimed`)
  return notes
}
