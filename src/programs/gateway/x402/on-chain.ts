/** An action of this gateway's on chain, written down and waited for until it is mined. For the slow paths: it asks the store. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { ChainAction, ChainActionStore, NewAction } from '../../../io/store/chain-records.ts'
import type { Millis } from '../../../core/base/time.ts'

const LOOK_EVERY_MS = 50

export type ActionParts = {
  readonly store: Pick<ChainActionStore, 'writeChainAction' | 'chainAction'>
  /** Something was written that is to be sent. */
  readonly wake: () => void
  readonly now: () => Millis
}

/**
 * Resolves when it is in a block, final or not, or when `withinMs` have passed: then with whatever state it has, and it goes on
 * all the same. The same purpose again waits for what is there.
 */
export async function carryOut(
  { store, wake, now }: ActionParts,
  action: NewAction,
  withinMs: Millis,
): Promise<ChainAction> {
  const deadline = now() + withinMs
  await store.writeChainAction(action)
  wake()
  for (;;) {
    const there = await store.chainAction(action.purpose)
    if (!there) throw new Error(`the chain action ${action.purpose} is gone`)
    if (there.mined !== null || there.state === 'failed' || now() >= deadline) return there
    await sleep(LOOK_EVERY_MS)
  }
}

export const worked = ({ mined, state }: ChainAction): boolean =>
  mined !== null && !mined.reverted && state !== 'failed'
