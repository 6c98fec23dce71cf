/** What became of the actions that are on their way: mined, gone again with their block, final, or out of a nonce. */
import type { ActionInFlight, BlockRef } from '../../store/chain-records.ts'
import { countAt, hashAt, minedAt, usedBy, whyReverted } from './sender-chain.ts'
import type { Sending } from './sender.ts'

/** Blocks before the one at which an action was signed that may have been others then. */
const REORGANISED = 64n

/** Gives how many are still on their way. */
export async function followUp(sending: Sending, head: BlockRef): Promise<number> {
  const { store, account, rpc, finality } = sending
  const flights = await store.actionsInFlight(account.address)
  if (flights.length === 0) return 0
  const count = await countAt(rpc, account.address, head.number)
  const final = finality.finalBlock()
  const finalCount = final === null ? 0 : await countAt(rpc, account.address, final.number)
  for (const flight of flights) {
    if (flight.state === 'mined') await followMined(sending, flight)
    // Its nonce is used on the chain: by one of its own transactions, unless somebody else has this key.
    else if (flight.nonce < count) await followUsed(sending, flight, finalCount)
  }
  return flights.length
}

async function followMined(sending: Sending, flight: ActionInFlight): Promise<void> {
  const { rpc, store, finality, logger } = sending
  const { purpose, mined } = flight
  if (mined === null) return
  const there = await hashAt(rpc, mined.blockNumber)
  // No block of that number: servers lag, or a shorter chain is about to grow.
  if (there === null) return
  if (there !== mined.blockHash) {
    await sending.step('block-gone', purpose)
    await store.noteUnmined(purpose, mined.blockHash)
    await sending.step('unmined', purpose)
    sending.sentAt.delete(purpose)
    logger.warn('a chain action’s block is gone; it is sent again', { purpose })
    await followUsed(sending, flight, 0)
    return
  }
  const final = finality.finalBlock()
  if (final === null || mined.blockNumber > final.number) return
  await sending.step('block-final', purpose)
  const problem = mined.reverted ? await reasonFor(sending, flight, mined.blockNumber) : null
  const action = await store.noteSettled(purpose, mined.blockHash, problem, Date.now())
  await sending.step('settled', purpose)
  if (action === null) return
  sending.sentAt.delete(purpose)
  if (action.state === 'failed') logger.error('a chain action failed', { purpose, problem })
  sending.settled(action)
}

const reasonFor = (sending: Sending, flight: ActionInFlight, block: bigint): Promise<string> =>
  whyReverted(
    sending.rpc,
    { from: sending.account.address, to: flight.target, data: flight.data },
    block,
  )

async function followUsed(
  sending: Sending,
  flight: ActionInFlight,
  finalCount: number,
): Promise<void> {
  const { rpc, store, account, finality, logger } = sending
  const { purpose, nonce, transactions, sinceBlock } = flight
  for (const { hash } of transactions.toReversed()) {
    const at = await minedAt(rpc, hash)
    if (at === null) continue
    await sending.step('receipt-seen', purpose)
    await store.noteMined(purpose, at)
    await sending.step('mined-noted', purpose)
    return
  }
  const final = finality.finalBlock()
  if (final === null || nonce >= finalCount) return
  // Servers know of no receipt, and still the nonce is used for good. Only the transaction that used it is proof.
  const first = sinceBlock > REORGANISED ? sinceBlock - REORGANISED : 0n
  const hash = await usedBy(rpc, { sender: account.address, nonce }, first, final.number)
  if (hash === null || transactions.some((ours) => ours.hash === hash)) return
  const problem = `nonce ${nonce} was used by the transaction ${hash}, which is not of this network`
  await store.loseNonce(purpose, nonce, problem)
  logger.error('somebody else sends with the operator key', { purpose, nonce, hash })
}
