/** A wallet: a key under a password, and the book of what it promised. Opened without the password; unlocked once. */
import { bytesOf, hexOf, type Address, type Hex } from '../../../core/base/hex.ts'
import { Fault } from '../../../core/base/refusal.ts'
import { decideTopUp } from '../../../core/ledger/top-up.ts'
import { secp256k1 } from '../../keys/secp256k1.ts'
import { channelsOf, samePayee, type Book, type BookChannel, type Payee } from './book-schema.ts'
import { openKeystore, type UnlockedKey } from './keystore.ts'
import { PaymentError } from './payment-error.ts'
import { channelsTypedData } from '../typed-data.ts'
import { WalletBook } from './wallet-book.ts'
import { loadKeystore, walletPaths } from './wallet-folder.ts'

export type Wallet = {
  readonly name: string
  readonly address: Address
  readonly book: WalletBook
  /** Asks for the password the first time. Throws a Fault `wallet_password_wrong`. */
  unlock(): Promise<UnlockedKey>
}

/**
 * Opens `<home>/wallets/<name>.json`. `password` is asked for when something is to be signed.
 * Throws a Fault: `wallet_unknown`, `wallet_unreadable`, `wallet_damaged`.
 */
export async function openWallet(options: {
  readonly home: string
  readonly name: string
  readonly password: string | (() => Promise<string>)
}): Promise<Wallet> {
  const paths = walletPaths(options.home, options.name)
  const keystore = await loadKeystore(paths)
  if (keystore.address === undefined)
    throw new Fault(
      'wallet_damaged',
      `${paths.keystore} does not name its address; \`baseload wallet import\` makes one that does`,
    )
  const address: Address = `0x${keystore.address.replace(/^0x/, '').toLowerCase()}`
  let unlocking: Promise<UnlockedKey> | null = null
  return {
    name: options.name,
    address,
    book: new WalletBook(paths.folder, address),
    unlock() {
      const { password } = options
      const opened = async (): Promise<UnlockedKey> =>
        openKeystore(
          keystore,
          typeof password === 'string' ? password : await password(),
          paths.keystore,
        )
      unlocking ??= opened().catch((error: unknown) => {
        // A mistyped password is asked for again.
        unlocking = null
        throw error
      })
      return unlocking
    },
  }
}

export type SignedVoucher = {
  readonly channelId: Hex
  readonly maxClaimableAmount: bigint
  readonly signature: Hex
  /** By how much it raises what was signed before; 0: the same voucher once more. */
  readonly raisedUnits: bigint
}

/**
 * Signs the next voucher of a channel, as far as deposit, budget and what was agreed allow; `needUnits` 0 signs again what is
 * signed already. The new ceiling is on the disk before this resolves. Throws PaymentError.
 */
export async function signVoucher(
  wallet: Wallet,
  channelId: Hex,
  needUnits: bigint,
  budgetUnits: bigint | null = null,
): Promise<SignedVoucher> {
  // Before anything is written: a wrong password must not use up the budget.
  const { privateKey } = await wallet.unlock()
  let raisedUnits = 0n
  const book = await wallet.book.change((before) => {
    const { channel, payee } = findChannel(before, channelId)
    const ceiling = nextCeiling(before, { channel, payee, needUnits, budgetUnits })
    raisedUnits = ceiling - channel.signedUnits
    return raisedUnits === 0n ? before : withSigned(before, channelId, ceiling)
  })
  const { channel } = findChannel(book, channelId)
  const typed = channelsTypedData({ chainId: channel.chainId, verifyingContract: channel.channels })
  // What this process wrote, not what another may have written since.
  const maxClaimableAmount = channel.signedUnits
  const digest = typed.voucherDigest(channelId, maxClaimableAmount)
  const signature = hexOf(secp256k1.sign(digest, bytesOf(privateKey)))
  return { channelId, maxClaimableAmount, signature, raisedUnits }
}

function nextCeiling(
  book: Book,
  of: { channel: BookChannel; payee: Payee; needUnits: bigint; budgetUnits: bigint | null },
): bigint {
  const { channel, payee, needUnits } = of
  if (channel.state === 'closed' || channel.state === 'exiting') {
    if (needUnits <= channel.signedUnits) return channel.signedUnits
    throw new PaymentError('channel_closed', { channel, payee, needUnits, limitUnits: 0n })
  }
  const others = channelsOf(book, payee).filter(({ id }) => id !== channel.id)
  const decided = decideTopUp(
    {
      signedUnits: channel.signedUnits,
      depositUnits: channel.depositUnits,
      otherSignedUnits: others.reduce((sum, { signedUnits }) => sum + signedUnits, 0n),
      budgetUnits: least(payee.budgetUnits, of.budgetUnits),
      stepUnits: payee.stepUnits,
      atOnceUnits: payee.atOnceUnits,
    },
    needUnits,
  )
  if ('ceiling' in decided) return decided.ceiling
  const { refused, limitUnits } = decided
  throw new PaymentError(refused, { channel, payee, needUnits, limitUnits })
}

function findChannel(book: Book, id: Hex): { channel: BookChannel; payee: Payee } {
  const channel = book.channels.find((one) => one.id === id)
  const payee = book.payees.find(
    (one) => channel && samePayee({ ...channel, receiver: channel.config.receiver }, one),
  )
  if (channel && payee) return { channel, payee }
  throw new Fault('channel_unknown', `this wallet has no channel ${id}`)
}

const withSigned = (book: Book, id: Hex, signedUnits: bigint): Book => ({
  ...book,
  channels: book.channels.map((one) => (one.id === id ? { ...one, signedUnits } : one)),
})

const least = (a: bigint | null, b: bigint | null): bigint | null =>
  a === null || (b !== null && b < a) ? b : a
