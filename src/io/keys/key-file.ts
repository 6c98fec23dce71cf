/** Private keys on disk: made on first run, kept as PKCS#8 PEM files that only their owner can read. */
import {
  createPrivateKey,
  generateKeyPairSync,
  type KeyObject,
  type KeyPairKeyObjectResult,
} from 'node:crypto'
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { Fault } from '../../core/base/refusal.ts'

export type KeyKind = 'ed25519' | 'x25519'

/** Reads the key at `path`, or makes one there with mode 0600. Throws a Fault when it holds something else. */
export function loadPrivateKey(kind: KeyKind, path: string): KeyObject {
  const existing = readPem(path)
  if (existing !== null) return parsePem(kind, existing, path)
  const privateKey = makePrivateKey(kind)
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' })
  // 'wx': two processes that start together must not each think they made the key.
  writeFileSync(path, pem, { mode: 0o600, flag: 'wx' })
  return privateKey
}

export function makePrivateKey(kind: KeyKind): KeyObject {
  // The overloads of generateKeyPairSync take one literal each.
  const pair: KeyPairKeyObjectResult =
    kind === 'ed25519' ? generateKeyPairSync('ed25519') : generateKeyPairSync('x25519')
  return pair.privateKey
}

function readPem(path: string): string | null {
  try {
    const pem = readFileSync(path, 'utf8')
    chmodSync(path, 0o600)
    return pem
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null
    throw new Fault('key_unreadable', `cannot read the key at ${path}`, { cause: error })
  }
}

const NAMES = { ed25519: 'an Ed25519', x25519: 'an X25519' } as const

function parsePem(kind: KeyKind, pem: string, path: string): KeyObject {
  try {
    const key = createPrivateKey(pem)
    if (key.asymmetricKeyType !== kind) throw new Error(`it is ${key.asymmetricKeyType}`)
    return key
  } catch (error) {
    const message = `${path} does not hold ${NAMES[kind]} key; move it away to make a new one`
    throw new Fault('key_invalid', message, { cause: error })
  }
}
