/**
 * Sends what the outbox holds: each action gets a nonce, is signed and written down, and only then goes out; it is watched
 * until its block is final. A crash between any two steps, a reorganisation or a second gateway with the same key changes
 * nothing about that: one nonce is one action, whoever sends it and however often.
 */
import type { Address, LocalAccount } from 'viem'
import { Fault, reasonOf } from '../../../core/base/refusal.ts'
import type { ChainAction } from '../../store/chain-records.ts'
import type { Store } from '../../store/store.ts'
import type { Logger } from '../../telemetry/logger.ts'
import { fillHole } from './sender-holes.ts'
import { followUp } from './sender-follow.ts'
import { sendWritten } from './sender-send.ts'
import type { Finality } from './finality.ts'
import type { ChainRpc } from './rpc.ts'
import { keepAlive } from './sender-resend.ts'

/** Where a test may end the process. The order is that of an action's life. */
export const SENDER_STEPS = [
  'held',
  'estimated',
  'nonce-given',
  'signed',
  'stored',
  'sent',
  'receipt-seen',
  'mined-noted',
  'block-final',
  'settled',
  'raise-signed',
  'raise-stored',
  'raise-sent',
  'block-gone',
  'unmined',
] as const
export type SenderStep = (typeof SENDER_STEPS)[number]

export type SenderOptions = {
  readonly rpc: ChainRpc
  readonly store: Store
  readonly finality: Finality
  readonly logger: Logger
  readonly account: LocalAccount
  /** Of the gateways over this database that have this key one sends. */
  readonly gateway: string
  /** Wei for a unit of gas: nothing is signed above it. */
  readonly maxFeeWei: bigint
  /** A transaction that is not mined after so long is replaced by a dearer one. Default 30 s. */
  readonly raiseAfterMs?: number
  /** What is on its way is sent again after so long. Default 15 s. */
  readonly resendAfterMs?: number
  /** An action is final or failed; told again after a reorganisation below what was final. */
  readonly onSettled?: (action: ChainAction) => void
  readonly onStep?: (step: SenderStep, action: string | null) => void | Promise<void>
}

export type Sender = {
  readonly address: Address
  /** Actions were written, or something is to be looked at. */
  readonly wake: () => void
  /** One round; resolves when it is done. Never rejects. */
  readonly round: () => Promise<void>
  /** What hinders it just now. */
  readonly trouble: () => string | null
  readonly close: () => Promise<void>
}

/** What the parts of a round work on. */
export type Sending = Required<Omit<SenderOptions, 'onSettled' | 'onStep'>> & {
  /** When each was last sent, `performance.now()`; by purpose. */
  readonly sentAt: Map<string, number>
  readonly settled: (action: ChainAction) => void
  readonly step: (step: SenderStep, action?: string) => Promise<void>
}

/** A gateway that dies leaves the key to others after so long. */
const HOLD_MS = 15_000
/** Other gateways write actions, too, and what was deferred falls due. */
const LOOK_EVERY_MS = 1_000

export function createSender(options: SenderOptions): Sender {
  const { store, account, gateway, logger, finality, onSettled, onStep } = options
  const sending: Sending = {
    raiseAfterMs: 30_000,
    resendAfterMs: 15_000,
    ...options,
    sentAt: new Map(),
    settled: (action) => onSettled?.(action),
    step: async (step, action) => {
      await onStep?.(step, action ?? null)
    },
  }
  let trouble: string | null = null
  let running: Promise<void> | null = null
  let again = false
  let closed = false

  const once = async (): Promise<void> => {
    try {
      trouble = await roundOf(sending)
    } catch (error) {
      const why = reasonOf(error)
      const expected = error instanceof Fault && error.retryable
      if (trouble !== why)
        logger[expected ? 'warn' : 'error']('the chain sender has to wait', {
          error: expected ? why : error,
        })
      trouble = why
    }
  }
  const round = (): Promise<void> => {
    running ??= once().finally(() => {
      running = null
      if (again && !closed) wake()
    })
    return running
  }
  const wake = (): void => {
    if (closed) return
    again = running !== null
    if (!again) void round()
  }
  const timer = setInterval(wake, LOOK_EVERY_MS)
  timer.unref()
  const stops = [finality.onHead(wake), finality.onFinal(wake), finality.onReorg(reopen)]

  async function reopen({ ancestor }: { ancestor: { number: bigint } | null }): Promise<void> {
    const count = await store.reopenActions(account.address, ancestor?.number ?? -1n)
    if (count > 0) logger.error('chain actions that were final are on their way again', { count })
    sending.sentAt.clear()
  }

  return {
    address: account.address,
    wake,
    round,
    trouble: () => trouble,
    async close() {
      closed = true
      clearInterval(timer)
      for (const stop of stops) stop()
      await running
      await store.releaseSender(account.address, gateway).catch(() => {})
    },
  }
}

/** Gives what hinders it; null: nothing. */
async function roundOf(sending: Sending): Promise<string | null> {
  const { store, account, gateway, finality } = sending
  const head = finality.head()
  if (head === null) return 'no block of the chain is known yet'
  if (!(await store.holdSender(account.address, gateway, HOLD_MS))) return null
  await sending.step('held')
  const inFlight = await followUp(sending, head)
  const hindered = await sendWritten(sending, head, inFlight)
  const flights = await store.actionsInFlight(account.address)
  await fillHole(sending, flights)
  await keepAlive(sending, flights)
  return hindered
}
