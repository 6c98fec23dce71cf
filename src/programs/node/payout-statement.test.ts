import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { readPayout } from '../../io/link/hello-check.ts'
import { ephemeralIdentity } from '../../io/keys/identity.ts'
import { checkedAddress, ownPayout } from './payout-statement.ts'

const ALICE = '0x52908400098527886E0F7030069857D2E4169EE7'
const CAROL = '0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed'

describe('a payout address', () => {
  it('is taken in its checksummed form only, and what is wrong with another is said', () => {
    assert.equal(checkedAddress(CAROL), CAROL.toLowerCase())
    assert.equal(checkedAddress(ALICE), ALICE.toLowerCase())
    const wrong: [string, RegExp][] = [
      [CAROL.toLowerCase(), /not its checksum.*0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed/],
      [CAROL.replace('aAeb', 'aAeB'), /not its checksum/],
      ['0x12', /no address/],
      [`0x${'0'.repeat(40)}`, /nobody has/],
    ]
    for (const [text, problem] of wrong)
      assert.throws(() => checkedAddress(text), { code: 'invalid_settings', message: problem })
  })

  it('is signed once, and the same statement is used again', (t) => {
    const { own, path } = setup(t)
    const first = own(CAROL, 5)
    assert.deepEqual(own(CAROL, 99)?.signed, first?.signed)
    assert.equal(statSync(path).mode & 0o777, 0o600)
    assert.equal(own(null, 99), null)
  })

  it('that changes has a higher sequence, and the old one is remembered', (t) => {
    const { own, read } = setup(t)
    const first = own(CAROL, 1_000)
    const second = own(ALICE, 900)
    assert.ok(first && second)
    assert.deepEqual([read(first).sequence, read(second).sequence], [1_000, 1_001])
    assert.deepEqual(second.addresses, [ALICE.toLowerCase(), CAROL.toLowerCase()])
    assert.deepEqual(own(CAROL, 1)?.addresses, [CAROL.toLowerCase(), ALICE.toLowerCase()])
  })

  it('in a file that is something else is not overwritten', (t) => {
    const { own, path } = setup(t)
    writeFileSync(path, 'notes')
    assert.throws(() => own(CAROL, 1), { code: 'payout_unreadable' })
  })
})

function setup(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), 'baseload-payout-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const identity = ephemeralIdentity('node')
  const path = join(folder, 'payout-address.json')
  return {
    path,
    own: (address: string | null, now: number) => ownPayout(address, { identity, path, now }),
    read: ({ signed }: NonNullable<ReturnType<typeof ownPayout>>) => {
      const statement = readPayout(signed, identity.id, identity.publicKey)
      assert.ok(typeof statement === 'object', JSON.stringify(statement))
      return statement
    },
  }
}
