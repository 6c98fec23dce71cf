/**
 * A nonce below those of our transactions that no action has: nothing above it is ever mined. It comes of a foreign transaction
 * that was reorganised away, or of a server that counted too high. An empty transaction to ourselves fills it.
 */
import type { ActionInFlight } from '../../store/chain-records.ts'
import { countAt } from './sender-chain.ts'
import type { Sending } from './sender.ts'

export async function fillHole(
  sending: Sending,
  flights: readonly ActionInFlight[],
): Promise<void> {
  const { rpc, store, account, finality, logger } = sending
  const lowest = flights[0]?.nonce
  const [head, final] = [finality.head(), finality.finalBlock()]
  if (lowest === undefined || head === null || final === null) return
  const next = await countAt(rpc, account.address, head.number)
  if (next >= lowest || next !== (await countAt(rpc, account.address, final.number))) return
  const purpose = `fill:${rpc.chainId}:${account.address.toLowerCase()}:${next}`
  const action = { purpose, kind: 'fill', target: account.address, data: '0x' } as const
  const written = await store.writeChainAction(action)
  if (written === 'written') logger.warn('a nonce was left out; it is filled', { nonce: next })
}
