/** Which wallet a command means, and which can pay at a gateway. */
import { payeeAt } from '../../../io/chain/wallet/book-schema.ts'
import { openWallet, type Wallet } from '../../../io/chain/wallet/wallet.ts'
import { listWallets } from '../../../io/chain/wallet/wallet-folder.ts'
import { homeFolder } from '../shell/home.ts'
import { EXIT, Failure } from '../shell/failure.ts'
import { readPassword } from '../shell/wallet-password.ts'
import { textOf, type Flags, type Shell } from './command.ts'

/** Those that have agreed to a gateway: they may have channels there. */
export async function boundWallets(home: string, origin: string): Promise<string[]> {
  const names = await listWallets(home)
  const bound = await Promise.all(
    names.map(async (name) => {
      // A damaged wallet is told of by the command that means it.
      const wallet = await openWallet({ home, name, password: '' }).catch(() => null)
      const book = await wallet?.book.read().catch(() => null)
      return book && payeeAt(book, origin) ? [name] : []
    }),
  )
  return bound.flat()
}

/** `--wallet` or BASELOAD_WALLET, else the only one, else the only one that knows the gateway. Throws Failure. */
export async function chooseWallet(
  flags: Flags,
  shell: Shell,
  origin: string | null,
): Promise<Wallet> {
  const home = homeFolder(textOf(flags, 'home'), shell.env)
  const name = textOf(flags, 'wallet') ?? (shell.env['BASELOAD_WALLET'] || null)
  const file = textOf(flags, 'passwordFile') ?? shell.env['BASELOAD_PASSWORD_FILE']
  const open = async (one: string): Promise<Wallet> =>
    openWallet({
      home,
      name: one,
      password: async () => readPassword(file, shell, `Password of wallet '${one}': `),
    })
  if (name !== null) return open(name)
  const names = await listWallets(home)
  const [first, ...others] = names
  if (first === undefined)
    throw new Failure(EXIT.usage, `there is no wallet in ${home}`, {
      code: 'wallet_unknown',
      next: '`baseload wallet new` makes one',
    })
  if (others.length === 0) return open(first)
  const bound = origin === null ? [] : await boundWallets(home, origin)
  const [only] = bound
  if (only !== undefined && bound.length === 1) return open(only)
  throw new Failure(EXIT.usage, 'there is more than one wallet', {
    code: 'wallet_unclear',
    next: `say which: --wallet ${names.join(' | ')}`,
  })
}
