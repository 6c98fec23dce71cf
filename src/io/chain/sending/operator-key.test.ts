import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { Wallet } from '@ethereumjs/wallet'
import { hexToBytes, verifyMessage } from 'viem'
import { Fault } from '../../../core/base/refusal.ts'
import { loadOperatorKey } from './operator-key.ts'

describe('the operator’s key', { timeout: 60_000 }, () => {
  it('is made once, for its owner alone', async (t) => {
    const path = join(folder(t), 'gateway', 'chain.key')
    const made = await loadOperatorKey(path)
    assert.equal(statSync(path).mode & 0o777, 0o600)
    const again = await loadOperatorKey(path)
    assert.equal(again.address, made.address)
    const signature = await again.signMessage({ message: 'mine' })
    assert.ok(await verifyMessage({ address: made.address, message: 'mine', signature }))
  })

  it('opens a keystore with its password only', async (t) => {
    const path = join(folder(t), 'chain.json')
    const wallet = Wallet.fromPrivateKey(hexToBytes(`0x${'07'.repeat(32)}`))
    writeFileSync(path, JSON.stringify(await wallet.toV3('open sesame', { kdf: 'pbkdf2', c: 16 })))
    const account = await loadOperatorKey(path, 'open sesame')
    assert.equal(account.address, wallet.getChecksumAddressString())
    for (const password of ['another', null])
      await assert.rejects(loadOperatorKey(path, password), isFault('key_locked', path))
  })

  it('tells a file that is no key by its name, and nothing of what it holds', async (t) => {
    const path = join(folder(t), 'chain.key')
    for (const text of ['', 'beef', `0x${'00'.repeat(32)}`, 'ff'.repeat(32), 'ab'.repeat(33)]) {
      writeFileSync(path, text)
      await assert.rejects(loadOperatorKey(path), (error) => {
        assert.ok(error instanceof Fault)
        return isFault('key_invalid', path)(error) && (text === '' || !error.message.includes(text))
      })
      assert.equal(readFileSync(path, 'utf8'), text, 'it stays as it was')
    }
    await assert.rejects(loadOperatorKey(`${path}.none`, 'pw'), isFault('key_unreadable', path))
  })
})

const isFault =
  (code: string, path: string) =>
  (error: unknown): boolean =>
    error instanceof Fault && error.code === code && error.message.includes(path)

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'baseload-key-'))
  t.after(() => rmSync(path, { recursive: true, force: true }))
  return path
}
