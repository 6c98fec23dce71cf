/** `baseload receipts`: what a node signed about its work, shown and checked. */
import { existsSync, readFileSync } from 'node:fs'
import type { Command } from 'commander'
import { z } from 'zod'
import { formatUsd } from '../../../core/base/money.ts'
import { reasonOf } from '../../../core/base/refusal.ts'
import { provenReceiptSchema, type ProvenReceipt } from '../../../core/protocol/receipt.ts'
import {
  verifyReceipt,
  type VerifyEvidence,
  type VerifyReport,
} from '../../../io/keys/verify-receipt.ts'
import { EXIT, Failure } from '../shell/failure.ts'
import { table } from '../shell/terminal.ts'
import { clientOf, describeClient, print, type Flags, type Shell } from './command.ts'

export function receiptsCommand(command: Command, shell: Shell): Command {
  command.description('Show receipts, and check them without trusting anyone')
  command.addHelpText('after', '\nExample:\n  $ baseload receipts verify receipt.json')
  showCommand(command.command('show'), shell)
  verifyCommand(command.command('verify'), shell)
  return command
}

function showCommand(command: Command, shell: Shell): void {
  describeClient(
    command.argument('<id>', 'a receipt (rcpt_…) or a request (req_…)'),
    'Show the receipts of a request, or one receipt; --json makes the file that `verify` reads',
    'baseload receipts show rcpt_0123456789abcdefghjkmnpq',
    'baseload receipts show --json rcpt_0123456789abcdefghjkmnpq > receipt.json',
  ).action(async (id: string, flags: Flags) => {
    const receipts = await fetchReceipts(id, flags, shell)
    for (const proven of receipts)
      await print(flags, shell.terminal, proven, () => `${receiptPage(proven)}\n`)
  })
}

function verifyCommand(command: Command, shell: Shell): void {
  describeClient(
    command.argument('<file|id>', 'a file that `show --json` made, or an id to fetch first'),
    'Check signature, hashes, token count and price; offline for a file',
    'baseload receipts verify receipt.json --request body.json --text answer.txt',
    'baseload receipts verify rcpt_0123456789abcdefghjkmnpq',
  )
    .option('--request <file>', 'the request body as it was sent: checked against its hash')
    .option('--text <file>', "this attempt's text: checked against its hash")
    .action(async (source: string, flags: Flags) => {
      const isFile = existsSync(source)
      const receipts = isFile ? readReceipts(source) : await fetchReceipts(source, flags, shell)
      const evidence = evidenceOf(flags)
      let broken = 0
      for (const proven of receipts) {
        const report = verifyReceipt(proven, evidence)
        if (!report.ok) broken += 1
        const json = { receipt: proven.receipt.id, ...report }
        await print(flags, shell.terminal, json, () => reportPage(proven, report))
      }
      if (broken > 0)
        throw new Failure(EXIT.failure, `${broken} of ${receipts.length} receipts do not hold`, {
          code: 'receipt_broken',
          next: 'keep the file: it is signed evidence of what was claimed',
        })
    })
}

const MARKS = { ok: '✓', failed: '✗', skipped: '–' } as const

function reportPage({ receipt }: ProvenReceipt, report: VerifyReport): string {
  const checks = report.checks.map((check) => [
    ` ${MARKS[check.outcome]}`,
    check.name,
    check.detail,
  ])
  const verdict = report.ok ? 'The receipt holds.' : 'The receipt does not hold.'
  return `${receipt.id}\n${table(checks)}${verdict}\n`
}

function receiptPage({ receipt }: ProvenReceipt): string {
  return table([
    ['receipt', receipt.id],
    ['request', receipt.request],
    ['node', receipt.node],
    ['model', `${receipt.model}  ${receipt.modelDigest}`],
    ['engine', receipt.engine],
    [
      'tokens',
      `${receipt.billedInputTokens} in (billed), ${receipt.outputTokens} out, from position ${receipt.firstToken}`,
    ],
    ['finish', receipt.finish],
    [
      'time',
      `${receipt.finishedAtMs - receipt.startedAtMs} ms from ${new Date(receipt.startedAtMs).toISOString()}`,
    ],
    ['price', `$${formatUsd(BigInt(receipt.nanoUsd))}`],
  ])
}

/** One receipt, a list, or one a line: whatever `show --json` and the API give. */
function readReceipts(path: string): ProvenReceipt[] {
  const text = readFileSync(path, 'utf8').trim()
  try {
    const values: unknown[] =
      text.startsWith('{') && text.includes('\n{')
        ? text.split('\n').map((line): unknown => JSON.parse(line))
        : [JSON.parse(text)]
    const receipts = values.flatMap(receiptsIn)
    if (receipts.length === 0) throw new Error('the list is empty')
    return receipts
  } catch (error) {
    throw error instanceof Failure
      ? error
      : new Failure(EXIT.failure, `${path} holds no receipt: ${reasonOf(error)}`, { cause: error })
  }
}

const receiptList = z.looseObject({ data: z.array(z.unknown()) })

function receiptsIn(value: unknown): ProvenReceipt[] {
  const list = receiptList.safeParse(value)
  const items: unknown[] = list.success ? list.data.data : Array.isArray(value) ? value : [value]
  return items.map((item) => {
    const parsed = provenReceiptSchema.safeParse(item)
    if (parsed.success) return parsed.data
    throw new Failure(EXIT.failure, `not a receipt: ${z.prettifyError(parsed.error)}`, {
      code: 'not_a_receipt',
    })
  })
}

async function fetchReceipts(id: string, flags: Flags, shell: Shell): Promise<ProvenReceipt[]> {
  if (!/^(rcpt|req|att|chatcmpl|cmpl)[_-]\w+$/.test(id))
    throw new Failure(EXIT.usage, `'${id}' is neither a file nor an id of a receipt or request`, {
      next: 'the id is in the last event of an answer, and in the line under it in `baseload chat --json`',
    })
  const answer = await clientOf(flags, shell).get(`/v1/receipts/${encodeURIComponent(id)}`)
  return receiptsIn(answer)
}

function evidenceOf(flags: Flags): VerifyEvidence {
  const { request, text } = flags
  return {
    ...(typeof request === 'string' ? { requestBody: read(request) } : {}),
    ...(typeof text === 'string' ? { text: read(text).toString('utf8') } : {}),
  }
}

function read(path: string): Buffer {
  try {
    return readFileSync(path)
  } catch (error) {
    throw new Failure(EXIT.usage, `cannot read ${path}: ${reasonOf(error)}`, { cause: error })
  }
}
