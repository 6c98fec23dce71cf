/**
 * A private key under a password: Web3 Secret Storage, version 3, which every Ethereum wallet reads. Written with scrypt;
 * read with scrypt or PBKDF2. What a file asks for is checked before anything is computed.
 */
import { Wallet } from '@ethereumjs/wallet'
import { z } from 'zod'
import { Fault, reasonOf } from '../../../core/base/refusal.ts'
import type { Address, Hex } from '../../../core/base/hex.ts'

/** A keystore has about 500 bytes. */
export const MAX_KEYSTORE_BYTES = 16 * 1024
/** Of scrypt while it reads: twice what wallets ask for (n 262144, r 8), so that no file takes all memory. */
export const MAX_SCRYPT_MIB = 512
/** n × r × p, the time it takes: four times that of n 262144, r 8, p 1. */
export const MAX_SCRYPT_WORK = 2 ** 23
/** Rounds of PBKDF2: some seconds. */
export const MAX_PBKDF2_ROUNDS = 10_000_000
/** What new keystores ask for: 256 MiB and about a second. */
const SCRYPT = { n: 262_144, r: 8, p: 1 }

export type UnlockedKey = { readonly privateKey: Hex; readonly address: Address }

const hex = (bytes: number) =>
  z.string().regex(new RegExp(`^[0-9a-fA-F]{${2 * bytes}}$`), `must be ${bytes} bytes of hex`)
const salt = z.string().regex(/^([0-9a-fA-F]{2}){1,128}$/, 'must be 1 to 128 bytes of hex')
const whole = z.number().int().min(1)

const scryptParams = z
  .object({ dklen: z.literal(32), n: whole, r: whole, p: whole, salt })
  .refine(({ n }) => n >= 2 && Number.isInteger(Math.log2(n)), 'n must be a power of two')
  .refine(
    ({ n, r }) => 128 * n * r <= MAX_SCRYPT_MIB * 2 ** 20,
    `it asks for more than ${MAX_SCRYPT_MIB} MiB of memory`,
  )
  .refine(
    ({ n, r, p }) => n * r * p <= MAX_SCRYPT_WORK,
    `it asks for more work than ${MAX_SCRYPT_WORK} rounds of scrypt`,
  )

const pbkdf2Params = z.object({
  dklen: z.literal(32),
  c: whole.max(MAX_PBKDF2_ROUNDS),
  prf: z.literal('hmac-sha256'),
  salt,
})

const sealed = {
  cipher: z.literal('aes-128-ctr'),
  cipherparams: z.object({ iv: hex(16) }),
  ciphertext: hex(32),
  mac: hex(32),
}

const keystore = z.object({
  version: z.literal(3),
  address: z
    .string()
    .regex(/^(0x)?[0-9a-fA-F]{40}$/, 'must be an address')
    .optional(),
  crypto: z.discriminatedUnion('kdf', [
    z.object({ ...sealed, kdf: z.literal('scrypt'), kdfparams: scryptParams }),
    z.object({ ...sealed, kdf: z.literal('pbkdf2'), kdfparams: pbkdf2Params }),
  ]),
})
export type Keystore = z.output<typeof keystore>

/**
 * The keystore of a key, as JSON text. `n` is lowered by tests alone.
 * Throws a Fault `wallet_key_invalid` for 32 bytes that are no key of secp256k1.
 */
export async function sealKey(privateKey: Hex, password: string, n = SCRYPT.n): Promise<string> {
  const wallet = walletOf(privateKey)
  return `${await wallet.toV3String(password, { kdf: 'scrypt', ...SCRYPT, n })}\n`
}

/** Checks the form of a keystore. Throws a Fault `wallet_damaged` that says what is wrong; `from` names the file. */
export function readKeystore(text: string, from: string): Keystore {
  if (Buffer.byteLength(text) > MAX_KEYSTORE_BYTES)
    throw damaged(from, `it is larger than ${MAX_KEYSTORE_BYTES} bytes`)
  const parsed = keystore.safeParse(lowerCaseCrypto(parseJson(text, from)))
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  throw damaged(from, `${issue?.path.join('.') || 'the file'}: ${issue?.message ?? 'unknown'}`)
}

/** Throws a Fault: `wallet_password_wrong`, or `wallet_damaged` where the key is not that of the address beside it. */
export async function openKeystore(
  file: Keystore,
  password: string,
  from: string,
): Promise<UnlockedKey> {
  const found = await Wallet.fromV3(inLowerCase(file), password).catch((error: unknown) => {
    const why = `the password does not open ${from} (or its ciphertext was changed)`
    throw new Fault('wallet_password_wrong', why, { cause: error })
  })
  const key = unlocked(found)
  if (file.address !== undefined && addressIn(file.address) !== key.address.toLowerCase())
    throw damaged(
      from,
      `it names ${addressIn(file.address)}, but its key is that of ${key.address}`,
    )
  return key
}

/** 32 random bytes that are a key. */
export const makeKey = (): UnlockedKey => unlocked(Wallet.generate())

/** 64 digits of hex, with or without 0x. Throws a Fault `wallet_key_invalid`, which never quotes them. */
export function readPrivateKey(text: string): UnlockedKey {
  const [, digits] = /^(?:0x)?([0-9a-fA-F]{64})$/.exec(text.trim()) ?? []
  if (digits !== undefined) return unlocked(walletOf(`0x${digits}`))
  throw new Fault('wallet_key_invalid', 'a private key has 64 digits of hex; this has not')
}

function walletOf(privateKey: Hex): Wallet {
  try {
    return Wallet.fromPrivateKey(Buffer.from(privateKey.slice(2), 'hex'))
  } catch (error) {
    const why = 'these 32 bytes are no private key: 0, or not below the order of secp256k1'
    throw new Fault('wallet_key_invalid', why, { cause: error })
  }
}

function unlocked(wallet: Wallet): UnlockedKey {
  const address: Address = `0x${wallet.getChecksumAddressString().slice(2)}`
  return { address, privateKey: `0x${wallet.getPrivateKeyString().slice(2)}` }
}

const addressIn = (text: string): string => `0x${text.replace(/^0x/, '').toLowerCase()}`

/** The library compares hex as text. */
function inLowerCase({ version, crypto }: Keystore): string {
  return JSON.stringify({ version, crypto }).toLowerCase()
}

function parseJson(text: string, from: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw damaged(from, `it is not JSON: ${reasonOf(error)}`)
  }
}

/** Some wallets write `Crypto`. */
function lowerCaseCrypto(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || !('Crypto' in value)) return value
  return { ...value, crypto: value.Crypto }
}

const damaged = (from: string, why: string): Fault =>
  new Fault('wallet_damaged', `${from} is no keystore (Web3 Secret Storage 3): ${why}`)
