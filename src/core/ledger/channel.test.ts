import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { isRefusal } from '../base/refusal.ts'
import {
  balance,
  claimableUnits,
  closedByConsent,
  countSpent,
  grantedUnits,
  learn,
  leaveByConsent,
  MAX_CHANNEL_UNITS,
  NANO_PER_UNIT,
  noteExit,
  takeVoucher,
  unspentUnits,
  whyNoVoucher,
  type ChannelMoney,
} from './channel.ts'

describe('a voucher', () => {
  it('adds what it allows beyond the last one', () => {
    const first = takeVoucher(deposited(100n), 40n)
    assert.equal(first.movement.granted, 40n)
    const second = takeVoucher(first.channel, 100n)
    assert.equal(second.movement.granted, 60n)
    assert.equal(second.channel.creditedUnits, 100n)
  })

  it('is refused when it is not higher, not covered by a final deposit, or the channel closes', () => {
    const { channel } = takeVoucher(deposited(100n), 40n)
    const why = (ceiling: bigint, of: ChannelMoney = channel) =>
      whyNoVoucher('0x1', of, ceiling)?.code ?? null
    assert.equal(why(39n), 'voucher_stale')
    assert.equal(why(40n), 'voucher_stale')
    assert.equal(why(41n), null)
    assert.equal(why(100n), null)
    assert.equal(why(101n), 'voucher_above_deposit')
    assert.equal(why(41n, noteExit(channel, true)), 'channel_closing')
    assert.equal(why(41n, leaveByConsent(channel)), 'channel_closing')
    const rich = learn(channel, { balanceUnits: 2n ** 127n, claimedUnits: 0n })
    assert.equal(why(MAX_CHANNEL_UNITS, rich), null)
    assert.equal(why(MAX_CHANNEL_UNITS + 1n, rich), 'voucher_above_deposit')
    assert.ok(isRefusal(whyNoVoucher('0x1', channel, 1n)))
  })
})

describe('closing', () => {
  it('gives back what is unspent, claims what is spent, and keeps the part of a unit in the balance', () => {
    const { channel } = takeVoucher(deposited(100n), 100n)
    const balanceNanoUsd = 100_000n - 30_500n
    const [counted] = countSpent([leaveByConsent(channel)], balanceNanoUsd)
    const closed = balance(counted!, balanceNanoUsd / NANO_PER_UNIT)
    assert.equal(closed.movement.returned, 69n)
    assert.equal(claimableUnits(closed.channel), 31n)
    assert.equal(unspentUnits(closed.channel), 0n)
    assert.equal(
      balanceNanoUsd - 69_000n,
      500n,
      'what the claim took too much is still the tenant’s',
    )
  })

  it('waits for what holds keep', () => {
    const { channel } = takeVoucher(deposited(100n), 100n)
    const first = balance(leaveByConsent(channel), 60n)
    assert.equal(first.movement.returned, 60n)
    assert.equal(unspentUnits(first.channel), 40n)
    const second = balance(first.channel, 40n)
    assert.equal(second.movement.returned, 40n)
    assert.equal(claimableUnits(second.channel), 0n)
  })

  it('is taken back with the exit that a reorganisation took back, and a new voucher may be as high as the deposit', () => {
    const { channel } = takeVoucher(deposited(100n), 100n)
    const leaving = balance(noteExit(channel, true), 100n).channel
    assert.equal(leaving.creditedUnits, 0n)
    const back = noteExit(leaving, false)
    assert.equal(back.state, 'open')
    assert.equal(balance(back, 0n).movement.granted, 0n, 'nothing without a new voucher')
    assert.equal(whyNoVoucher('0x1', back, 100n), null)
  })
})

