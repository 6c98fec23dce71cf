/** `baseload wallet new`, `import` and `list`: keys, and no money yet. */
import { text as readAll } from 'node:stream/consumers'
import {
  makeKey,
  MAX_KEYSTORE_BYTES,
  openKeystore,
  readKeystore,
  readPrivateKey,
  sealKey,
  type UnlockedKey,
} from '../../../io/chain/wallet/keystore.ts'
import { openWallet } from '../../../io/chain/wallet/wallet.ts'
import { listWallets, storeKeystore, walletPaths } from '../../../io/chain/wallet/wallet-folder.ts'
import { askSecret } from '../shell/ask-secret.ts'
import { EXIT, Failure } from '../shell/failure.ts'
import { homeFolder, makePrivateFolder } from '../shell/home.ts'
import { table } from '../shell/terminal.ts'
import { readNewPassword, readPassword, readSecretFile } from '../shell/wallet-password.ts'
import { print, textOf, type Flags, type Shell } from './command.ts'
import { withFaults } from './wallet-parts.ts'

export const newWallet = async (name: string, flags: Flags, shell: Shell): Promise<void> =>
  withFaults(async () => {
    await checkFree(name, flags, shell)
    const password = await readNewPassword(textOf(flags, 'passwordFile'), shell, name)
    await keep(name, makeKey(), password, flags, shell)
  })

export const importWallet = async (name: string, flags: Flags, shell: Shell): Promise<void> =>
  withFaults(async () => {
    await checkFree(name, flags, shell)
    const [keystore, keyFile] = [textOf(flags, 'keystore'), textOf(flags, 'keyFile')]
    if (keystore !== undefined && keyFile !== undefined)
      throw new Failure(EXIT.usage, '--keystore and --key-file are both given', {
        next: 'give one of them',
      })
    if (keystore !== undefined) {
      const file = readKeystore(readSecretFile(keystore, MAX_KEYSTORE_BYTES), keystore)
      const from = textOf(flags, 'passwordFile')
      const password = await readPassword(from, shell, `Password of ${keystore}: `)
      return keep(name, await openKeystore(file, password, keystore), password, flags, shell)
    }
    const key = readPrivateKey(await readKeyText(keyFile, shell))
    const password = await readNewPassword(textOf(flags, 'passwordFile'), shell, name)
    await keep(name, key, password, flags, shell)
  })

/** Far more than 64 digits. */
const MAX_KEY_BYTES = 1024

async function readKeyText(file: string | undefined, shell: Shell): Promise<string> {
  if (file !== undefined) return readSecretFile(file, MAX_KEY_BYTES)
  const { stdio, stops, terminal } = shell
  if (terminal.canAsk) return askSecret(stdio, 'Private key: ', stops.stop)
  return readAll(stdio.stdin)
}

async function checkFree(name: string, flags: Flags, shell: Shell): Promise<void> {
  const home = homeOf(flags, shell)
  const { keystore } = walletPaths(home, name)
  if (!(await listWallets(home)).includes(name)) return
  throw new Failure(EXIT.usage, `there is a wallet '${name}' already (${keystore})`, {
    code: 'wallet_exists',
    next: 'name another: `baseload wallet new <name>`',
  })
}

async function keep(
  name: string,
  key: UnlockedKey,
  password: string,
  flags: Flags,
  shell: Shell,
): Promise<void> {
  const paths = walletPaths(makePrivateFolder(homeOf(flags, shell)), name)
  await storeKeystore(paths, await sealKey(key.privateKey, password))
  const made = { name, address: key.address, keystore: paths.keystore }
  await print(flags, shell.terminal, made, () => {
    shell.terminal.err(
      `wallet '${name}' is in ${paths.keystore}\n` +
        `Copy that file and ${paths.folder} somewhere safe, and remember the password: nobody can give either back.\n`,
    )
    return `${key.address}\n`
  })
}

export const showList = async (flags: Flags, shell: Shell): Promise<void> =>
  withFaults(async () => {
    const home = homeOf(flags, shell)
    const wallets = await Promise.all(
      (await listWallets(home)).map(async (name) => {
        const wallet = await openWallet({ home, name, password: '' })
        const book = await wallet.book.read()
        const gateways = book.payees.flatMap(({ origins }) => origins)
        const open = book.channels.filter(({ state }) => state !== 'closed').length
        return { name, address: wallet.address, open_channels: open, gateways }
      }),
    )
    await print(flags, shell.terminal, { data: wallets }, () => {
      if (wallets.length === 0)
        return `There is no wallet in ${home}; \`baseload wallet new\` makes one.\n`
      const rows = wallets.map(({ name, address, open_channels, gateways }) => [
        name,
        address,
        String(open_channels),
        gateways.join(', ') || 'none yet',
      ])
      return table([['name', 'address', 'channels', 'gateways'], ...rows], [2])
    })
  })

const homeOf = (flags: Flags, shell: Shell): string => homeFolder(textOf(flags, 'home'), shell.env)
