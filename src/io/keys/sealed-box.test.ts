import assert from 'node:assert/strict'
import { createPrivateKey } from 'node:crypto'
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { Fault } from '../../core/base/refusal.ts'
import { hpkeOpen, hpkeSeal, publicKeyOf } from './hpke.ts'
import { ephemeralSealingKey, loadSealingKey, MAX_SEALED_BYTES, seal } from './sealed-box.ts'

const hex = (text: string): Buffer => Buffer.from(text, 'hex')

describe('hpke', () => {
  /** RFC 9180, A.2.1, sequence number 0. */
  const vector = {
    info: hex('4f6465206f6e2061204772656369616e2055726e'),
    ephemeral: hex('f4ec9b33b792c372c1d2c2063507b684ef925b8c75a42dbcbf57d63ccd381600'),
    encapsulated: hex('1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a'),
    privateKey: hex('8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb'),
    publicKey: hex('4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a'),
    plaintext: hex('4265617574792069732074727574682c20747275746820626561757479'),
    aad: hex('436f756e742d30'),
    ciphertext: hex(
      '1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28',
    ),
  }

  it('seals and opens the vector of RFC 9180', () => {
    const { plaintext, ciphertext, encapsulated } = vector
    const sealed = hpkeSeal(
      plaintext,
      publicKeyOf(vector.publicKey),
      privateKeyOf(vector.ephemeral),
      vector,
    )
    assert.deepEqual(sealed, { encapsulated, ciphertext })
    const opened = hpkeOpen(ciphertext, encapsulated, privateKeyOf(vector.privateKey), vector)
    assert.deepEqual(opened, plaintext)
  })
})

describe('a sealed box', () => {
  it('opens to what was sealed, for its recipient', () => {
    const key = ephemeralSealingKey()
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 500 }), fc.string(), (plaintext, about) => {
        assert.deepEqual(
          key.open(seal(plaintext, key.publicKey, about), about),
          Buffer.from(plaintext),
        )
      }),
    )
  })

  it('is another each time', () => {
    const key = ephemeralSealingKey()
    const [a, b] = [seal(hex('00'), key.publicKey, ''), seal(hex('00'), key.publicKey, '')]
    assert.notDeepEqual(a.subarray(1, 33), b.subarray(1, 33))
    assert.notDeepEqual(a.subarray(33), b.subarray(33))
  })

  it('stays shut for any other key, for any other thing, and when any bit of it is changed', () => {
    const key = ephemeralSealingKey()
    const box = seal(Buffer.from('DB_PASSWORD=hunter2'), key.publicKey, 'lease_1/1')
    staysShut(() => ephemeralSealingKey().open(box, 'lease_1/1'))
    staysShut(() => key.open(box, 'lease_1/2'))
    staysShut(() => key.open(box, ''))
    for (let bit = 0; bit < box.length * 8; bit++) {
      const changed = Buffer.from(box)
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      // X25519 ignores the highest bit of a public key, but the key schedule does not.
      staysShut(() => key.open(changed, 'lease_1/1'))
    }
    for (let end = 0; end < box.length; end++)
      staysShut(() => key.open(box.subarray(0, end), 'lease_1/1'))
    staysShut(() => key.open(Buffer.concat([box, hex('00')]), 'lease_1/1'))
    staysShut(() => key.open(Buffer.alloc(MAX_SEALED_BYTES + 50), 'lease_1/1'))
  })

  it('is not made for a key that is none, or a weak one', () => {
    const weak = ['00'.repeat(32), `01${'00'.repeat(31)}`, `ecff${'ff'.repeat(29)}7f`]
    const keys = weak.map((key) => hex(key).toString('base64url'))
    for (const key of [...keys, '', 'short', 'x'.repeat(44)]) {
      assert.throws(
        () => seal(hex('00'), key, ''),
        (error) => error instanceof Fault && error.code === 'sealing_key_invalid',
      )
    }
    const key = ephemeralSealingKey()
    const forged = Buffer.concat([hex('01'), hex('00'.repeat(32)), Buffer.alloc(40)])
    staysShut(() => key.open(forged, ''))
  })

  it('has a limit', () => {
    const { publicKey } = ephemeralSealingKey()
    assert.throws(() => seal(Buffer.alloc(MAX_SEALED_BYTES + 1), publicKey, ''), RangeError)
  })
})

describe('a sealing key', () => {
  it('is made once, for its owner alone, and is no signing key', (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'sealing-'))
    t.after(() => rmSync(folder, { recursive: true }))
    const path = join(folder, 'deep', 'sealing.key')
    const made = loadSealingKey(path)
    assert.equal(statSync(path).mode & 0o777, 0o600)
    const again = loadSealingKey(path)
    assert.equal(again.publicKey, made.publicKey)
    assert.deepEqual(again.open(seal(hex('07'), made.publicKey, 'x'), 'x'), hex('07'))
    writeFileSync(path, 'nonsense')
    assert.throws(() => loadSealingKey(path), /does not hold an X25519 key/)
  })
})

function staysShut(open: () => Buffer): void {
  assert.throws(open, (error) => error instanceof Fault && error.code === 'sealed_box_invalid')
}

/** PKCS#8 of X25519 is this prefix and the 32 raw bytes (RFC 8410). */
function privateKeyOf(raw: Buffer) {
  const key = Buffer.concat([hex('302e020100300506032b656e04220420'), raw])
  return createPrivateKey({ key, format: 'der', type: 'pkcs8' })
}
