import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Fault } from '../../../core/base/refusal.ts'
import {
  makeKey,
  MAX_KEYSTORE_BYTES,
  MAX_PBKDF2_ROUNDS,
  openKeystore,
  readKeystore,
  readPrivateKey,
  sealKey,
} from './keystore.ts'

const TIMEOUT = { timeout: 60_000 }

/** The test vectors of the Web3 Secret Storage Definition. */
const VECTOR_KEY = '0x7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d'
const VECTOR_PASSWORD = 'testpassword'
const PBKDF2_VECTOR = {
  crypto: {
    cipher: 'aes-128-ctr',
    cipherparams: { iv: '6087dab2f9fdbbfaddc31a909735c1e6' },
    ciphertext: '5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46',
    kdf: 'pbkdf2',
    kdfparams: {
      c: 262144,
      dklen: 32,
      prf: 'hmac-sha256',
      salt: 'ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd',
    },
    mac: '517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2',
  },
  id: '3198bc9c-6672-5ab3-d995-4942343ae5b6',
  version: 3,
}
const SCRYPT_VECTOR = {
  crypto: {
    cipher: 'aes-128-ctr',
    cipherparams: { iv: '83dbcc02d8ccb40e466191a123791e0e' },
    ciphertext: 'd172bf743a674da9cdad04534d56926ef8358534d458fffccd4e6ad2fbde479c',
    kdf: 'scrypt',
    kdfparams: {
      dklen: 32,
      n: 262144,
      p: 8,
      r: 1,
      salt: 'ab0c7876052600dd703518d6fc3fe8984592145b591fc8fb5c6d43190334ba19',
    },
    mac: '2103ac29920d71da29f15d75b4a16dbe95cfd7ff8faea1056c33131d846e3097',
  },
  id: '3198bc9c-6672-5ab3-d995-4942343ae5b6',
  version: 3,
}

