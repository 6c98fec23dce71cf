/**
 * The receipts that one gateway has not acknowledged, on disk until it does: they are the node's money. One
 * append-only file, group-committed; what is acknowledged is noted in it, and it is rewritten without that
 * from time to time. Everything live is in memory too, so sending reads no disk.
 */
import assert from 'node:assert/strict'
import { constants } from 'node:fs'
import { copyFile, mkdir, open as openFile, readFile, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { z } from 'zod'
import { Fault, reasonOf } from '../../core/base/refusal.ts'
import { leafHash } from '../../core/protocol/merkle.ts'
import {
  NO_PREVIOUS,
  receiptSchema,
  receiptText,
  type Receipt,
} from '../../core/protocol/receipt.ts'
import { sha256 } from '../../io/keys/identity.ts'
import type { Logger } from '../../io/telemetry/logger.ts'
import { encodeRecord, readRecords } from './spool-record.ts'

/** About 50,000 answers. Beyond it the node takes no new work for this gateway; it never drops what it has. */
export const MAX_SPOOL_BYTES = 64 * 1024 * 1024
/** Smaller files are not worth a rewrite. */
const COMPACT_ABOVE_BYTES = 1024 * 1024

/** Where the chain of receipts stands: what the next one has to name and carry on. */
export type ChainEnd = { readonly previous: string; readonly carry: number }

export type SpooledReceipt = {
  readonly id: string
  /** The exact text that is signed. */
  readonly text: string
  readonly leaf: Uint8Array
  readonly nanoUsd: bigint
}

/** What the spool needs of a file: tests inject one that fails. */
export type SpoolFile = {
  write(bytes: Buffer, from: number, length: number, at: number): Promise<{ bytesWritten: number }>
  datasync(): Promise<void>
  close(): Promise<void>
}

export type SpoolOptions = {
  readonly folder: string
  readonly logger: Logger
  readonly limitBytes?: number
  readonly compactAboveBytes?: number
  readonly open?: (path: string, flags: number) => Promise<SpoolFile>
}

type Entry = SpooledReceipt & { readonly after: ChainEnd; durable: boolean }
type PendingLine = { readonly line: string; readonly receipt: Entry | null }

/** Reads what an earlier run left, cuts what a crash tore, and goes on from there. */
export async function openSpool(options: SpoolOptions): Promise<Spool> {
  const { folder, logger } = options
  const path = join(folder, 'receipts.log')
  await mkdir(folder, { recursive: true, mode: 0o700 })
  await rm(`${path}.new`, { force: true })
  const bytes = await readOrNothing(path)
  const { records, tornBytes, damagedBytes } = readRecords(bytes)
  const entries = new Map<string, Entry>()
  let chain: ChainEnd = { previous: NO_PREVIOUS, carry: 0 }
  for (const { kind, payload } of records) {
    if (kind === 'A') for (const id of payload.split(' ')) entries.delete(id)
    else if (kind === 'C') chain = parseAs(chainSchema, payload, path)
    else {
      const entry = entryOf(parseAs(receiptSchema, payload, path), payload, true)
      entries.set(entry.id, entry)
      chain = entry.after
    }
  }
  if (tornBytes > 0) logger.warn('spool: cut what a crash tore', { path, tornBytes })
  if (damagedBytes > 0) {
    await copyFile(path, `${path}.damaged`)
    logger.error('spool: the disk lost receipts; the file is kept aside', { path, damagedBytes })
  }
  const spool = new Spool(options, path, entries, chain)
  await spool.rewrite()
  return spool
}

export class Spool {
  readonly #path: string
  readonly #logger: Logger
  readonly #open: (path: string, flags: number) => Promise<SpoolFile>
  readonly #limitBytes: number
  readonly #compactAboveBytes: number
  /** Oldest first. */
  readonly #entries: Map<string, Entry>
  #liveBytes = 0
  /** In the order they will be written. A failed write leaves them here, so a retry writes the same bytes again. */
  #pending: PendingLine[] = []
  #chain: ChainEnd
  #durableChain: ChainEnd
  #file: SpoolFile | null = null
  #fileBytes = 0
  #compactAtBytes = 0
  #failure: string | null = null
  #writing: Promise<unknown> = Promise.resolve()

  constructor(options: SpoolOptions, path: string, entries: Map<string, Entry>, chain: ChainEnd) {
    this.#path = path
    this.#logger = options.logger
    this.#open = options.open ?? openFile
    this.#limitBytes = options.limitBytes ?? MAX_SPOOL_BYTES
    this.#compactAboveBytes = options.compactAboveBytes ?? COMPACT_ABOVE_BYTES
    this.#entries = entries
    for (const entry of entries.values()) this.#liveBytes += entry.text.length
    this.#chain = chain
    this.#durableChain = chain
  }

  get chain(): ChainEnd {
    return this.#chain
  }

  /** Receipts nobody has acknowledged yet. */
  get unacknowledged(): number {
    return this.#entries.size
  }

  /** Something waits for the next flush. */
  get dirty(): boolean {
    return this.#pending.length > 0
  }

  /** Why no new work should be taken, or null. */
  get trouble(): string | null {
    if (this.#failure !== null) return `receipts cannot be kept: ${this.#failure}`
    if (this.#liveBytes < this.#limitBytes) return null
    return `${this.#entries.size} receipts (${this.#liveBytes} bytes) wait to be acknowledged; the limit is ${this.#limitBytes} bytes`
  }

  /** The next receipt of the chain. It is safe, and may be shown to anyone, once a `flush` has returned it. */
  append(receipt: Receipt): void {
    const { previous, carryIn: carry } = receipt
    assert.deepEqual({ previous, carry }, this.#chain, 'a receipt goes on from the one before')
    const entry = entryOf(receipt, receiptText(receipt), false)
    this.#entries.set(entry.id, entry)
    this.#liveBytes += entry.text.length
    this.#pending.push({ line: encodeRecord('R', entry.text), receipt: entry })
    this.#chain = entry.after
  }

  /**
   * Makes everything appended so far durable: one write and one sync. Returns the receipts that became so.
   * Throws Fault `spool_unwritable` (retryable) when the disk is full or broken; nothing is lost then.
   */
  flush(): Promise<SpooledReceipt[]> {
    const flushed = this.#writing.then(
      () => this.#flush(),
      () => this.#flush(),
    )
    this.#writing = flushed
    return flushed
  }

  /** Every durable receipt, oldest first: what a new link has to hand in. */
  durable(): SpooledReceipt[] {
    return [...this.#entries.values()].filter((entry) => entry.durable)
  }

  has(id: string): boolean {
    return this.#entries.has(id)
  }

  /** The gateway has these safe. Returns those that this spool still had; ids it never sent are ignored. */
  acknowledge(ids: readonly string[]): SpooledReceipt[] {
    const gone: SpooledReceipt[] = []
    for (const id of ids) {
      const entry = this.#entries.get(id)
      if (!entry?.durable) continue
      this.#entries.delete(id)
      this.#liveBytes -= entry.text.length
      gone.push(entry)
    }
    if (gone.length > 0) {
      const line = encodeRecord('A', gone.map((entry) => entry.id).join(' '))
      this.#pending.push({ line, receipt: null })
    }
    return gone
  }

  async close(): Promise<void> {
    try {
      await this.flush()
    } finally {
      await this.#file?.close()
    }
  }

  async #flush(): Promise<SpooledReceipt[]> {
    const lines = this.#pending
    if (lines.length === 0) return []
    const written = lines.length
    const receipts = lines.map(({ receipt }) => receipt).filter((receipt) => receipt !== null)
    try {
      const bytes = Buffer.from(lines.map(({ line }) => line).join(''))
      await writeAll(this.#opened(), bytes, this.#fileBytes)
      // An acknowledgement that a crash loses is only given once more.
      if (receipts.length > 0) await this.#opened().datasync()
      this.#fileBytes += bytes.length
    } catch (error) {
      this.#failure = reasonOf(error)
      throw new Fault('spool_unwritable', `cannot write ${this.#path}: ${this.#failure}`, {
        cause: error,
        retryable: true,
      })
    }
    this.#failure = null
    this.#pending = this.#pending.slice(written)
    for (const receipt of receipts) {
      receipt.durable = true
      this.#durableChain = receipt.after
    }
    if (this.#fileBytes > this.#compactAtBytes) await this.#compact()
    return receipts
  }

  #opened(): SpoolFile {
    assert.ok(this.#file, 'a spool is opened before it is used')
    return this.#file
  }

  async #compact(): Promise<void> {
    this.#compactAtBytes = this.#fileBytes + this.#compactAboveBytes
    if (this.#liveBytes > this.#fileBytes / 2) return
    try {
      await this.rewrite()
    } catch (error) {
      // The old file is still whole; the next megabyte brings another try.
      this.#logger.warn('spool: could not compact', { path: this.#path, error })
    }
  }

  /** A new file with only what is live, put in the place of the old one at once. */
  async rewrite(): Promise<void> {
    const { previous, carry } = this.#durableChain
    const lines = this.durable().map((entry) => encodeRecord('R', entry.text))
    // Last, because the newest receipt may be acknowledged while an older one is not.
    const chain = encodeRecord('C', JSON.stringify({ carry, previous }))
    const bytes = Buffer.from(lines.join('') + chain)
    const path = `${this.#path}.new`
    const { O_CREAT, O_TRUNC, O_WRONLY } = constants
    const file = await this.#open(path, O_CREAT | O_TRUNC | O_WRONLY)
    try {
      await writeAll(file, bytes, 0)
      await file.datasync()
      await rename(path, this.#path)
      await syncFolders(dirname(this.#path))
    } catch (error) {
      await file.close()
      throw error
    }
    await this.#file?.close()
    this.#file = file
    this.#fileBytes = bytes.length
    this.#compactAtBytes = bytes.length + this.#compactAboveBytes
  }
}

function entryOf(receipt: Receipt, text: string, durable: boolean): Entry {
  const leaf = leafHash(Buffer.from(text), sha256)
  const previous = Buffer.from(leaf).toString('hex')
  const after = { previous, carry: receipt.carryOut }
  return { id: receipt.id, text, leaf, nanoUsd: BigInt(receipt.nanoUsd), after, durable }
}

async function writeAll(file: SpoolFile, bytes: Buffer, at: number): Promise<void> {
  let done = 0
  while (done < bytes.length) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, at + done)
    done += bytesWritten
  }
}

/** A file is only there after a power cut when its folder, and that folder's, were synced too. */
async function syncFolders(folder: string): Promise<void> {
  for (const path of [folder, dirname(folder), dirname(dirname(folder))]) {
    const handle = await openFile(path, 'r')
    try {
      await handle.sync()
    } finally {
      await handle.close()
    }
  }
}

async function readOrNothing(path: string): Promise<Buffer> {
  try {
    return await readFile(path)
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return Buffer.alloc(0)
    throw new Fault('spool_unreadable', `cannot read ${path}: ${reasonOf(error)}`, { cause: error })
  }
}

const chainSchema = z.strictObject({
  previous: receiptSchema.shape.previous,
  carry: receiptSchema.shape.carryIn,
})

/** The checksum was right, so what does not parse was not torn: another version wrote it. */
function parseAs<T>(schema: z.ZodType<T>, payload: string, path: string): T {
  try {
    return schema.parse(JSON.parse(payload))
  } catch (error) {
    throw foreign(path, error)
  }
}

const foreign = (path: string, cause: unknown): Fault =>
  new Fault(
    'spool_unreadable',
    `${path} was written by another version of this software; start that one to hand its receipts in`,
    { cause },
  )
