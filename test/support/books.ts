/** Whether the money is where it belongs: the checks that every chaos test ends with. */
import assert from 'node:assert/strict'
import { nodeLedger, tenantLedger } from '../../src/io/store/store.ts'
import type { Answer } from './answers.ts'
import { TENANT_NANO_USD, type ProgramNetwork } from './network-of-programs.ts'

export type PaidAttempt = {
  readonly attempt: string
  readonly request: string
  readonly node: string
  readonly output_tokens: number
  readonly nano_usd: bigint
  readonly witness: 'node' | 'gateway'
}

/** Every attempt that was ever paid; the attempt is the primary key, so none is here twice. */
export const paidAttempts = ({ database }: ProgramNetwork): Promise<PaidAttempt[]> =>
  database.run(
    (sql) => sql<PaidAttempt[]>`
      select attempt, request, node, output_tokens, nano_usd, witness from usage`,
  )

/** When the gateways have left: nothing was made, nothing lost, nothing is held, and each node has its own. */
export async function checkLedger(network: ProgramNetwork): Promise<PaidAttempt[]> {
  const { store, account } = network
  const audit = await store.audit()
  assert.deepEqual([audit.sumNanoUsd, audit.wrong], [0n, []])
  const paid = await paidAttempts(network)
  const tenant = await store.balance(tenantLedger(account))
  assert.equal(tenant.heldNanoUsd, 0n, 'all holds have returned')
  assert.equal(TENANT_NANO_USD - tenant.balanceNanoUsd, sumOf(paid), 'the tenant paid the usage')
  for (const { id } of network.nodes) {
    const { balanceNanoUsd } = await store.balance(nodeLedger(id))
    assert.equal(balanceNanoUsd, sumOf(paid.filter(({ node }) => node === id)), `${id} got its own`)
  }
  return paid
}

/** Each answer's bill is what was paid for it, and to those who, as it says, produced its tokens. */
export function checkBills(answers: readonly Answer[], paid: readonly PaidAttempt[]): void {
  const byAttempt = new Map(paid.map((one) => [one.attempt, one]))
  for (const { attempts, nanoUsd, text } of answers) {
    const told = attempts.filter(({ tokens }) => tokens > 0)
    assert.ok(told.length > 0, `somebody produced ${JSON.stringify(text)}`)
    let sum = 0n
    for (const { node, tokens, receipt } of told) {
      const row = byAttempt.get(String(receipt).replace(/^rcpt_/, 'att_'))
      assert.ok(row, `the ${tokens} tokens of ${receipt} from ${node} were paid`)
      assert.deepEqual([row.node, row.output_tokens], [node, tokens])
      sum += row.nano_usd
    }
    assert.equal(sum, nanoUsd, 'the bill is what was paid')
  }
}

/** As `checkBills`, when these are all the answers there ever were. */
export function checkAllBills(answers: readonly Answer[], paid: readonly PaidAttempt[]): void {
  checkBills(answers, paid)
  const told = answers.flatMap(({ attempts }) => attempts.filter(({ tokens }) => tokens > 0))
  assert.equal(paid.length, told.length, 'nothing else was paid')
}

export const sumOf = (paid: readonly PaidAttempt[]): bigint =>
  paid.reduce((sum, { nano_usd }) => sum + nano_usd, 0n)
