/**
 * A payment channel's money: what a voucher adds, what of it was spent, what may be claimed, and what goes back.
 *
 * All amounts are units of the token and cumulative, as they are on chain. Two sums say how a channel stands in the ledger:
 * `credited` is what came in net for it from outside, `granted = credited + uncollected` what its tenant was given net. They
 * differ only after a deposit that was final has vanished from the chain: then the operator stands for `uncollected`.
 * After each step here: charged <= granted, credited <= balance, and credited <= what vouchers allow.
 */
import { refuse, type Refusal } from '../base/refusal.ts'
import type { NanoUsd } from '../base/money.ts'

/** One unit of a token with six decimals is a millionth of a dollar. */
export const NANO_PER_UNIT: NanoUsd = 1_000n

/** More is never credited: nine billion dollars, far from where nano-dollars leave 64 bits. */
export const MAX_CHANNEL_UNITS = 9_000_000_000_000_000n

/** `closing`: no voucher is taken any more, and what is unspent goes back. `closed`: nothing is left in the contract. */
export type ChannelState = 'open' | 'closing' | 'closed'

/** Why a channel is closing: its payer leaves by itself on chain, or both agree. */
export type Leaving = 'exit' | 'consent'

export type ChannelMoney = {
  readonly state: ChannelState
  readonly leaving: Leaving | null
  /** At the last final block: all that was deposited and not returned, and what of it was claimed. */
  readonly balanceUnits: bigint
  readonly claimedUnits: bigint
  /** The highest ceiling that was ever signed: what the contract would let us claim. */
  readonly ceilingUnits: bigint
  /** The newest ceiling, but no more than was spent once the channel was closed: what may be credited. */
  readonly allowedUnits: bigint
  readonly creditedUnits: bigint
  readonly uncollectedUnits: bigint
  /** What was spent, at its highest. */
  readonly chargedUnits: bigint
}

export const grantedUnits = (channel: ChannelMoney): bigint =>
  channel.creditedUnits + channel.uncollectedUnits

/** What the tenant still has of it. */
export const unspentUnits = (channel: ChannelMoney): bigint =>
  grantedUnits(channel) - channel.chargedUnits

/** What `totalClaimed` of a claim should say now: what was spent, as far as it is signed and there. */
export const claimableUnits = (channel: ChannelMoney): bigint =>
  least(channel.chargedUnits, least(channel.ceilingUnits, channel.balanceUnits))

/** Null: this ceiling can be taken, if it is signed. */
export function whyNoVoucher(
  id: string,
  channel: Pick<ChannelMoney, 'state' | 'balanceUnits' | 'allowedUnits'>,
  ceilingUnits: bigint,
): Refusal | null {
  const { state, balanceUnits, allowedUnits } = channel
  if (state === 'closing')
    return refuse(
      'channel_closing',
      `The channel ${id} is being closed and takes no vouchers. Open another one, or wait until it is closed.`,
      { details: { channelId: id } },
    )
  if (ceilingUnits <= allowedUnits)
    return refuse(
      'voucher_stale',
      `The channel ${id} has a voucher for ${allowedUnits} units; this one is for ${ceilingUnits}. Vouchers are cumulative: sign a higher one.`,
      { details: { channelId: id, have: allowedUnits, got: ceilingUnits } },
    )
  if (ceilingUnits > balanceUnits || ceilingUnits > MAX_CHANNEL_UNITS)
    return refuse(
      'voucher_above_deposit',
      `The channel ${id} had ${balanceUnits} units at the last final block, and this voucher is for ${ceilingUnits}. ` +
        'Deposit more, wait until the deposit is final, or sign less.',
      { details: { channelId: id, have: balanceUnits, got: ceilingUnits } },
    )
  return null
}

/** Money to move, in units: from outside to the tenant or the operator, or back. */
export type Movement = {
  /** To the tenant. */
  readonly granted: bigint
  /** To the operator, who stood for it. */
  readonly repaid: bigint
  /** From the tenant. */
  readonly returned: bigint
  /** From the operator, who stands for it. */
  readonly covered: bigint
}

const NOTHING: Movement = { granted: 0n, repaid: 0n, returned: 0n, covered: 0n }

/** A voucher that `whyNoVoucher` has nothing against. */
export function takeVoucher<C extends ChannelMoney>(
  channel: C,
  ceilingUnits: bigint,
): { readonly channel: C; readonly movement: Movement } {
  return raise(
    {
      ...channel,
      allowedUnits: ceilingUnits,
      ceilingUnits: most(channel.ceilingUnits, ceilingUnits),
    },
    ceilingUnits,
  )
}

