/** `baseload wallet deposit`: agree, pay in, wait until it is final, bind the channel to the account. Each step is gone on with. */
import { LOCAL_CHAIN_ID } from '../../../io/chain/local/faucet.ts'
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { privateKeyToAccount } from 'viem/accounts'
import { hexOf, type Address, type Hex } from '../../../core/base/hex.ts'
import {
  channelsOf,
  samePayee,
  type Book,
  type BookChannel,
  type Payee,
} from '../../../io/chain/wallet/book-schema.ts'
import type { ChainAnswer } from '../../../io/chain/wallet/channel-answers.ts'
import { channelsTypedData } from '../../../io/chain/typed-data.ts'
import {
  approveCall,
  authorizationOf,
  collectorData,
  depositCall,
  type PayerChain,
  type TokenDomain,
} from '../../../io/chain/wallet/wallet-chain.ts'
import { runTransaction, type Run } from '../../../io/chain/wallet/wallet-transaction.ts'
import { signVoucher, type Wallet } from '../../../io/chain/wallet/wallet.ts'
import { askYesNo } from '../shell/ask.ts'
import { EXIT, Failure } from '../shell/failure.ts'
import type { GatewayClient } from '../shell/gateway-client.ts'
import { clientOf, print, type Flags, type Shell } from './command.ts'
import { chooseWallet } from './wallet-choice.ts'
import {
  amountOf,
  amountText,
  chainFor,
  durationText,
  goingOn,
  moneyLabel,
  progressOf,
  withFaults,
} from './wallet-parts.ts'
import {
  agree,
  checkTerms,
  isTestMoney,
  payeeOf,
  readTerms,
  receiverText,
  rpcFor,
} from './wallet-terms.ts'

/** What the contract takes at least. */
const MIN_DELAY_S = 900
/** How long a signed transfer waits to be mined. */
const AUTHORIZATION_S = 24n * 3600n
const BIND_AGAIN_MS = 2_000

type Deposit = {
  readonly wallet: Wallet
  readonly client: GatewayClient
  readonly chain: PayerChain
  readonly terms: ChainAnswer
  readonly payee: Payee
  readonly flags: Flags
  readonly shell: Shell
}

export const deposit = async (amount: string, flags: Flags, shell: Shell): Promise<void> =>
  withFaults(async () =>
    goingOn(`baseload wallet deposit ${amount}`, async () => {
      const client = clientOf(flags, shell)
      const { origin } = new URL(client.url)
      const wallet = await chooseWallet(flags, shell, origin)
      const terms = await readTerms(client)
      const units = amountOf(amount, terms.token)
      const rpcUrl = rpcFor(terms, flags, shell)
      const chain = await chainFor(flags, shell, { chainId: terms.chain_id, rpcUrl })
      await checkTerms(chain, terms)
      const book = await wallet.book.read()
      const draft = payeeOf(terms, null, { origin, rpcUrl })
      const known = book.payees.find((one) => samePayee(one, draft)) ?? null
      const payee = payeeOf(terms, known, { origin, rpcUrl })
      const of = { wallet, client, chain, terms, payee, flags, shell }
      const done = await finishEarlier(of, book, units)
      if (done) return report(of, done)
      await showPlan(of, book, units)
      await agree(wallet, payee, origin, flags, shell)
      await checkBalances(of, units)
      const channel = await chooseChannel(of)
      await report(of, await payIn(of, channel, units))
    }),
  )

/** What an earlier command began. Null: nothing was begun, or something else than this amount, which is finished now. */
async function finishEarlier(of: Deposit, book: Book, units: bigint): Promise<BookChannel | null> {
  for (const channel of channelsOf(book, of.payee)) {
    const begun = book.transactions.find(({ purpose }) => purpose === `deposit:${channel.id}`)
    const waiting = channel.state === 'opening' && channel.depositUnits > 0n
    if (!begun && !waiting) continue
    const amount = begun?.amountUnits ?? channel.depositUnits
    const { token } = of.payee
    of.shell.terminal.err(
      `going on with the deposit of ${amountText(amount, token)}, begun earlier\n`,
    )
    const finished = begun
      ? await payIn(of, channel, begun.amountUnits)
      : await bind(of, channel.id)
    if (amount === units) return finished
  }
  return null
}

