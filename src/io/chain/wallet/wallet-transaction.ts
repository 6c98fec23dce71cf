/**
 * A transaction that happens once, whatever dies meanwhile: signed and in the wallet's book before it is sent, sent again
 * until it is mined, with a higher fee under the same nonce where it waits too long, and done when it is final.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { BaseError, decodeErrorResult, keccak256, type TransactionReceipt } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import type { Address, Hex } from '../../../core/base/hex.ts'
import { Fault } from '../../../core/base/refusal.ts'
import { channelsAbi } from '../abi/channels.ts'
import type { Book, BookTransaction } from './book-schema.ts'
import { reached, type PayerChain } from './wallet-chain.ts'
import type { Wallet } from './wallet.ts'

/** Unmined so long, a transaction's fee is raised. */
const RAISE_AFTER_MS = 45_000
/** Nodes take a replacement that pays a tenth more; a quarter is quicker. */
const RAISE_PERCENT = 125n
const MAX_RAISES = 8
const POLL_MS = 500

export type Wanted = { readonly to: Address; readonly data: Hex; readonly amountUnits: bigint }

export type Progress =
  | { readonly at: 'resumed' | 'sent' | 'raised'; readonly hash: Hex }
  | { readonly at: 'mined'; readonly block: bigint }
  | { readonly at: 'confirming'; readonly blocks: number; readonly of: number }

export type Run = {
  readonly chain: PayerChain
  readonly wallet: Wallet
  /** How many blocks on top make it final. */
  readonly finalityDepth: number
  readonly onProgress: (progress: Progress) => void
  readonly signal: AbortSignal
}

/**
 * Does what `make` wants, once: of each `purpose` one transaction is on its way at most, and where there is one, that is gone
 * on with. Resolves when it is final, and `applied` is in the book in its place. Throws a Fault: `transaction_would_fail` and
 * `transaction_failed` with the contract's reason, `transaction_replaced` where another program used its nonce, or
 * `chain_unreachable`; an AbortError leaves it on its way.
 */
export async function runTransaction(
  run: Run,
  purpose: string,
  make: () => Promise<Wanted>,
  applied: (book: Book, amountUnits: bigint) => Book,
): Promise<void> {
  const entry = await prepared(run, purpose, make)
  const receipt = await untilFinal(run, entry)
  const failed = receipt.status !== 'success'
  await run.wallet.book.change((book) =>
    withoutEntry(failed ? book : applied(book, entry.amountUnits), entry),
  )
  if (failed)
    throw new Fault(
      'transaction_failed',
      `the contract refused transaction ${receipt.transactionHash}: nothing moved`,
    )
}

const withoutEntry = (book: Book, { purpose }: BookTransaction): Book => ({
  ...book,
  transactions: book.transactions.filter((one) => one.purpose !== purpose),
})

const withEntry = (book: Book, entry: BookTransaction): Book => ({
  ...book,
  transactions: [...withoutEntry(book, entry).transactions, entry],
})

async function prepared(
  run: Run,
  purpose: string,
  make: () => Promise<Wanted>,
): Promise<BookTransaction> {
  const { book } = run.wallet
  const begun = find(await book.read(), purpose)
  if (begun) {
    run.onProgress({ at: 'resumed', hash: newest(begun).hash })
    return begun
  }
  const { privateKey } = await run.wallet.unlock()
  const entry = await firstOf(run, purpose, await make(), privateKey)
  const after = await book.change((before) =>
    find(before, purpose) ? before : withEntry(before, entry),
  )
  // Another command of this wallet may have been faster: then its transaction is the one.
  return find(after, purpose) ?? entry
}

const find = (book: Book, purpose: string): BookTransaction | undefined =>
  book.transactions.find((one) => one.purpose === purpose)

const newest = ({ sent }: BookTransaction) => {
  const last = sent.at(-1)
  if (last === undefined) throw new Error('a transaction in the book was signed once at least')
  return last
}

async function firstOf(
  run: Run,
  purpose: string,
  { to, data, amountUnits }: Wanted,
  privateKey: Hex,
): Promise<BookTransaction> {
  const { chain, wallet } = run
  const call = { account: wallet.address, to, data }
  const gas = await reached(chain.rpcUrl, async () =>
    chain.client.estimateGas(call).catch((error: unknown) => {
      throw wouldFail(error)
    }),
  )
  const [fees, pending] = await reached(chain.rpcUrl, async () =>
    Promise.all([
      chain.client.estimateFeesPerGas(),
      chain.client.getTransactionCount({ address: wallet.address, blockTag: 'pending' }),
    ]),
  )
  // A node that restarted may have forgotten what this wallet has on its way.
  const own = (await wallet.book.read()).transactions.filter((one) => one.chainId === chain.chainId)
  const nonce = Math.max(pending, ...own.map((one) => one.nonce + 1))
  // What the contract does may cost a little more by the time it is mined.
  const signed = await sign(privateKey, chain.chainId, {
    to,
    data,
    nonce,
    gas: (gas * 130n) / 100n,
    ...fees,
  })
  return { purpose, chainId: chain.chainId, nonce, amountUnits, to, data, sent: [signed] }
}

type Fees = { readonly maxFeePerGas: bigint; readonly maxPriorityFeePerGas: bigint }

async function sign(
  privateKey: Hex,
  chainId: number,
  fields: { to: Address; data: Hex; nonce: number; gas: bigint } & Fees,
): Promise<{ hash: Hex; raw: Hex }> {
  const account = privateKeyToAccount(privateKey)
  const raw = await account.signTransaction({ ...fields, chainId, type: 'eip1559' })
  return { raw, hash: keccak256(raw) }
}

