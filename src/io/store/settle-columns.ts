/**
 * 500 settlements as a handful of text parameters, one column each, one line a row. It is the cheapest way to
 * hand them over in CPU of the gateway: nothing is quoted or escaped on this side (`npm run bench:ledger`).
 *
 * Nothing that is passed this way holds a line break: ids and model names are checked at the edge, and canonical
 * JSON escapes them. Were there one all the same, its column would be longer than the others, rows would
 * be filled up with NULLs, and the statement would fail on the first NOT NULL instead of paying the wrong one.
 */
import type { ReceiptBatchRecord, Settlement, StoredReceipt } from './store.ts'

export type SettlementColumns = {
  attempt: string
  request: string
  account: string
  apiKey: string
  node: string
  model: string
  api: string
  inputTokens: string
  outputTokens: string
  nanoUsd: string
  hold: string
  startedAt: string
  finishedAt: string
  witness: string
  receipt: string
  root: string
  leafIndex: string
}

export function settlementColumns(batch: readonly Settlement[]): SettlementColumns {
  const columns = emptyColumns()
  let end = ''
  for (const { usage, receipt } of batch) {
    columns.attempt += end + usage.attempt
    columns.request += end + usage.request
    columns.account += end + usage.account
    columns.apiKey += end + usage.apiKey
    columns.node += end + usage.node
    columns.model += end + usage.model
    columns.api += end + usage.api
    columns.inputTokens += end + usage.billedInputTokens
    columns.outputTokens += end + usage.outputTokens
    columns.nanoUsd += end + usage.nanoUsd
    columns.hold += end + (usage.hold ?? '')
    columns.startedAt += end + usage.startedAt
    columns.finishedAt += end + usage.finishedAt
    columns.witness += end + usage.witness
    columns.receipt += end + (receipt?.text ?? '')
    columns.root += end + (receipt?.batch.root ?? '')
    columns.leafIndex += end + (receipt?.leafIndex ?? '')
    end = '\n'
  }
  return columns
}

const emptyColumns = (): SettlementColumns => ({
  attempt: '',
  request: '',
  account: '',
  apiKey: '',
  node: '',
  model: '',
  api: '',
  inputTokens: '',
  outputTokens: '',
  nanoUsd: '',
  hold: '',
  startedAt: '',
  finishedAt: '',
  witness: '',
  receipt: '',
  root: '',
  leafIndex: '',
})

export type BatchColumns = {
  root: string
  signer: string
  signedAtMs: string
  signature: string
  leaves: string
}

/** Each signed batch once, however many of its receipts are here. */
export function batchColumns(receipts: Iterable<StoredReceipt | null>): BatchColumns {
  const batches = new Map<string, ReceiptBatchRecord>()
  for (const receipt of receipts) if (receipt) batches.set(receipt.batch.root, receipt.batch)
  const columns: BatchColumns = { root: '', signer: '', signedAtMs: '', signature: '', leaves: '' }
  let end = ''
  for (const { root, signer, signedAtMs, signature, leaves } of batches.values()) {
    columns.root += end + root
    columns.signer += end + signer
    columns.signedAtMs += end + signedAtMs
    columns.signature += end + signature
    columns.leaves += end + Buffer.from(leaves).toString('hex')
    end = '\n'
  }
  return columns
}