async function showPlan(of: Deposit, book: Book, units: bigint): Promise<void> {
  const { terms, payee, chain, client, shell, flags } = of
  const { token } = payee
  const label = moneyLabel(isTestMoney(terms))
  const { origin } = new URL(client.url)
  const rows = [
    `Deposit ${amountText(units, token)}${label} for ${origin}`,
    `  chain      ${chain.chainId}, by ${new URL(chain.rpcUrl).host}`,
    `  contract   ${payee.channels}`,
    `  token      ${token.address}, ${token.symbol}`,
    `  receiver   ${payee.receiver}, ${receiverText(book, payee, origin)}`,
    `It stays yours until you sign for it. The gateway can take what is signed, and no more; vouchers are signed by`,
    `themselves as you spend, up to ${payee.budgetUnits === null ? 'the deposit' : `your budget of ${amountText(payee.budgetUnits, token)}`}, at most ${amountText(payee.atOnceUnits, token)} at once.`,
    `\`baseload wallet withdraw\` brings the rest back at once; without the gateway's help it takes ${durationText(delayOf(terms))}.`,
  ]
  shell.terminal.err(`${rows.join('\n')}\n`)
  if (flags['yes'] === true || !shell.terminal.canAsk) return
  if (await askYesNo('Deposit?', shell.stops.stop)) return
  throw new Failure(EXIT.usage, 'nothing was sent', { code: 'not_agreed' })
}

/** Where money is for the asking. */
const orFaucet = (chainId: number): string =>
  chainId === LOCAL_CHAIN_ID ? ': `baseload wallet faucet` does' : ''

const delayOf = ({ min_withdraw_delay_seconds }: ChainAnswer): number =>
  Math.max(MIN_DELAY_S, min_withdraw_delay_seconds)

async function checkBalances({ wallet, chain, payee }: Deposit, units: bigint): Promise<void> {
  const { tokenUnits, wei } = await chain.balances(wallet.address, payee.token.address)
  const { token } = payee
  if (tokenUnits < units)
    throw new Failure(
      EXIT.refused,
      `the wallet has ${amountText(tokenUnits, token)}, not ${amountText(units, token)}`,
      {
        code: 'token_missing',
        next: `send ${token.symbol} to ${wallet.address} on chain ${chain.chainId}${orFaucet(chain.chainId)}`,
      },
    )
  if (wei === 0n)
    throw new Failure(EXIT.refused, 'the wallet has nothing to pay gas with', {
      code: 'gas_missing',
      next: `send some of chain ${chain.chainId}'s own coin to ${wallet.address}${orFaucet(chain.chainId)}`,
    })
}

/** One that is open, or whose first deposit was never sent; else another, in the book before anything is sent. */
async function chooseChannel({ wallet, terms, payee, flags }: Deposit): Promise<BookChannel> {
  const config = {
    payer: wallet.address,
    payerAuthorizer: wallet.address,
    receiver: payee.receiver,
    receiverAuthorizer: payee.receiver,
    token: payee.token.address,
    withdrawDelay: delayOf(terms),
    salt: hexOf(randomBytes(32)),
  }
  const { chainId, channels } = payee
  const id = channelsTypedData({ chainId, verifyingContract: channels }).channelId(config)
  const fresh: BookChannel = {
    id,
    chainId,
    channels,
    config,
    state: 'opening',
    depositUnits: 0n,
    signedUnits: 0n,
    openedAt: new Date().toISOString(),
  }
  const usable = (book: Book): BookChannel | undefined =>
    channelsOf(book, payee).findLast(
      ({ state }) => state === 'opening' || (state === 'open' && flags['newChannel'] !== true),
    )
  const book = await wallet.book.change((before) =>
    usable(before) ? before : { ...before, channels: [...before.channels, fresh] },
  )
  return usable(book) ?? fresh
}

