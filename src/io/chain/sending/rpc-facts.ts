/** What of an RPC answer is a fact that servers must agree on, and where their answers may differ. */
import type { Call } from './rpc.ts'

/**
 * `fact`: the same for everybody. `height`: how far each is. `estimate`: each has its own, and all are as good.
 * `send`: one that takes it is enough.
 */
type Policy = 'fact' | 'height' | 'estimate' | 'send'

const POLICIES: Readonly<Record<string, Policy>> = {
  eth_sendRawTransaction: 'send',
  eth_blockNumber: 'height',
  eth_gasPrice: 'estimate',
  eth_maxPriorityFeePerGas: 'estimate',
  eth_feeHistory: 'estimate',
  eth_estimateGas: 'estimate',
}

export const policyOf = (method: string): Policy => POLICIES[method] ?? 'fact'

/** Where the block stands among a method's parameters. */
const BLOCK_AT: Readonly<Record<string, number>> = {
  eth_call: 1,
  eth_getBalance: 1,
  eth_getCode: 1,
  eth_getTransactionCount: 1,
  eth_getStorageAt: 2,
  eth_getBlockByNumber: 0,
}

/** The same call about a block with a number, where it was about the latest. */
export async function atHeight(call: Call, height: () => Promise<unknown>): Promise<Call> {
  const at = BLOCK_AT[call.method]
  const params: unknown[] = Array.isArray(call.params) ? [...call.params] : []
  if (at === undefined || (params[at] ?? 'latest') !== 'latest') return call
  params[at] = await height()
  return { ...call, params }
}

/** Servers add fields of their own to these: what counts is what they identify. */
const IDENTITY: Readonly<Record<string, readonly string[]>> = {
  eth_getBlockByNumber: ['hash', 'number', 'parentHash'],
  eth_getBlockByHash: ['hash', 'number', 'parentHash'],
  eth_getTransactionReceipt: ['transactionHash', 'blockHash', 'blockNumber', 'status', 'logs'],
  eth_getTransactionByHash: ['hash', 'blockHash'],
  eth_getLogs: ['address', 'topics', 'data', 'blockHash', 'transactionHash', 'logIndex'],
}
const LOG_FIELDS = IDENTITY['eth_getLogs'] ?? []

/** Equal text for equal facts. */
export function factOf(method: string, value: unknown): string {
  const fields = IDENTITY[method]
  return JSON.stringify(fields ? only(value, fields) : value) ?? 'undefined'
}

function only(value: unknown, fields: readonly string[]): unknown {
  if (Array.isArray(value)) return value.map((each) => only(each, fields))
  if (typeof value !== 'object' || value === null) return value
  return fields.map((field) => {
    const inner: unknown = Reflect.get(value, field)
    return field === 'logs' ? only(inner, LOG_FIELDS) : inner
  })
}

/** Gas: the most, for with too little a transaction fails. Fees: the lower median, so that one server cannot raise them. */
export function pickOne(method: string, answers: readonly unknown[]): unknown {
  if (method === 'eth_feeHistory') return answers[0]
  const sorted = answers
    .map((answer) => BigInt(String(answer)))
    .toSorted((a, b) => (a < b ? -1 : 1))
  const index =
    method === 'eth_estimateGas' ? sorted.length - 1 : Math.floor((sorted.length - 1) / 2)
  return `0x${(sorted[index] ?? 0n).toString(16)}`
}
