/** How commands pay: with the wallet that has channels at the gateway, once that asks for a voucher. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { Fault } from '../../../core/base/refusal.ts'
import { formatUnits } from '../../../core/base/token-amount.ts'
import type { Shell } from '../commands/command.ts'
import type { Access } from './client-settings.ts'
import { EXIT, Failure, failureOf } from './failure.ts'
import { readPassword } from './wallet-password.ts'

/** Plain `fetch` where this home has no wallet. `quiet`: vouchers are not told of. */
export function payingSend(access: Access, shell: Shell, quiet: boolean): typeof fetch {
  const { home } = access
  if (!existsSync(join(home, 'wallets'))) return fetch
  let found: Promise<typeof fetch> | null = null
  return async (input, init) => {
    found ??= chooseSend(access, shell, quiet)
    const send = await found
    try {
      return await send(input, init)
    } catch (error) {
      throw error instanceof Fault ? paymentFailure(error) : error
    }
  }
}

async function chooseSend(access: Access, shell: Shell, quiet: boolean): Promise<typeof fetch> {
  // Loaded where there is a wallet: the other commands start without it.
  const { openWallet, payingFetch } = await import('../../../io/chain/wallet/paying-fetch.ts')
  const { boundWallets } = await import('../commands/wallet-choice.ts')
  const bound = await boundWallets(access.home, new URL(access.url).origin)
  const { wallet: wanted, passwordFile, url: gateway } = access
  const names = wanted === null ? bound : [wanted]
  const [name] = names
  if (name === undefined) return fetch
  if (names.length > 1) return refusing(names)
  const wallet = await openWallet({
    home: access.home,
    name,
    password: async () =>
      readPassword(passwordFile ?? undefined, shell, `Password of wallet '${name}': `),
  })
  const onVoucher = async (voucher: { maxClaimableAmount: bigint }): Promise<void> => {
    const { payees } = await wallet.book.read()
    const token = payees.find(({ origins }) => origins.includes(new URL(gateway).origin))?.token
    const amount = formatUnits(voucher.maxClaimableAmount, token?.decimals ?? 0)
    const text = `wallet ${name}: signed up to ${amount} ${token?.symbol ?? 'units'}`
    shell.terminal.err(`${shell.terminal.dim(text)}\n`)
  }
  return payingFetch({
    wallet,
    gateway,
    ...(quiet ? {} : { onVoucher }),
  })
}

/** Several wallets could pay: nobody but their owner says which. */
const refusing =
  (names: readonly string[]): typeof fetch =>
  async (input, init) => {
    const response = await fetch(input, init)
    if (response.status !== 402) return response
    await response.body?.cancel()
    throw new Failure(EXIT.usage, 'more than one wallet could pay here', {
      code: 'wallet_unclear',
      next: `say which: --wallet ${names.join(' | ')}`,
    })
  }

/** A wallet's fault, with its next step. */
export function paymentFailure(fault: Fault): Failure {
  const next = 'next' in fault && typeof fault.next === 'string' ? fault.next : NEXT[fault.code]
  const exitCode = fault.code === 'chain_unreachable' ? EXIT.unreachable : exitOf(fault)
  if (next === undefined && exitCode === EXIT.failure) return failureOf(fault)
  return new Failure(exitCode, fault.message, {
    code: fault.code,
    cause: fault,
    ...(next === undefined ? {} : { next }),
  })
}

const exitOf = ({ code }: Fault) =>
  REFUSED.has(code) ? EXIT.refused : USAGE.has(code) ? EXIT.usage : EXIT.failure

const REFUSED = new Set([
  'budget_used_up',
  'deposit_used_up',
  'voucher_too_large',
  'channel_closed',
  'voucher_refused',
  'transaction_would_fail',
  'transaction_failed',
])
const USAGE = new Set([
  'wallet_unknown',
  'wallet_exists',
  'wallet_name_invalid',
  'wallet_key_invalid',
  'wallet_password_wrong',
  'chain_wrong',
])

const NEXT: Readonly<Record<string, string>> = {
  wallet_unknown:
    '`baseload wallet list` shows those of this home; `baseload wallet new` makes one',
  wallet_exists: 'name another: `baseload wallet new <name>`',
  wallet_password_wrong: 'try again, or set BASELOAD_WALLET_PASSWORD or --password-file',
  wallet_damaged:
    'put the file back from a copy, or import the key: `baseload wallet import <name>`',
  wallet_book_damaged: 'put the file back from a copy; channels stay on the chain meanwhile',
  chain_unreachable: 'check the address: --rpc <url> or BASELOAD_CHAIN_RPC',
  chain_wrong: 'name a node of the right chain: --rpc <url> or BASELOAD_CHAIN_RPC',
  gas_missing:
    'send some of the chain’s own coin to the address that `baseload wallet show` prints',
  transaction_replaced: 'run the same command again',
  voucher_refused: '`baseload wallet show` compares what the gateway says with the chain',
}
