/** Whom a deposit is for: what the gateway says of its chain, checked, and agreed to by the wallet's owner. */
import { payeeAt, samePayee, type Book, type Payee } from '../../../io/chain/wallet/book-schema.ts'
import { chainAnswer, type ChainAnswer } from '../../../io/chain/wallet/channel-answers.ts'
import type { PayerChain } from '../../../io/chain/wallet/wallet-chain.ts'
import type { Wallet } from '../../../io/chain/wallet/wallet.ts'
import { askYesNo } from '../shell/ask.ts'
import { EXIT, Failure } from '../shell/failure.ts'
import type { GatewayClient } from '../shell/gateway-client.ts'
import { understand } from './answers.ts'
import type { Flags, Shell } from './command.ts'
import { rpcOf } from './wallet-parts.ts'

/** One voucher raises what is signed by so many steps at most, unless its owner says otherwise. */
const STEPS_AT_ONCE = 10n
/** Anvil's and Hardhat's: whatever its gateway says. */
const DEVELOPMENT_CHAIN = 31_337

export async function readTerms(client: GatewayClient): Promise<ChainAnswer> {
  return understand(chainAnswer, await client.get('/v1/chain'))
}

export const isTestMoney = (terms: ChainAnswer): boolean =>
  terms.test_money || terms.chain_id === DEVELOPMENT_CHAIN

/** Throws Failure where the chain does not have what the gateway names. */
export async function checkTerms(chain: PayerChain, terms: ChainAnswer): Promise<void> {
  const { channels, collector } = terms.contracts
  const named = [
    ['channels', channels],
    ['token', terms.token.address],
    ...(collector ? ([['collector', collector]] as const) : []),
  ] as const
  for (const [what, address] of named)
    if (!(await chain.hasCode(address)))
      throw new Failure(EXIT.refused, `there is no contract at ${address}, the gateway's ${what}`, {
        code: 'contract_missing',
        next: 'nothing was sent; ask who runs the gateway, or try another node with --rpc <url>',
      })
}

/** The payee as the book will have it; budget and steps stay as they were agreed. */
export function payeeOf(
  terms: ChainAnswer,
  before: Payee | null,
  of: { readonly origin: string; readonly rpcUrl: string | null },
): Payee {
  const { address, decimals, symbol } = terms.token
  return {
    chainId: terms.chain_id,
    channels: terms.contracts.channels,
    receiver: terms.operator,
    token: { address, decimals, symbol },
    testMoney: isTestMoney(terms),
    origins: [...new Set([...(before?.origins ?? []), of.origin])],
    rpcUrl: of.rpcUrl,
    finalityDepth: terms.finality_depth,
    budgetUnits: before?.budgetUnits ?? null,
    stepUnits: before?.stepUnits ?? terms.voucher_step,
    atOnceUnits: before?.atOnceUnits ?? atOnceOf(terms),
  }
}

/** Ten steps, and a whole token at least: an hour of a lease is held at once. */
const atOnceOf = ({ voucher_step, token }: ChainAnswer): bigint => {
  const whole = 10n ** BigInt(token.decimals)
  return voucher_step * STEPS_AT_ONCE > whole ? voucher_step * STEPS_AT_ONCE : whole
}

/** What the wallet knows of this receiver. */
export function receiverText(book: Book, payee: Payee, origin: string): string {
  const bound = payeeAt(book, origin)
  if (bound && samePayee(bound, payee)) return 'as before'
  if (bound) return `NOT the one that this gateway had before, ${bound.receiver}`
  const known = book.payees.find((one) => samePayee(one, payee))
  return known ? `that of ${known.origins.join(', ')}, too` : 'this wallet has not paid it before'
}

/** Throws Failure unless the receiver is what it was for this gateway, or is agreed to. */
export async function agree(
  wallet: Wallet,
  payee: Payee,
  origin: string,
  flags: Flags,
  shell: Shell,
): Promise<void> {
  const book = await wallet.book.read()
  const bound = payeeAt(book, origin)
  if (!(bound && samePayee(bound, payee)) && !(await accepts(payee, flags, shell)))
    throw new Failure(EXIT.usage, `${payee.receiver} may not be paid yet`, {
      code: 'receiver_new',
      next: `where it is the gateway's: --accept-receiver ${payee.receiver}`,
    })
  await wallet.book.change((before) => ({
    ...before,
    payees: [
      ...before.payees
        .filter((one) => !samePayee(one, payee))
        .map((one) => ({ ...one, origins: one.origins.filter((other) => other !== origin) })),
      payee,
    ],
  }))
}

async function accepts(payee: Payee, flags: Flags, { terminal, stops }: Shell): Promise<boolean> {
  const { acceptReceiver } = flags
  if (acceptReceiver === true) return true
  if (typeof acceptReceiver === 'string') return acceptReceiver.toLowerCase() === payee.receiver
  return terminal.canAsk && askYesNo(`Agree to pay ${payee.receiver}?`, stops.stop)
}

/** What the user names goes before what the gateway names. */
export const rpcFor = (terms: ChainAnswer, flags: Flags, shell: Shell): string | null =>
  rpcOf(flags, shell) ?? terms.rpc_url ?? null
