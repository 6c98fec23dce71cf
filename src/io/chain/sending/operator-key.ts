/** The operator's key on the chain: it receives what tenants pay and signs what the network sends. It is never logged. */
import { randomBytes } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { Wallet } from '@ethereumjs/wallet'
import { toHex, type LocalAccount } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { Fault } from '../../../core/base/refusal.ts'

/**
 * Reads the key at `path`: 64 hex digits, or a version 3 keystore, which needs its password. Makes one with mode 0600 where
 * there is none and no password is given. Throws a Fault that names the file.
 */
export async function loadOperatorKey(
  path: string,
  password: string | null = null,
): Promise<LocalAccount> {
  if (!existsSync(path)) {
    if (password !== null)
      throw new Fault(
        'key_unreadable',
        `There is no keystore at ${path}, for which a password is given.`,
      )
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
    // 'wx': of two that start together one makes it.
    writeFileSync(path, `${toHex(randomBytes(32)).slice(2)}\n`, { mode: 0o600, flag: 'wx' })
  }
  chmodSync(path, 0o600)
  const text = readFileSync(path, 'utf8').trim()
  if (text.startsWith('{')) return await openKeystore(path, text, password)
  if (/^(0x)?[0-9a-fA-F]{64}$/.test(text)) {
    try {
      return privateKeyToAccount(`0x${text.slice(-64)}`)
    } catch {
      // Nought, or above the curve's order: no key. What is wrong with it is not told, for it may be nearly one.
    }
  }
  throw new Fault(
    'key_invalid',
    `${path} holds neither 64 hex digits nor a keystore. Move it away to make a new key, or restore it.`,
  )
}

async function openKeystore(
  path: string,
  text: string,
  password: string | null,
): Promise<LocalAccount> {
  if (password === null)
    throw new Fault(
      'key_locked',
      `${path} is a keystore: give its password in the file that chainKeyPasswordFile names.`,
    )
  try {
    const wallet = await Wallet.fromV3(text, password, true)
    return privateKeyToAccount(toHex(wallet.getPrivateKey()))
  } catch {
    throw new Fault('key_locked', `The keystore at ${path} does not open: its password is another.`)
  }
}
