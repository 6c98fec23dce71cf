/** Why a voucher was not signed, with the numbers. */
import type { Hex } from '../../../core/base/hex.ts'
import { Fault } from '../../../core/base/refusal.ts'
import { formatUnits } from '../../../core/base/token-amount.ts'
import type { BookChannel, Payee } from './book-schema.ts'

/**
 * `budget_used_up`, `deposit_used_up`: the ceiling that the gateway needs is above it. `voucher_too_large`: one voucher would
 * raise what is signed by more than was agreed. `channel_closed`: its owner has left it.
 */
export type PaymentErrorCode =
  | 'budget_used_up'
  | 'deposit_used_up'
  | 'voucher_too_large'
  | 'channel_closed'

type Numbers = {
  readonly channel: BookChannel
  readonly payee: Payee
  readonly needUnits: bigint
  readonly limitUnits: bigint
}

/** Nothing was signed. All amounts are ceilings of the channel, in units of its token. */
export class PaymentError extends Fault {
  override readonly code: PaymentErrorCode
  readonly channelId: Hex
  readonly needUnits: bigint
  readonly limitUnits: bigint
  readonly signedUnits: bigint
  /** What can be done now. */
  readonly next: string

  constructor(code: PaymentErrorCode, { channel, payee, needUnits, limitUnits }: Numbers) {
    const { decimals, symbol } = payee.token
    const amount = (units: bigint): string => `${formatUnits(units, decimals)} ${symbol}`
    const [message, next] = TEXTS[code](amount(needUnits), amount(limitUnits), channel.id)
    super(code, message)
    this.name = 'PaymentError'
    this.code = code
    this.channelId = channel.id
    this.needUnits = needUnits
    this.limitUnits = limitUnits
    this.signedUnits = channel.signedUnits
    this.next = next
  }
}

type Texts = (need: string, limit: string, channel: string) => readonly [string, string]

const TEXTS: Readonly<Record<PaymentErrorCode, Texts>> = {
  budget_used_up: (need, limit) => [
    `the budget is used up: the gateway needs ${need} signed, and no more than ${limit} may be`,
    '`baseload wallet budget <amount>` sets another',
  ],
  deposit_used_up: (need, limit) => [
    `the deposit is used up: the gateway needs ${need} signed, and ${limit} is deposited`,
    '`baseload wallet deposit <amount>` adds to it',
  ],
  voucher_too_large: (need, limit) => [
    `the gateway asks for too much at once: ${need} signed, where ${limit} is the most that was agreed to`,
    '`baseload wallet budget <amount> --at-once <amount>` allows more in one voucher',
  ],
  channel_closed: (_need, _limit, channel) => [
    `channel ${channel} is closed: nothing more is signed for it`,
    '`baseload wallet deposit <amount>` opens another',
  ],
}
