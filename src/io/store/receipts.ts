/** Receipts with their proofs: the path is made from the stored leaves when somebody asks. */
import { merklePath } from '../../core/protocol/merkle.ts'
import { receiptIdOf, receiptSchema, type ProvenReceipt } from '../../core/protocol/receipt.ts'
import { sha256 } from '../keys/identity.ts'
import type { Database } from './database.ts'
import type { Store } from './store.ts'

/** A request has one receipt per attempt and choice; nobody needs more than this at once. */
const MAX_RECEIPTS = 1000
const HASH_BYTES = 32

type ReceiptRow = {
  readonly text: string
  readonly leaf_index: number
  readonly signed_at_ms: bigint
  readonly signature: string
  readonly leaves: Uint8Array
}

export const receiptsIn = (database: Database): Pick<Store, 'receipts'> => ({
  async receipts(account, id) {
    const rows = await database.run(
      (sql) => sql<ReceiptRow[]>`
        select r.text, r.leaf_index, b.signed_at_ms, b.signature, b.leaves
        from usage u join receipts r on r.attempt = u.attempt join receipt_batches b on b.root = r.root
        where (u.request = ${id} or u.attempt = ${attemptOf(id)})
          and (${account}::text is null or u.account = ${account})
        order by u.started_at, u.attempt limit ${MAX_RECEIPTS}`,
    )
    return rows.map(provenReceipt)
  },
})

/** The other way round than `receiptIdOf`; for anything else an attempt that cannot be. */
function attemptOf(id: string): string {
  const attempt = id.replace(/^rcpt_/, 'att_')
  return receiptIdOf(attempt) === id ? attempt : ''
}

function provenReceipt(row: ReceiptRow): ProvenReceipt {
  const leaves: Uint8Array[] = []
  for (let at = 0; at < row.leaves.length; at += HASH_BYTES)
    leaves.push(row.leaves.subarray(at, at + HASH_BYTES))
  return {
    receipt: receiptSchema.parse(JSON.parse(row.text)),
    proof: {
      signedAtMs: Number(row.signed_at_ms),
      signature: row.signature,
      leafIndex: row.leaf_index,
      leafCount: leaves.length,
      path: merklePath(row.leaf_index, leaves, sha256).map((hash) =>
        Buffer.from(hash).toString('hex'),
      ),
    },
  }
}
