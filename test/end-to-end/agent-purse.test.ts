/** The example's purse: what it signs, and that it knows before it signs. */
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { pathToFileURL } from 'node:url'
import { AGENT } from '../support/agent-run.ts'

const ADDRESS = `0x${'a1'.repeat(20)}`

type Signer = { signTypedData(typed: object): Promise<string> }
type Purse = {
  reserved: bigint
  readonly left: bigint
  readonly signed: bigint
  readonly moved: bigint
  signer(account: object): Signer
  release(isUsed: (nonce: string) => Promise<boolean>, nowS: number): Promise<void>
  close(): void
}
type PurseModule = {
  Purse: new (folder: string, budget: bigint, address: string) => Purse
  BudgetReached: new () => Error
}

describe('the purse of examples/agent', () => {
  it('signs up to its budget, to the unit, and no more', async (t) => {
    const { open, BudgetReached } = await setup(t)
    const { sign, purse } = open(100n)
    await sign('ReceiveWithAuthorization', { nonce: '1', value: 100n, validBefore: 50n })
    await assert.rejects(
      sign('ReceiveWithAuthorization', { nonce: '2', value: 1n, validBefore: 50n }),
      BudgetReached,
    )
    await sign('Voucher', { channelId: 'a', maxClaimableAmount: 99n })
    await sign('Voucher', { channelId: 'a', maxClaimableAmount: 100n })
    await sign('Voucher', { channelId: 'a', maxClaimableAmount: 40n })
    await assert.rejects(
      sign('Voucher', { channelId: 'a', maxClaimableAmount: 101n }),
      BudgetReached,
    )
    await assert.rejects(sign('Voucher', { channelId: 'b', maxClaimableAmount: 1n }), BudgetReached)
    assert.deepEqual([purse.signed, purse.moved, purse.left], [100n, 100n, 0n])
    await assert.rejects(sign('Permit', { value: 1n }), /does not sign Permit/)
  })

  it('keeps what is reserved for a top-up', async (t) => {
    const { open, BudgetReached } = await setup(t)
    const { sign, purse } = open(100n)
    purse.reserved = 30n
    const deposit = (nonce: string, value: bigint) =>
      sign('ReceiveWithAuthorization', { nonce, value, validBefore: 50n })
    await assert.rejects(deposit('1', 71n), BudgetReached)
    await deposit('2', 70n)
    await sign('TransferWithAuthorization', { nonce: '3', value: 30n, validBefore: 50n })
    await sign('Voucher', { channelId: 'a', maxClaimableAmount: 70n })
    await assert.rejects(
      sign('Voucher', { channelId: 'a', maxClaimableAmount: 71n }),
      BudgetReached,
    )
  })

  it('has written down what it signs before the key is asked', async (t) => {
    const { open, read } = await setup(t)
    let seen = ''
    const { sign } = open(100n, () => (seen = JSON.stringify(read())))
    await sign('Voucher', { channelId: 'a', maxClaimableAmount: 77n })
    assert.match(seen, /"a":"77"/)
  })

  it('remembers over restarts, and takes no other wallet and no damaged file', async (t) => {
    const { open, folder, BudgetReached } = await setup(t)
    const first = open(100n)
    await first.sign('Voucher', { channelId: 'a', maxClaimableAmount: 100n })
    first.purse.close()
    const second = open(100n)
    await assert.rejects(
      second.sign('Voucher', { channelId: 'a', maxClaimableAmount: 101n }),
      BudgetReached,
    )
    second.purse.close()
    assert.throws(() => open(100n, undefined, `0x${'b2'.repeat(20)}`), /is the purse of/)
    rmSync(join(folder, 'lock'), { force: true })
    writeFileSync(join(folder, 'purse.json'), '{"addr')
    assert.throws(() => open(100n), /what was spent is not known/)
  })

  it('has back what nobody made in its time, and only that', async (t) => {
    const { open } = await setup(t)
    const { sign, purse } = open(100n)
    await sign('ReceiveWithAuthorization', { nonce: 'made', value: 10n, validBefore: 50n })
    await sign('ReceiveWithAuthorization', { nonce: 'late', value: 20n, validBefore: 50n })
    await sign('TransferWithAuthorization', { nonce: 'open', value: 30n, validBefore: 51n })
    await purse.release(isUsed, 50)
    assert.equal(purse.moved, 60n, 'until its last second it may still be made')
    await purse.release(isUsed, 51)
    assert.equal(purse.moved, 40n)
    await purse.release(isUsed, 52)
    assert.equal(purse.moved, 10n)
  })
})

const isUsed = (nonce: string) => Promise.resolve(nonce === 'made')

async function setup(t: TestContext) {
  const url = pathToFileURL(join(dirname(AGENT), 'purse.mjs')).href
  const { Purse, BudgetReached } = (await import(url)) as PurseModule
  const folder = mkdtempSync(join(tmpdir(), 'baseload-purse-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const open = (budget: bigint, onSign: () => void = () => {}, address = ADDRESS) => {
    const purse = new Purse(folder, budget, address)
    const signTypedData = async () => {
      onSign()
      return '0x'
    }
    const signer = purse.signer({ address, signTypedData })
    const sign = (primaryType: string, message: object) =>
      signer.signTypedData({ primaryType, message })
    return { purse, sign }
  }
  const read = (): unknown => JSON.parse(readFileSync(join(folder, 'purse.json'), 'utf8'))
  return { open, read, folder, BudgetReached }
}
