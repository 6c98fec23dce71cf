/** Written actions, in order: estimated, given a nonce, signed and stored in one transaction of the database, then sent. */
import { keccak256, type Hex } from 'viem'
import { Fault, reasonOf } from '../../../core/base/refusal.ts'
import type { BlockRef, ChainAction, SignedTransaction } from '../../store/chain-records.ts'
import { firstFees, type Fees } from './fees.ts'
import { countAt, estimate, pricesAt } from './sender-chain.ts'
import type { Sending } from './sender.ts'

/** Servers keep about so many waiting transactions of one sender. */
const MAX_IN_FLIGHT = 16
/** EIP-7825: no transaction may have more. */
const MAX_GAS = 16_777_216n
const FIRST_RETRY_MS = 1_000
const LAST_RETRY_MS = 60_000

/** Gives what hinders it; null: nothing. */
export async function sendWritten(
  sending: Sending,
  head: BlockRef,
  inFlight: number,
): Promise<string | null> {
  const { store, rpc, account, maxFeeWei } = sending
  const actions = await store.actionsToSend(Date.now(), Math.max(0, MAX_IN_FLIGHT - inFlight))
  if (actions.length === 0) return null
  const { baseFeeWei, tipWei } = await pricesAt(rpc, head.number)
  const fees = firstFees(baseFeeWei, tipWei, maxFeeWei)
  if (fees === null)
    return `gas costs ${baseFeeWei} wei, more than chainMaxFeeGwei allows (${maxFeeWei} wei): ${actions.length} actions wait`
  let hindered: string | null = null
  for (const action of actions) {
    const { purpose, target, data } = action
    const estimated = await estimate(rpc, { from: account.address, to: target, data })
    await sending.step('estimated', purpose)
    const problem = 'refused' in estimated ? estimated.refused : tooMuch(estimated.gas)
    if (problem !== null) {
      await defer(sending, action, problem)
      hindered = `${purpose}: ${problem}`
    } else if ('gas' in estimated) await sendOne(sending, { action, head, fees, ...estimated })
  }
  return hindered
}

const tooMuch = (gas: bigint): string | null =>
  gas > MAX_GAS ? `it takes ${gas} gas, and a transaction may have ${MAX_GAS}` : null

async function defer(sending: Sending, action: ChainAction, problem: string): Promise<void> {
  const waitMs = Math.min(FIRST_RETRY_MS * 2 ** Math.min(action.tries, 10), LAST_RETRY_MS)
  await sending.store.deferAction(action.purpose, problem, Date.now() + waitMs)
  if (action.problem !== problem)
    sending.logger.warn('a chain action is refused now; it is tried again', {
      purpose: action.purpose,
      problem,
    })
}

async function sendOne(
  sending: Sending,
  of: { action: ChainAction; head: BlockRef; fees: Fees; gas: bigint },
): Promise<void> {
  const { store, account, rpc, gateway } = sending
  const { action, head, fees } = of
  const { purpose } = action
  // A quarter more: what others do between now and then may make it dearer.
  const gas = of.gas * 5n < MAX_GAS * 4n ? (of.gas * 5n) / 4n : MAX_GAS
  const from = await countAt(rpc, account.address, head.number)
  let raw: Hex | null = null
  const signed = await store.signAction(
    { purpose, sender: account.address, gateway, from, gas, sinceBlock: head.number },
    async (nonce) => {
      await sending.step('nonce-given', purpose)
      const transaction = await sign(sending, { action, nonce, gas, fees })
      raw = transaction.raw
      await sending.step('signed', purpose)
      return transaction
    },
  )
  if (!signed || raw === null) return
  await sending.step('stored', purpose)
  await broadcast(sending, purpose, raw)
  await sending.step('sent', purpose)
}

export async function sign(
  { account, rpc }: Sending,
  of: {
    readonly action: Pick<ChainAction, 'target' | 'data'>
    readonly nonce: number
    readonly gas: bigint
    readonly fees: Fees
  },
): Promise<SignedTransaction> {
  const raw = await account.signTransaction({
    type: 'eip1559',
    chainId: rpc.chainId,
    nonce: of.nonce,
    to: of.action.target,
    data: of.action.data,
    gas: of.gas,
    ...of.fees,
  })
  return { hash: keccak256(raw), raw, ...of.fees }
}

/** Whatever a server answers decides nothing: only the chain tells what became of it. It is sent again later. */
export async function broadcast(sending: Sending, purpose: string, raw: Hex): Promise<void> {
  sending.sentAt.set(purpose, performance.now())
  try {
    await sending.rpc.request({ method: 'eth_sendRawTransaction', params: [raw] })
  } catch (error) {
    if (error instanceof Fault && !error.retryable) throw error
    const why = reasonOf(error)
    if (!/already known|already imported|nonce too low|underpriced/i.test(why))
      sending.logger.warn('a chain action was not taken; it is sent again', {
        purpose,
        error: why.split('\n')[0],
      })
  }
}
