/** The certifier against an authority that the test plays, under a clock that the test sets. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { DAY, MINUTE } from '../../../core/base/time.ts'
import { makeCertificate } from '../../../io/http/test-certificates.ts'
import { silentLogger } from '../../../io/telemetry/logger.ts'
import type { Pem } from './certificate.ts'
import { CertificateFolder } from './certificate-folder.ts'
import { Certifier } from './certifier.ts'

const timeout = 20_000

describe('certificates by ACME', { timeout }, () => {
  it('are ordered once at the first handshake, and kept where only their owner reads them', async (t) => {
    const { certifier, issued, folder, open } = setup(t)
    const all = await Promise.all([1, 2, 3].map(() => certifier.find('web.lease.example')))
    assert.ok(all.every((one) => one !== null && one === all[0]))
    await certifier.find('web.lease.example')
    assert.deepEqual(issued, ['web.lease.example'])
    const path = join(folder, 'web.lease.example.pem')
    assert.equal(statSync(path).mode & 0o777, 0o600)
    assert.equal(statSync(folder).mode & 0o777, 0o700)

    const after = open()
    const again = await after.find('web.lease.example')
    assert.deepEqual([again?.pem, issued.length], [all[0]?.pem, 1], 'a restart orders nothing')
  })

  it('are ordered for names that lead somewhere, and shown no longer than they do', async (t) => {
    const { certifier, issued, held } = setup(t)
    for (const name of ['other.example', '', '../../etc/passwd', 'x.web.lease.example'])
      assert.equal(await certifier.find(name), null, name)
    assert.deepEqual(issued, [])
    assert.ok(await certifier.find('web.lease.example'))
    held.delete('web.lease.example')
    assert.equal(await certifier.find('web.lease.example'), null)
  })

  it('keep a handshake waiting only so long; the next one finds it', async (t) => {
    const { certifier, gate } = setup(t, { handshakeWaitMs: 30 })
    const release = gate()
    assert.equal(await certifier.find('web.lease.example'), null)
    release()
    const there = async (): Promise<unknown> =>
      (await certifier.find('web.lease.example')) ?? (await there())
    assert.ok(await there())
  })

  it('that fail are not asked for again before their pause is over', async (t) => {
    const { certifier, issued, fail, clock } = setup(t)
    fail(true)
    for (const _ of [1, 2, 3]) assert.equal(await certifier.find('web.lease.example'), null)
    assert.equal(issued.length, 1)
    fail(false)
    clock.ms += 2 * MINUTE
    assert.ok(await certifier.find('web.lease.example'))
    assert.equal(issued.length, 2)
  })

  it('are so many an hour for a tenant', async (t) => {
    const { certifier, issued, held } = setup(t)
    for (const n of [1, 2, 3, 4]) held.set(`n${n}.example`, 'acct_1')
    held.set('other.example', 'acct_2')
    for (const n of [1, 2, 3, 4]) await certifier.find(`n${n}.example`)
    assert.deepEqual(issued, ['n1.example', 'n2.example', 'n3.example'])
    assert.ok(await certifier.find('other.example'))
  })

  it('are under way for four names at most', async (t) => {
    const { certifier, issued, held, gate } = setup(t, { handshakeWaitMs: 30 })
    const release = gate()
    for (const n of [1, 2, 3, 4, 5]) held.set(`n${n}.example`, `acct_${n}`)
    await Promise.all([1, 2, 3, 4, 5].map((n) => certifier.find(`n${n}.example`)))
    assert.equal(issued.length, 4)
    release()
  })

  it('are renewed after three fifths of their life, while the old one serves on', async (t) => {
    const { certifier, issued, clock, fail } = setup(t)
    const first = await certifier.find('web.lease.example')
    clock.ms += 54 * DAY - MINUTE
    await certifier.renewDue()
    assert.equal(issued.length, 1)
    fail(true)
    clock.ms += 2 * MINUTE
    await certifier.renewDue()
    await certifier.renewDue()
    assert.equal(issued.length, 2, 'it failed, and waits')
    assert.equal(await certifier.find('web.lease.example'), first)
    fail(false)
    clock.ms += 2 * MINUTE
    await certifier.renewDue()
    const second = await certifier.find('web.lease.example')
    assert.ok(second !== null && second !== first && issued.length === 3)
    // Two thirds of 90 days have not passed.
    assert.ok(clock.ms < (first?.notBefore ?? 0) + 60 * DAY)
  })

  it('are not renewed for a lease that is gone, and go when they expire', async (t) => {
    const { certifier, issued, clock, held, folder } = setup(t)
    await certifier.find('web.lease.example')
    held.delete('web.lease.example')
    clock.ms += 80 * DAY
    await certifier.renewDue()
    assert.deepEqual(readdirSync(folder), ['web.lease.example.pem'])
    clock.ms += 11 * DAY
    await certifier.renewDue()
    assert.deepEqual([readdirSync(folder), issued.length], [[], 1])
  })

  it('are ordered anew when they have expired after all', async (t) => {
    const { certifier, issued, clock } = setup(t)
    await certifier.find('web.lease.example')
    clock.ms += 91 * DAY
    assert.ok(await certifier.find('web.lease.example'))
    assert.equal(issued.length, 2)
  })

  it('are of no use when the authority issues one for another name', async (t) => {
    const { certifier, answerWith } = setup(t)
    answerWith(() => makeCertificate(['evil.example']))
    assert.equal(await certifier.find('web.lease.example'), null)
  })
})

function setup(t: TestContext, more: { handshakeWaitMs?: number } = {}) {
  const folder = join(mkdtempSync(join(tmpdir(), 'baseload-acme-')), 'acme')
  t.after(() => rmSync(join(folder, '..'), { recursive: true }))
  const clock = { ms: Date.parse('2027-01-01T00:00:00Z') }
  const issued: string[] = []
  const held = new Map([['web.lease.example', 'acct_1']])
  let failing = false
  let gate: Promise<unknown> = Promise.resolve()
  let make = (name: string): Promise<Pem> => makeCertificate([name], { from: clock.ms, days: 90 })
  const open = (): Certifier => {
    const certifier = new Certifier({
      authority: {
        answer: () => null,
        async issue(name) {
          issued.push(name)
          await gate
          if (failing) throw new Error('the authority said no')
          return await make(name)
        },
      },
      folder: new CertificateFolder(folder),
      rates: { perHour: 10, perTenantPerHour: 3 },
      holderOf: (name) => {
        const tenant = held.get(name)
        return tenant === undefined ? null : { tenant }
      },
      now: () => clock.ms,
      logger: silentLogger,
      ...more,
    })
    t.after(() => certifier.close())
    return certifier
  }
  return {
    certifier: open(),
    open,
    issued,
    folder,
    held,
    clock,
    fail: (now: boolean) => void (failing = now),
    answerWith: (how: typeof make) => void (make = how),
    /** Orders wait until it is called. */
    gate: () => {
      const opened = new AbortController()
      gate = once(opened.signal, 'abort')
      return () => opened.abort()
    },
  }
}
