/** Where wallets are: `<home>/wallets/<name>.json`, the keystore, and `<home>/wallets/<name>/`, what it promised. */
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { Fault, reasonOf } from '../../../core/base/refusal.ts'
import { MAX_KEYSTORE_BYTES, readKeystore, type Keystore } from './keystore.ts'
import { isCode, writeNewFile } from './new-file.ts'

/** The name is part of a path. */
export const WALLET_NAME = /^[a-z0-9][a-z0-9_-]{0,31}$/

export type WalletPaths = {
  readonly name: string
  readonly keystore: string
  readonly folder: string
}

/** Throws a Fault `wallet_name_invalid`. */
export function walletPaths(home: string, name: string): WalletPaths {
  if (!WALLET_NAME.test(name))
    throw new Fault(
      'wallet_name_invalid',
      `'${name}' names no wallet: 1 to 32 of a-z, 0-9, - and _, the first a letter or digit`,
    )
  const all = join(home, 'wallets')
  return { name, keystore: join(all, `${name}.json`), folder: join(all, name) }
}

/** The names of all wallets, in order. */
export async function listWallets(home: string): Promise<string[]> {
  const entries = await readdir(join(home, 'wallets')).catch((error: unknown) => {
    if (isCode(error, 'ENOENT')) return []
    throw error
  })
  const names = entries.filter((name) => name.endsWith('.json')).map((name) => name.slice(0, -5))
  return names.filter((name) => WALLET_NAME.test(name)).toSorted()
}

/** Throws a Fault: `wallet_unknown`, `wallet_unreadable` or `wallet_damaged`. */
export async function loadKeystore({ name, keystore }: WalletPaths): Promise<Keystore> {
  return readKeystore(await readText(name, keystore), keystore)
}

async function readText(name: string, path: string): Promise<string> {
  try {
    if ((await stat(path)).size <= MAX_KEYSTORE_BYTES) return await readFile(path, 'utf8')
  } catch (error) {
    if (isCode(error, 'ENOENT'))
      throw new Fault('wallet_unknown', `there is no wallet '${name}' (${path})`, { cause: error })
    throw new Fault('wallet_unreadable', `cannot read ${path}: ${reasonOf(error)}`, {
      cause: error,
    })
  }
  throw new Fault('wallet_damaged', `${path} is larger than a keystore may be`)
}

/** Throws a Fault `wallet_exists`: a key is never written over. */
export async function storeKeystore({ name, keystore }: WalletPaths, text: string): Promise<void> {
  if (await writeNewFile(keystore, text)) return
  throw new Fault('wallet_exists', `there is a wallet '${name}' already (${keystore})`)
}
