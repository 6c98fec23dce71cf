import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { makeCertificate, type MadeCertificate } from '../../../io/http/test-certificates.ts'
import { silentLogger } from '../../../io/telemetry/logger.ts'
import { CertificateFiles } from './certificate-files.ts'

describe("an operator's certificates", () => {
  it('are found by the hosts that they name; the first is for all others', async (t) => {
    const { write } = setup(t)
    const one = write('one', await makeCertificate(['gateway.example', '*.lease.example']))
    const two = write('two', await makeCertificate(['shop.example']))
    const files = new CertificateFiles([one, two], silentLogger)
    assert.equal(files.find('gateway.example'), files.first)
    assert.equal(files.find('web.lease.example'), files.first)
    assert.ok(files.find('shop.example')?.covers('shop.example'))
    for (const none of ['web.abc.lease.example', 'lease.example', 'other.example', ''])
      assert.equal(files.find(none), null, none)
  })

  it('are used anew when they change, and stay while what is there does not fit', async (t) => {
    const { write, warnings, logger } = setup(t)
    const first = await makeCertificate(['a.example'])
    const second = await makeCertificate(['a.example'])
    const file = write('a', first)
    const files = new CertificateFiles([file], logger)
    assert.equal(files.reload(), false)
    writeFileSync(file.cert, second.cert)
    assert.equal(files.reload(), false, 'the key is still the old one')
    assert.equal(files.reload(), false)
    assert.equal(files.first?.pem.cert, first.cert)
    assert.equal(warnings.length, 1, 'told once')
    writeFileSync(file.key, second.key)
    assert.equal(files.reload(), true)
    assert.equal(files.find('a.example')?.pem.cert, second.cert)
    rmSync(file.cert)
    assert.equal(files.reload(), false)
    assert.deepEqual([files.first?.pem.cert, warnings.length], [second.cert, 2])
  })

  it('are refused at the start when they cannot be used, with the file and the reason', async (t) => {
    const { write, folder } = setup(t)
    const made = await makeCertificate(['a.example'])
    const { key } = await makeCertificate(['b.example'])
    const cases: [{ cert: string; key: string }, RegExp][] = [
      [write('mixed', { ...made, key }), /mixed\.crt.*the key is not that of the certificate/],
      [write('text', { ...made, cert: 'hello' }), /text\.crt/],
      [{ cert: join(folder, 'none.crt'), key: join(folder, 'none.key') }, /none\.crt.*ENOENT/],
    ]
    for (const [file, message] of cases)
      assert.throws(() => new CertificateFiles([file], silentLogger), {
        code: 'certificate_invalid',
        message,
      })
  })
})

function setup(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), 'baseload-certificates-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const warnings: string[] = []
  return {
    folder,
    warnings,
    logger: { ...silentLogger, warn: (event: string) => void warnings.push(event) },
    write: (name: string, made: MadeCertificate) => {
      const file = { cert: join(folder, `${name}.crt`), key: join(folder, `${name}.key`) }
      writeFileSync(file.cert, made.cert)
      writeFileSync(file.key, made.key)
      return file
    },
  }
}