async function untilFinal(run: Run, first: BookTransaction): Promise<TransactionReceipt> {
  const { chain, signal, onProgress } = run
  let entry = first
  let sentAt = Number.NEGATIVE_INFINITY
  let minedIn: Hex | null = null
  let told = -1
  for (;;) {
    signal.throwIfAborted()
    const receipt = await receiptOf(chain, entry)
    if (receipt === null) {
      if (performance.now() - sentAt > RAISE_AFTER_MS) {
        const again = sentAt > 0 && entry.sent.length <= MAX_RAISES
        if (again) entry = await raised(run, entry)
        await broadcast(run, entry)
        sentAt = performance.now()
        onProgress({ at: again ? 'raised' : 'sent', hash: newest(entry).hash })
      }
    } else {
      if (minedIn !== receipt.blockHash) onProgress({ at: 'mined', block: receipt.blockNumber })
      minedIn = receipt.blockHash
      const head = await reached(chain.rpcUrl, async () => chain.client.getBlockNumber())
      const blocks = Math.max(0, Number(head - receipt.blockNumber))
      if (blocks >= run.finalityDepth) return receipt
      if (blocks !== told) onProgress({ at: 'confirming', blocks, of: run.finalityDepth })
      told = blocks
    }
    await sleep(POLL_MS, undefined, { signal })
  }
}

/** Of whichever was mined. Null: none yet, or none any more after a reorganisation. */
async function receiptOf(chain: PayerChain, { sent }: BookTransaction) {
  for (const { hash } of sent.toReversed()) {
    const receipt = await reached(chain.rpcUrl, async () =>
      chain.client.getTransactionReceipt({ hash }).catch((error: unknown) => {
        if (error instanceof BaseError && error.name === 'TransactionReceiptNotFoundError')
          return null
        throw error
      }),
    )
    if (receipt !== null) return receipt
  }
  return null
}

async function broadcast(run: Run, entry: BookTransaction): Promise<void> {
  const { chain, wallet } = run
  const { raw, hash } = newest(entry)
  const refused = await chain.client.sendRawTransaction({ serializedTransaction: raw }).then(
    () => null,
    (error: unknown) => error,
  )
  if (refused === null) return
  // The node may know it already; what counts is whether its nonce is still free.
  const used = await reached(chain.rpcUrl, async () =>
    chain.client.getTransactionCount({ address: wallet.address, blockTag: 'latest' }),
  )
  if (used > entry.nonce && (await receiptOf(chain, entry)) === null) {
    await wallet.book.change((book) => withoutEntry(book, entry))
    throw new Fault(
      'transaction_replaced',
      `another program used nonce ${entry.nonce} of this wallet, so that ${hash} never happens; run the command again`,
      { cause: refused },
    )
  }
  const why = refused instanceof BaseError ? refused.details || refused.shortMessage : ''
  if (used > entry.nonce || /already known|already imported|underpriced/i.test(why)) return
  if (/insufficient funds/i.test(why))
    throw new Fault('gas_missing', `the wallet cannot pay for gas: ${why}`, { cause: refused })
  await reached(chain.rpcUrl, async () => Promise.reject(refused))
}

async function raised(run: Run, entry: BookTransaction): Promise<BookTransaction> {
  const { chain, wallet } = run
  const { privateKey } = await wallet.unlock()
  const [now, before] = await reached(chain.rpcUrl, async () =>
    Promise.all([
      chain.client.estimateFeesPerGas(),
      chain.client.getTransaction({ hash: newest(entry).hash }).catch(() => null),
    ]),
  )
  const gas =
    before?.gas ??
    (await reached(chain.rpcUrl, async () =>
      chain.client.estimateGas({ account: wallet.address, to: entry.to, data: entry.data }),
    ))
  const signed = await sign(privateKey, chain.chainId, {
    to: entry.to,
    data: entry.data,
    nonce: entry.nonce,
    gas,
    maxFeePerGas: higher(now.maxFeePerGas, before?.maxFeePerGas),
    maxPriorityFeePerGas: higher(now.maxPriorityFeePerGas, before?.maxPriorityFeePerGas),
  })
  const next = { ...entry, sent: [...entry.sent, signed] }
  await wallet.book.change((book) => withEntry(book, next))
  return next
}

/** What the chain asks for now, and more than was offered before. */
function higher(now: bigint, before: bigint | undefined): bigint {
  const more = ((before ?? 0n) * RAISE_PERCENT) / 100n + 1n
  return now > more ? now : more
}

/** The contract's own reason, where it gives one. */
function wouldFail(error: unknown): unknown {
  if (!(error instanceof BaseError)) return error
  const details = error.details || error.shortMessage
  if (/insufficient funds/i.test(details))
    return new Fault('gas_missing', `the wallet cannot pay for gas: ${details}`, { cause: error })
  const reverted = error.walk(
    (one) => one instanceof Error && one.name === 'ExecutionRevertedError',
  )
  if (reverted === null) return error
  return new Fault('transaction_would_fail', `the contract would refuse: ${reasonOf(error)}`, {
    cause: error,
  })
}

function reasonOf(error: BaseError): string {
  const found = error.walk((one) => typeof one === 'object' && one !== null && 'data' in one)
  const data = found !== null && 'data' in found ? found.data : null
  if (typeof data !== 'string' || !/^0x[0-9a-f]{8,}$/i.test(data)) return error.shortMessage
  try {
    const { errorName, args } = decodeErrorResult({ abi: channelsAbi, data: `0x${data.slice(2)}` })
    return `${errorName}(${(args ?? []).join(', ')})`
  } catch {
    return error.shortMessage
  }
}
