import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { WalletBook } from './wallet-book.ts'

const TIMEOUT = { timeout: 60_000 }
const ADDRESS = '0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf'
const CHANNEL = `0x${'11'.repeat(32)}` as const
const TRANSACTION = {
  purpose: 'count',
  chainId: 31337,
  nonce: 0,
  amountUnits: 0n,
  to: `0x${'22'.repeat(20)}`,
  data: '0x',
  sent: [{ hash: CHANNEL, raw: '0x' }],
} as const

describe('a wallet’s book', TIMEOUT, () => {
  it('is empty at first, and holds what was put in, units and all', TIMEOUT, async (t) => {
    const folder = setup(t)
    const book = new WalletBook(folder, ADDRESS)
    assert.deepEqual((await book.read()).transactions, [])
    const amountUnits = 2n ** 127n
    const one = { ...TRANSACTION, sent: [...TRANSACTION.sent], amountUnits }
    await book.change((before) => ({ ...before, transactions: [one] }))
    assert.deepEqual((await new WalletBook(folder, ADDRESS).read()).transactions, [one])
    assert.equal(statSync(join(folder, 'state-1.json')).mode & 0o777, 0o600)
  })

  it('loses no change of many made at once, and cleans up behind itself', TIMEOUT, async (t) => {
    const folder = setup(t)
    const books = [1, 2, 3].map(() => new WalletBook(folder, ADDRESS))
    await Promise.all(books.flatMap((book) => Array.from({ length: 20 }, () => count(book))))
    assert.equal((await books[0]?.read())?.transactions[0]?.nonce, 60)
    assert.deepEqual(readdirSync(folder).toSorted(), ['state-59.json', 'state-60.json'])
  })

  it('loses none where processes are killed in the middle of it', TIMEOUT, async (t) => {
    const folder = setup(t)
    const program = new URL('fake-book-writer.ts', import.meta.url)
    let counted = 0
    for (let round = 0; round < 3; round++) {
      const writers = [1, 2].map(() => fork(program, [folder, ADDRESS], { stdio: 'pipe' }))
      const heard = writers.map((writer) => {
        let last = 0
        // Each message says: my change is on the disk.
        writer.on('message', () => (last += 1))
        return { writer, last: () => last }
      })
      await Promise.all(writers.map(async (writer) => once(writer, 'message')))
      for (const { writer } of heard) writer.kill('SIGKILL')
      await Promise.all(writers.map(async (writer) => once(writer, 'close')))
      counted += heard.reduce((sum, { last }) => sum + last(), 0)
    }
    const { transactions } = await new WalletBook(folder, ADDRESS).read()
    const total = transactions[0]?.nonce ?? 0
    // A writer may be killed after its change and before its message.
    assert.ok(total >= counted && total <= counted + 6, `${total} of ${counted}`)
    assert.ok(counted >= 6)
  })

  it('writes nothing where nothing changes', TIMEOUT, async (t) => {
    const folder = setup(t)
    const book = new WalletBook(folder, ADDRESS)
    await count(book)
    await book.change((before) => before)
    await assert.rejects(
      book.change(() => {
        throw new Error('no')
      }),
      /no/,
    )
    assert.deepEqual(readdirSync(folder), ['state-1.json'])
  })

  it('is not guessed at when it is damaged, or of another key', TIMEOUT, async (t) => {
    const folder = setup(t)
    await count(new WalletBook(folder, ADDRESS))
    const other = new WalletBook(folder, `0x${'33'.repeat(20)}`)
    await assert.rejects(other.read(), { code: 'wallet_book_damaged', message: /not of 0x3333/ })
    writeFileSync(join(folder, 'state-2.json'), '{')
    const damaged = { code: 'wallet_book_damaged', message: /state-2\.json/ }
    await assert.rejects(new WalletBook(folder, ADDRESS).read(), damaged)
  })
})

const count = async (book: WalletBook) =>
  book.change((before) => {
    const nonce = (before.transactions[0]?.nonce ?? 0) + 1
    return { ...before, transactions: [{ ...TRANSACTION, sent: [...TRANSACTION.sent], nonce }] }
  })

function setup(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'baseload-book-'))
  t.after(() => rmSync(folder, { recursive: true }))
  return folder
}
