/** For tests of payouts: nodes with addresses and earnings, and closings whose root is a hash of the leaves. */
import { hexOf, type Address } from '../../core/base/hex.ts'
import { sha256 } from '../keys/identity.ts'
import type { ClosingPlan, PayoutClosing, PayoutLeaf } from './payout-records.ts'
import { sampleUsage } from './samples.ts'
import type { Store } from './store.ts'

/** `0x…0a1`. */
export const testAddress = (n: number): Address => `0x${n.toString(16).padStart(40, '0')}`

const contract = testAddress(0xc0)

export function testPlan(leaves: readonly PayoutLeaf[], totalUnits: bigint): ClosingPlan {
  const text = leaves.map(({ address, cumulativeUnits }) => `${address}:${cumulativeUnits}`).join()
  const root = hexOf(sha256(Buffer.from(text)))
  const action = { kind: 'payout-root', target: contract, data: root }
  return { root, actions: [{ purpose: `root:${root}:${totalUnits}`, ...action }] }
}

export const testClosing = (epoch: number, more: Partial<PayoutClosing> = {}): PayoutClosing => ({
  epoch,
  nextFeeBps: 0,
  now: epoch * 1_000,
  evenIfNothing: false,
  plan: testPlan,
  ...more,
})

export const nameAddress = (store: Store, node: string, address: Address, sequence = 1) =>
  store.notePayoutAddress({ node, address, sequence, statement: '{}', signature: 's', now: 1 })

/** A tenant pays the node so much. */
export async function earn(
  store: Store,
  of: { readonly account: string; readonly node: string; readonly nanoUsd: bigint },
): Promise<void> {
  await store.settle([{ usage: sampleUsage(of), receipt: null }])
}