async function payIn(of: Deposit, channel: BookChannel, units: bigint): Promise<BookChannel> {
  const { wallet, chain, payee, shell } = of
  const run = (what: string, finalityDepth: number): Run => ({
    chain,
    wallet,
    finalityDepth,
    onProgress: progressOf(shell, what),
    signal: shell.stops.stop,
  })
  const { collector } = of.terms.contracts
  const domain =
    of.flags['approve'] === true || !collector
      ? null
      : await chain.signedTransfers(payee.token.address, wallet.address)
  if ((await chain.channelId(payee.channels, channel.config)) !== channel.id)
    throw new Failure(EXIT.refused, `${payee.channels} is not the contract Channels`, {
      code: 'contract_unknown',
      next: 'nothing was sent; a gateway that names such a contract means to take the deposit',
    })
  const purpose = `deposit:${channel.id}`
  const begun = (await wallet.book.read()).transactions.some((one) => one.purpose === purpose)
  if (domain === null && !begun) await approve(of, run('approval', 0), units)
  await runTransaction(
    run('deposit', payee.finalityDepth),
    purpose,
    async () => {
      const by =
        domain && collector ? await authorize(of, channel.id, units, { collector, domain }) : null
      return { ...depositCall(payee.channels, channel.config, units, by), amountUnits: units }
    },
    (book, amount) =>
      withChannel(book, channel.id, (one) => ({ ...one, depositUnits: one.depositUnits + amount })),
  )
  shell.terminal.err('the deposit is final\n')
  return bind(of, channel.id)
}

async function approve({ wallet, chain, payee }: Deposit, run: Run, units: bigint): Promise<void> {
  const { token, channels } = payee
  const allowed = await chain.allowance(token.address, wallet.address, channels)
  if (allowed >= units) return
  const call = { ...approveCall(token.address, channels, units), amountUnits: units }
  await runTransaction(
    run,
    `approve:${channels}`,
    async () => call,
    (book) => book,
  )
}

async function authorize(
  { wallet, payee, chain }: Deposit,
  channelId: Hex,
  units: bigint,
  { collector, domain }: { collector: Address; domain: TokenDomain },
): Promise<{ collector: Address; data: Hex }> {
  const { privateKey } = await wallet.unlock()
  const salt = BigInt(hexOf(randomBytes(32)))
  const validBefore = BigInt(await chain.now()) + AUTHORIZATION_S
  const authorization = authorizationOf({
    chainId: payee.chainId,
    token: { address: payee.token.address, ...domain },
    payer: wallet.address,
    collector,
    units,
    channelId,
    salt,
    validBefore,
  })
  const signature = await privateKeyToAccount(privateKey).signTypedData(authorization)
  return { collector, data: collectorData(validBefore, salt, signature) }
}

/** Tells the gateway whose channel it is. It may see the deposit a little later than this wallet. */
async function bind(of: Deposit, id: Hex): Promise<BookChannel> {
  const { wallet, client, shell } = of
  const found = channelIn(await wallet.book.read(), id)
  if (found.state !== 'opening') return found
  // The same ceiling as ever: it proves whose the channel is, and promises nothing more.
  const { maxClaimableAmount, signature } = await signVoucher(wallet, id, 0n)
  const voucher = { channelId: id, maxClaimableAmount: String(maxClaimableAmount), signature }
  for (let told = false; ; told = true) {
    try {
      await client.post('/v1/channels', { config: found.config, voucher })
      break
    } catch (error) {
      if (!(error instanceof Failure && error.code === 'deposit_not_final')) throw error
      if (!told) shell.terminal.err('waiting until the gateway has seen the deposit\n')
      await sleep(BIND_AGAIN_MS, undefined, { signal: shell.stops.stop })
    }
  }
  const book = await wallet.book.change((before) =>
    withChannel(before, id, (one) => ({ ...one, state: 'open' })),
  )
  return channelIn(book, id)
}

const channelIn = (book: Book, id: Hex): BookChannel => {
  const found = book.channels.find((one) => one.id === id)
  if (found === undefined) throw new Error(`channel ${id} was in the book a moment ago`)
  return found
}

export const withChannel = (
  book: Book,
  id: Hex,
  change: (channel: BookChannel) => BookChannel,
): Book => ({
  ...book,
  channels: book.channels.map((one) => (one.id === id ? change(one) : one)),
})

async function report(
  { wallet, payee, flags, shell }: Deposit,
  channel: BookChannel,
): Promise<void> {
  const value = {
    wallet: wallet.name,
    channel: channel.id,
    deposit_units: String(channel.depositUnits),
    signed_units: String(channel.signedUnits),
    test_money: payee.testMoney,
  }
  await print(flags, shell.terminal, value, () => {
    const held = amountText(channel.depositUnits, payee.token)
    return `channel ${channel.id} holds ${held}${moneyLabel(payee.testMoney)}\n`
  })
}
