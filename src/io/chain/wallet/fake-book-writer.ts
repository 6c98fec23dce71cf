/** For tests: a process that changes a wallet's book until it is killed, and tells its parent of each change on the disk. */
import { WalletBook } from './wallet-book.ts'

const [folder = '', address = ''] = process.argv.slice(2)
const book = new WalletBook(folder, `0x${address.slice(2)}`)
const hash = `0x${'11'.repeat(32)}` as const
for (;;) {
  await book.change((before) => {
    const nonce = (before.transactions[0]?.nonce ?? 0) + 1
    const to = `0x${'22'.repeat(20)}` as const
    const one = {
      purpose: 'count',
      chainId: 31337,
      nonce,
      amountUnits: 0n,
      to,
      data: '0x' as const,
    }
    return { ...before, transactions: [{ ...one, sent: [{ hash, raw: '0x' as const }] }] }
  })
  process.send?.('written')
}