function raise<C extends ChannelMoney>(
  channel: C,
  creditedUnits: bigint,
): { readonly channel: C; readonly movement: Movement } {
  const rise = creditedUnits - channel.creditedUnits
  const repaid = least(rise, channel.uncollectedUnits)
  const uncollectedUnits = channel.uncollectedUnits - repaid
  return {
    channel: { ...channel, creditedUnits, uncollectedUnits },
    movement: { ...NOTHING, granted: rise - repaid, repaid },
  }
}

/**
 * Counts what is spent of each channel of one account, given oldest first, from the account's balance: voucher money is spent
 * last, the oldest channel's first. What was counted once stays: credit of another kind that comes later does not undo it.
 * A unit that is used in part counts as not spent, but for a channel that closes: there the rest of the unit stays in the
 * balance, and the unit is claimed.
 */
export function countSpent<C extends ChannelMoney>(
  channels: readonly C[],
  balanceNanoUsd: NanoUsd,
): readonly C[] {
  const granted = channels.reduce((sum, channel) => sum + grantedUnits(channel), 0n)
  let left = most(0n, granted * NANO_PER_UNIT - balanceNanoUsd)
  return channels.map((channel) => {
    const here = least(left, grantedUnits(channel) * NANO_PER_UNIT)
    left -= here
    const round = channel.state === 'closing' ? NANO_PER_UNIT - 1n : 0n
    const spent = (here + round) / NANO_PER_UNIT
    return { ...channel, chargedUnits: most(channel.chargedUnits, spent) }
  })
}

/** What the chain says of a channel. */
export type ChannelOnChain = {
  readonly balanceUnits: bigint
  readonly claimedUnits: bigint
}

/** Takes over what the last final block says, without moving any money yet. */
export function learn<C extends ChannelMoney>(
  channel: C,
  { balanceUnits, claimedUnits }: ChannelOnChain,
): C {
  return { ...channel, balanceUnits: least(balanceUnits, MAX_CHANNEL_UNITS), claimedUnits }
}

/**
 * A payer starts to leave, or was seen not to: an exit that a reorganisation took back, or that is over, leaves the channel
 * usable. What both agreed on goes on either way.
 */
export function noteExit<C extends ChannelMoney>(channel: C, exiting: boolean): C {
  if (exiting) return { ...channel, state: 'closing', leaving: 'exit' }
  if (channel.leaving === 'exit') return settleState({ ...channel, leaving: null })
  return channel.state === 'closing' ? channel : settleState(channel)
}

/** Open or closed, by what is left in the contract. */
const settleState = <C extends ChannelMoney>(channel: C): C => ({
  ...channel,
  state: channel.balanceUnits <= channel.claimedUnits ? 'closed' : 'open',
})

export const leaveByConsent = <C extends ChannelMoney>(channel: C): C =>
  channel.leaving === null ? { ...channel, state: 'closing', leaving: 'consent' } : channel

export const closedByConsent = <C extends ChannelMoney>(channel: C): C =>
  settleState({ ...channel, leaving: null })

/**
 * Moves the channel's credit to where it belongs: up to what vouchers allow and the contract has; where the channel closes, down to
 * what was spent. `availableUnits` is what the tenant has that nothing else holds. What a vanished deposit leaves uncovered
 * and the tenant no longer has is the operator's.
 */
export function balance<C extends ChannelMoney>(
  channel: C,
  availableUnits: bigint,
): { readonly channel: C; readonly movement: Movement } {
  const target = least(channel.allowedUnits, channel.balanceUnits)
  if (channel.state === 'open' && target > channel.creditedUnits) return raise(channel, target)
  const { creditedUnits, uncollectedUnits } = channel
  const unspent =
    channel.state === 'closing' && uncollectedUnits === 0n ? unspentUnits(channel) : 0n
  const missing = most(0n, creditedUnits - channel.balanceUnits)
  const returned = least(most(unspent, missing), availableUnits)
  const covered = most(0n, creditedUnits - returned - channel.balanceUnits)
  const after = creditedUnits - returned - covered
  const moved = {
    ...channel,
    creditedUnits: after,
    uncollectedUnits: uncollectedUnits + covered,
    allowedUnits: channel.state === 'open' ? channel.allowedUnits : after,
  }
  return {
    channel: { ...moved, chargedUnits: least(moved.chargedUnits, grantedUnits(moved)) },
    movement: { ...NOTHING, returned, covered },
  }
}

const least = (a: bigint, b: bigint): bigint => (a < b ? a : b)
const most = (a: bigint, b: bigint): bigint => (a > b ? a : b)
