/** Transactions that are out and not mined: sent again, for servers forget, and replaced by dearer ones when they wait long. */
import type { ActionInFlight } from '../../store/chain-records.ts'
import { firstFees, raisedFees } from './fees.ts'
import { pricesAt } from './sender-chain.ts'
import { broadcast, sign } from './sender-send.ts'
import type { Sending } from './sender.ts'

export async function keepAlive(
  sending: Sending,
  flights: readonly ActionInFlight[],
): Promise<void> {
  const { sentAt, resendAfterMs, raiseAfterMs } = sending
  const waiting = flights.filter(({ state }) => state === 'signed')
  const [first] = waiting
  // The others wait for this one's nonce: paying more for them would help nobody.
  if (first && Date.now() - (first.transactions.at(-1)?.signedAt ?? 0) >= raiseAfterMs)
    await raise(sending, first)
  for (const { purpose, transactions } of waiting) {
    const newest = transactions.at(-1)
    const last = sentAt.get(purpose)
    if (newest && (last === undefined || performance.now() - last >= resendAfterMs))
      await broadcast(sending, purpose, newest.raw)
  }
}

async function raise(sending: Sending, flight: ActionInFlight): Promise<void> {
  const { rpc, store, account, gateway, finality, maxFeeWei, logger } = sending
  const { purpose, nonce, gas, transactions } = flight
  const newest = transactions.at(-1)
  const head = finality.head()
  if (!newest || head === null) return
  const { baseFeeWei, tipWei } = await pricesAt(rpc, head.number)
  const fees = raisedFees(newest, firstFees(baseFeeWei, tipWei, maxFeeWei), maxFeeWei)
  // The cap is reached: what is out stays out.
  if (fees === null) return
  const transaction = await sign(sending, { action: flight, nonce, gas, fees })
  await sending.step('raise-signed', purpose)
  const of = { purpose, sender: account.address, gateway, nonce }
  if (!(await store.addTransaction(of, transaction))) return
  await sending.step('raise-stored', purpose)
  await broadcast(sending, purpose, transaction.raw)
  await sending.step('raise-sent', purpose)
  logger.info('a chain action pays more', { purpose, nonce, maxFeeWei: fees.maxFeePerGas })
}
