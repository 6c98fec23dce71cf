import assert from 'node:assert/strict'
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { ephemeralIdentity, idOfKey, loadIdentity, verifySignature } from './identity.ts'
import { loadSecret } from './secret.ts'

const modeOf = (path: string) => statSync(path).mode & 0o777

describe('identity', () => {
  it('is made once, kept at mode 0600, and read back as the same', (t) => {
    const path = join(setup(t), 'deep', 'node.key')
    const made = loadIdentity('node', path)
    assert.equal(modeOf(path), 0o600)
    chmodSync(path, 0o644)
    assert.equal(loadIdentity('node', path).publicKey, made.publicKey)
    assert.equal(modeOf(path), 0o600)
  })

  it('has an id that follows from its key, so that nobody can take it', () => {
    const { id, publicKey } = ephemeralIdentity('node')
    assert.match(id, /^node_[0-9a-z]{24}$/)
    assert.equal(idOfKey('node', publicKey), id)
    assert.notEqual(idOfKey('node', ephemeralIdentity('node').publicKey), id)
  })

  it('signs for one domain, one text and one key only', () => {
    const { publicKey, sign } = ephemeralIdentity('gw')
    const signature = sign('domain\n', 'text')
    assert.equal(verifySignature(publicKey, 'domain\n', 'text', signature), true)
    assert.equal(verifySignature(publicKey, 'other\n', 'text', signature), false)
    assert.equal(verifySignature(publicKey, 'domain\n', 'texts', signature), false)
    assert.equal(
      verifySignature(ephemeralIdentity('gw').publicKey, 'domain\n', 'text', signature),
      false,
    )
    for (const garbage of ['', 'x', '=', 'a'.repeat(86)]) {
      assert.equal(verifySignature(publicKey, 'domain\n', 'text', garbage), false)
      assert.equal(verifySignature(garbage, 'domain\n', 'text', signature), false)
    }
  })

  it('refuses a file that holds something else, and leaves it alone', (t) => {
    const path = join(setup(t), 'node.key')
    writeFileSync(path, 'my precious notes')
    assert.throws(() => loadIdentity('node', path), /does not hold an Ed25519 key; move it away/)
    assert.equal(readFileSync(path, 'utf8'), 'my precious notes')
  })
})

describe('secret', () => {
  it('is made once, kept at mode 0600, and refused when its length is wrong', (t) => {
    const path = join(setup(t), 'gateway.secret')
    assert.deepEqual(loadSecret(path), loadSecret(path))
    assert.equal(modeOf(path), 0o600)
    writeFileSync(path, 'short')
    assert.throws(() => loadSecret(path), /must hold 16 bytes, it has 5/)
  })
})

function setup(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'baseload-keys-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}