describe('a deposit that vanishes', () => {
  it('is the operator’s as far as the tenant has spent it, who gets it back first when it comes back', () => {
    const { channel } = takeVoucher(deposited(100n), 100n)
    const [spent] = countSpent([channel], 20_000n)
    const gone = balance(learn(spent!, { balanceUnits: 50n, claimedUnits: 0n }), 20n)
    assert.deepEqual(gone.movement, { granted: 0n, repaid: 0n, returned: 20n, covered: 30n })
    assert.equal(claimableUnits(gone.channel), 50n)
    const back = balance(learn(gone.channel, { balanceUnits: 100n, claimedUnits: 0n }), 0n)
    assert.deepEqual(back.movement, { granted: 20n, repaid: 30n, returned: 0n, covered: 0n })
    assert.equal(claimableUnits(back.channel), 80n)
  })
})

describe('channels of one account', () => {
  it('are used up in the order in which they were made, and after all other credit', () => {
    const two = [100n, 50n].map((units) => takeVoucher(deposited(units), units).channel)
    const charged = (balanceNanoUsd: bigint) =>
      countSpent(two, balanceNanoUsd).map(({ chargedUnits }) => chargedUnits)
    assert.deepEqual(charged(1_000_000n), [0n, 0n])
    assert.deepEqual(charged(150_000n), [0n, 0n])
    assert.deepEqual(charged(60_000n), [90n, 0n])
    assert.deepEqual(charged(20_000n), [100n, 30n])
    assert.deepEqual(charged(0n), [100n, 50n])
  })

  it('hold in any order of events: nothing is made, lost, or claimed that was not signed, deposited and spent', () => {
    fc.assert(
      fc.property(fc.array(event, { maxLength: 60 }), (events) => {
        const account = new Account()
        for (const each of events) {
          account.apply(each)
          account.check()
        }
      }),
      { numRuns: 500 },
    )
  })
})

function deposited(units: bigint): ChannelMoney {
  return {
    state: 'open',
    leaving: null,
    balanceUnits: units,
    claimedUnits: 0n,
    ceilingUnits: 0n,
    allowedUnits: 0n,
    creditedUnits: 0n,
    uncollectedUnits: 0n,
    chargedUnits: 0n,
  }
}

const CHANNELS = 3
const KINDS = [
  'deposit',
  'voucher',
  'use',
  'credit',
  'hold',
  'release',
  'claim',
  'exit',
  'stay',
  'consent',
  'agreed',
  'vanish',
  'withdraw',
  'look',
] as const

const event = fc.record({
  kind: fc.constantFrom(...KINDS),
  at: fc.integer({ min: 0, max: CHANNELS - 1 }),
  amount: fc.bigInt({ min: 1n, max: 120_000n }),
})

/** A tenant's ledger account, its channels, and the contract behind them. */
class Account {
  channels: readonly ChannelMoney[] = Array.from({ length: CHANNELS }, () => deposited(0n))
  /** What the contract has now: taken over by `look`, as the gateway does at a final block. */
  readonly chain = Array.from({ length: CHANNELS }, () => ({ balanceUnits: 0n, claimedUnits: 0n }))
  readonly exiting = Array.from({ length: CHANNELS }, () => false)
  balanceNanoUsd = 0n
  heldNanoUsd = 0n
  otherNanoUsd = 0n
  usedNanoUsd = 0n
  operatorUnits = 0n
  /** Claims round a unit up when a channel closes. */
  closings = 0n
  asked = Array.from({ length: CHANNELS }, () => 0n)
  vanished = false

