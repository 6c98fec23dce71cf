/** What the wallet's commands share: amounts, the chain's node, progress, and faults told with their next step. */
import { Fault } from '../../../core/base/refusal.ts'
import { formatUnits, parseUnits } from '../../../core/base/token-amount.ts'
import type { Payee } from '../../../io/chain/wallet/book-schema.ts'
import { connectChain, type PayerChain } from '../../../io/chain/wallet/wallet-chain.ts'
import type { Progress } from '../../../io/chain/wallet/wallet-transaction.ts'
import { EXIT, Failure } from '../shell/failure.ts'
import { paymentFailure } from '../shell/paying.ts'
import { textOf, type Flags, type Shell } from './command.ts'

type Token = { readonly decimals: number; readonly symbol: string }

export async function withFaults<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw error instanceof Fault ? paymentFailure(error) : error
  }
}

/** '0.25' → units. Throws Failure for anything that is no amount above zero. */
export function amountOf(text: string, { decimals, symbol }: Token): bigint {
  const units = parseUnits(text, decimals)
  if (units !== null && units > 0n) return units
  throw new Failure(EXIT.usage, `'${text}' is no amount of ${symbol}`, {
    code: 'amount_invalid',
    next: `plain digits above 0, at most ${decimals} decimals: 5 or 0.25`,
  })
}

export const amountText = (units: bigint, { decimals, symbol }: Token): string =>
  `${formatUnits(units, decimals)} ${symbol}`

/** So that nobody takes it for money. */
export const moneyLabel = (testMoney: boolean): string => (testMoney ? ' (test money)' : '')

/** --rpc, BASELOAD_CHAIN_RPC, or what is known. Throws Failure or Fault. */
export async function chainFor(
  flags: Flags,
  shell: Shell,
  of: { readonly chainId: number; readonly rpcUrl: string | null },
): Promise<PayerChain> {
  const rpc = rpcOf(flags, shell) ?? of.rpcUrl
  if (rpc !== null) return connectChain(rpc, of.chainId)
  throw new Failure(EXIT.usage, `which node of chain ${of.chainId} should be asked?`, {
    code: 'rpc_missing',
    next: 'give --rpc <url>, or set BASELOAD_CHAIN_RPC',
  })
}

export const rpcOf = (flags: Flags, shell: Shell): string | null =>
  textOf(flags, 'rpc') ?? (shell.env['BASELOAD_CHAIN_RPC'] || null)

/** One line for each thing that happens to a transaction, on standard error. */
export const progressOf =
  (shell: Shell, what: string) =>
  (progress: Progress): void => {
    shell.terminal.err(`${shell.terminal.dim(`${what}: ${progressText(progress)}`)}\n`)
  }

function progressText(progress: Progress): string {
  switch (progress.at) {
    case 'resumed':
      return `going on with ${progress.hash}, begun earlier`
    case 'sent':
      return `sent, ${progress.hash}`
    case 'raised':
      return `not mined yet; sent with a higher fee, ${progress.hash}`
    case 'mined':
      return `mined in block ${progress.block}`
    case 'confirming':
      return `${progress.blocks} of ${progress.of} blocks on top of it`
  }
}

/** Ctrl-C: what was begun goes on, and this is how. */
export async function goingOn<T>(command: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof Error && (error.name === 'AbortError' || isInterrupt(error))))
      throw error
    throw new Failure(EXIT.interrupted, 'interrupted; nothing is lost', {
      code: 'interrupted',
      next: `\`${command}\` goes on where it was`,
      cause: error,
    })
  }
}

const isInterrupt = (error: Error): boolean =>
  error instanceof Failure && error.exitCode === EXIT.interrupted

/** 900 → '15 min'. */
export function durationText(seconds: number): string {
  const units: readonly [number, string][] = [
    [86_400, 'days'],
    [3_600, 'h'],
    [60, 'min'],
  ]
  for (const [size, name] of units)
    if (seconds >= 2 * size || (seconds >= size && seconds % size === 0))
      return `${Math.round((10 * seconds) / size) / 10} ${name}`
  return `${seconds} s`
}

/** What is signed for a payee, over all its channels. */
export const budgetText = (payee: Payee, signedUnits: bigint): string =>
  payee.budgetUnits === null
    ? `${amountText(signedUnits, payee.token)} is signed; no budget is set, so that all of the deposit may be`
    : `${amountText(signedUnits, payee.token)} of ${amountText(payee.budgetUnits, payee.token)} is signed`
