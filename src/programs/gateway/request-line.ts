/** One line for people per request: when, tenant, model, node, tokens, seconds, price; or why not. */
import { formatUsd } from '../../core/base/money.ts'
import type { RequestReport } from './inference.ts'

export function requestLine(done: RequestReport): string {
  // Names and messages quote strangers, and a terminal obeys control characters.
  return lineOf(done).replaceAll(/\p{Cc}/gu, ' ')
}

function lineOf(done: RequestReport): string {
  const time = new Date(done.finishedAt).toTimeString().slice(0, 8)
  const tenant = done.key?.account.name ?? 'nobody'
  const seconds = `${((done.finishedAt - done.startedAt) / 1000).toFixed(2)} s`
  if (done.refusal)
    return `${time}  ${tenant}  ✗ ${done.status} ${done.refusal.code}  ${seconds}  ${done.refusal.message}`
  const { bill } = done
  if (!bill) return `${time}  ${tenant}  ${seconds}`
  const nodes = bill.nodes.map(shortNode).join(' → ')
  const tokens = `${bill.usage.inputTokens}+${bill.usage.outputTokens} tokens`
  const moved = bill.nodes.length > 1 ? `  moved ${bill.nodes.length - 1}×` : ''
  const gone = done.gone === true ? '  tenant left' : ''
  return `${time}  ${tenant}  ${done.model ?? '–'}  ${nodes}  ${tokens}  ${seconds}  $${formatUsd(bill.nanoUsd)}${moved}${gone}`
}

/** `node_` and six characters: enough to tell nodes on one screen apart. */
const shortNode = (node: string): string => node.slice(0, 11)

/** What the JSON log tells of it: who, where, how long; never what was asked or answered. */
export function requestFields(done: RequestReport): Record<string, unknown> {
  return {
    id: done.requestId,
    api: done.api,
    status: done.status,
    code: done.refusal?.code ?? null,
    ms: done.finishedAt - done.startedAt,
    account: done.key?.account.id ?? null,
    nodes: done.bill?.nodes ?? [],
    attempts: done.bill?.attempts ?? 0,
  }
}