  apply({ kind, at, amount }: { kind: (typeof KINDS)[number]; at: number; amount: bigint }): void {
    const chain = this.chain[at]!
    const channel = this.channels[at]!
    const units = amount / NANO_PER_UNIT + 1n
    if (kind === 'deposit') chain.balanceUnits += units
    else if (kind === 'voucher') {
      const ceiling = channel.allowedUnits + units
      if (whyNoVoucher('0x1', channel, ceiling) === null)
        this.move(at, takeVoucher(channel, ceiling))
    } else if (kind === 'use') {
      const free = this.balanceNanoUsd - this.heldNanoUsd
      const used = amount < free ? amount : free
      this.balanceNanoUsd -= used
      this.usedNanoUsd += used
    } else if (kind === 'credit') {
      this.balanceNanoUsd += amount
      this.otherNanoUsd += amount
    } else if (kind === 'hold') {
      const held = this.heldNanoUsd + amount
      this.heldNanoUsd = held < this.balanceNanoUsd ? held : this.balanceNanoUsd
    } else if (kind === 'release') this.heldNanoUsd = 0n
    else if (kind === 'claim') {
      const claim = claimableUnits(channel)
      if (claim <= chain.balanceUnits && claim > chain.claimedUnits) chain.claimedUnits = claim
    } else if (kind === 'exit' || kind === 'consent') {
      if (channel.state !== 'closing') this.closings += 1n
      this.exiting[at] = kind === 'exit' || this.exiting[at]!
      if (kind === 'consent') this.replace(at, leaveByConsent(channel))
      this.look()
    } else if (kind === 'stay') {
      this.exiting[at] = false
      this.look()
    } else if (kind === 'agreed') {
      if (channel.leaving === 'consent') this.replace(at, closedByConsent(channel))
    } else if (kind === 'vanish') {
      const left = chain.balanceUnits - units
      chain.balanceUnits = left > 0n ? left : 0n
      if (chain.claimedUnits > chain.balanceUnits) chain.claimedUnits = chain.balanceUnits
      this.vanished = true
      this.look()
    } else if (kind === 'withdraw') {
      if (this.exiting[at]) chain.balanceUnits = chain.claimedUnits
      this.exiting[at] = false
      this.vanished ||= channel.creditedUnits > chain.balanceUnits
      this.look()
    } else this.look()
  }

  look(): void {
    this.channels = countSpent(
      this.channels.map((channel, at) =>
        noteExit(learn(channel, this.chain[at]!), this.exiting[at]!),
      ),
      this.balanceNanoUsd,
    )
    for (const [at, channel] of this.channels.entries()) {
      const free = (this.balanceNanoUsd - this.heldNanoUsd) / NANO_PER_UNIT
      this.move(at, balance(channel, free))
    }
  }

  move(at: number, { channel, movement }: ReturnType<typeof balance<ChannelMoney>>): void {
    const { granted, repaid, returned, covered } = movement
    for (const units of [granted, repaid, returned, covered]) assert.ok(units >= 0n)
    assert.equal(
      channel.creditedUnits - this.channels[at]!.creditedUnits,
      granted + repaid - returned - covered,
    )
    this.balanceNanoUsd += (granted - returned) * NANO_PER_UNIT
    this.operatorUnits += repaid - covered
    this.replace(at, channel)
  }

  replace(at: number, channel: ChannelMoney): void {
    this.channels = this.channels.map((other, index) => (index === at ? channel : other))
  }

  check(): void {
    let granted = 0n
    let unspent = 0n
    let claimable = 0n
    let uncollected = 0n
    for (const [at, channel] of this.channels.entries()) {
      const { creditedUnits, allowedUnits, ceilingUnits, balanceUnits, chargedUnits } = channel
      assert.ok(creditedUnits <= allowedUnits && allowedUnits <= ceilingUnits, 'more than signed')
      assert.ok(creditedUnits <= balanceUnits, 'more than deposited')
      assert.ok(chargedUnits <= grantedUnits(channel), 'more charged than given')
      const claim = claimableUnits(channel)
      assert.ok(claim <= chargedUnits && claim <= ceilingUnits && claim <= balanceUnits)
      if (!this.vanished) assert.ok(claim >= this.asked[at]!, 'a claim that goes back')
      this.asked[at] = claim
      granted += grantedUnits(channel)
      unspent += unspentUnits(channel)
      claimable += claim
      uncollected += channel.uncollectedUnits
    }
    assert.ok(this.heldNanoUsd <= this.balanceNanoUsd, 'what is held was taken')
    assert.equal(
      this.balanceNanoUsd,
      granted * NANO_PER_UNIT + this.otherNanoUsd - this.usedNanoUsd,
      'made or lost',
    )
    assert.equal(this.operatorUnits, -uncollected)
    assert.ok(claimable * NANO_PER_UNIT <= this.usedNanoUsd + this.closings * NANO_PER_UNIT)
    if (!this.vanished) assert.ok(unspent <= granted && this.operatorUnits === 0n)
  }
}