describe('keystore', TIMEOUT, () => {
  for (const [name, vector] of Object.entries({ PBKDF2_VECTOR, SCRYPT_VECTOR }))
    it(`opens the definition's ${name}`, TIMEOUT, async () => {
      const file = readKeystore(JSON.stringify(vector), 'v.json')
      const { privateKey } = await openKeystore(file, VECTOR_PASSWORD, 'v.json')
      assert.equal(privateKey, VECTOR_KEY)
    })

  it('opens what older wallets write: `Crypto`, hex in capitals', TIMEOUT, async () => {
    const { crypto, ...rest } = PBKDF2_VECTOR
    const loud = { ...crypto, mac: crypto.mac.toUpperCase() }
    const file = readKeystore(JSON.stringify({ ...rest, Crypto: loud }), 'v.json')
    assert.equal((await openKeystore(file, VECTOR_PASSWORD, 'v.json')).privateKey, VECTOR_KEY)
  })

  it('gives a key back under its password, and under no other', TIMEOUT, async () => {
    const key = makeKey()
    const text = await sealKey(key.privateKey, 'pässwörd ☂', 1024)
    assert.ok(!text.includes(key.privateKey.slice(2)))
    const file = readKeystore(text, 'w.json')
    assert.deepEqual(await openKeystore(file, 'pässwörd ☂', 'w.json'), key)
    await assert.rejects(openKeystore(file, 'passwort', 'w.json'), fault('wallet_password_wrong'))
  })

  it('asks for what wallets ask for: scrypt with 256 MiB', TIMEOUT, async () => {
    const file = readKeystore(await sealKey(makeKey().privateKey, 'password'), 'w.json')
    assert.equal(file.crypto.kdf, 'scrypt')
    if (file.crypto.kdf !== 'scrypt') return
    const { salt: _, ...params } = file.crypto.kdfparams
    assert.deepEqual(params, { dklen: 32, n: 262_144, r: 8, p: 1 })
  })

  it('notices a changed ciphertext, and an address that is not the key’s', TIMEOUT, async () => {
    const text = await sealKey(makeKey().privateKey, 'password', 1024)
    const json = JSON.parse(text)
    json.crypto.ciphertext = `${json.crypto.ciphertext.slice(0, -2)}00`
    const changed = readKeystore(JSON.stringify(json), 'w.json')
    await assert.rejects(openKeystore(changed, 'password', 'w'), fault('wallet_password_wrong'))
    const other = { ...JSON.parse(text), address: '00'.repeat(20) }
    const named = readKeystore(JSON.stringify(other), 'w.json')
    await assert.rejects(openKeystore(named, 'password', 'w'), fault('wallet_damaged'))
  })

  it('takes parameters up to each limit, and computes nothing above it', () => {
    scrypt(2 ** 19, 8, 1)() // 512 MiB
    scrypt(2 ** 18, 8, 4)() // 2 ** 23 rounds
    assert.throws(scrypt(2 ** 20, 8, 1), fault('wallet_damaged', /more than 512 MiB/))
    assert.throws(scrypt(2 ** 19, 9, 1), fault('wallet_damaged', /more than 512 MiB/))
    assert.throws(scrypt(2 ** 18, 8, 5), fault('wallet_damaged', /more work/))
    assert.throws(scrypt(2 ** 30, 8, 1), fault('wallet_damaged', /MiB/))
    assert.throws(scrypt(100_000, 8, 1), fault('wallet_damaged', /power of two/))
    for (const bad of [0, -1, 1.5, 1e300]) {
      assert.throws(scrypt(1024, bad, 1), fault('wallet_damaged'))
      assert.throws(scrypt(1024, 8, bad), fault('wallet_damaged'))
    }
    rounds(MAX_PBKDF2_ROUNDS)()
    assert.throws(rounds(MAX_PBKDF2_ROUNDS + 1), fault('wallet_damaged', /kdfparams\.c/))
  })

  it('says what is wrong with a file that is none', () => {
    const bad: readonly [string, RegExp][] = [
      ['', /x\.json is no keystore.*not JSON/],
      ['[]', /the file: /],
      ['{"version":1}', /version/],
      [JSON.stringify({ ...SCRYPT_VECTOR, crypto: { kdf: 'md5' } }), /crypto\.kdf/],
      [withParams(SCRYPT_VECTOR, { dklen: 64 }), /dklen/],
      [withParams(SCRYPT_VECTOR, { salt: 'zz' }), /salt: must be 1 to 128 bytes of hex/],
      [withParams(PBKDF2_VECTOR, { prf: 'hmac-md5' }), /prf/],
      [JSON.stringify(SCRYPT_VECTOR).padEnd(MAX_KEYSTORE_BYTES + 1), /larger than 16384 bytes/],
    ]
    for (const [text, why] of bad)
      assert.throws(() => readKeystore(text, 'x.json'), fault('wallet_damaged', why), text)
    readKeystore(JSON.stringify(SCRYPT_VECTOR).padEnd(MAX_KEYSTORE_BYTES), 'x.json')
  })

  it('reads private keys of the curve only, and never quotes one', () => {
    const one = '0x0000000000000000000000000000000000000000000000000000000000000001'
    assert.equal(readPrivateKey(`${one}\n`).address, '0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf')
    assert.equal(readPrivateKey(one.slice(2)).privateKey, one)
    const order = 'fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141'
    for (const text of ['', '0x12', '00'.repeat(32), order, `${one}00`, 'g'.repeat(64)])
      assert.throws(
        () => readPrivateKey(text),
        (error) =>
          error instanceof Fault &&
          error.code === 'wallet_key_invalid' &&
          (text === '' || !error.message.includes(text)),
      )
  })
})

function withParams(vector: typeof SCRYPT_VECTOR | typeof PBKDF2_VECTOR, params: object): string {
  const { crypto } = vector
  const kdfparams = { ...crypto.kdfparams, ...params }
  return JSON.stringify({ ...vector, crypto: { ...crypto, kdfparams } })
}

const scrypt = (n: number, r: number, p: number) => () =>
  readKeystore(withParams(SCRYPT_VECTOR, { n, r, p }), 'hostile.json')

const rounds = (c: number) => () => readKeystore(withParams(PBKDF2_VECTOR, { c }), 'hostile.json')

const fault = (code: string, message = /./) => ({ name: 'Fault', code, message })
