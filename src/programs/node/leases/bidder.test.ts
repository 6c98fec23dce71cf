import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { parseUsd } from '../../../core/base/money.ts'
import { priceFor, rateOf } from '../../../core/base/rate.ts'
import { BID_DOMAIN, bidSchema, MAX_BID_MS, totalRate } from '../../../core/protocol/bid.ts'
import type { Group } from '../../../core/protocol/group.ts'
import type { BidReport, BidRequest } from '../../../core/protocol/lease-control.ts'
import { groupText, leaseText, type Lease } from '../../../core/protocol/lease.ts'
import { ephemeralIdentity, sha256Hex, verifySignature } from '../../../io/keys/identity.ts'
import { silentLogger } from '../../../io/telemetry/logger.ts'
import { checkAsk } from './ask-check.ts'
import { Bidder, BID_STANDS_MS } from './bidder.ts'
import { MAX_PROGRAMS, PricingProgram } from './pricing-program.ts'
import { RoomBook } from './room.ts'
import { GATEWAY, GIB, groupOf, H100, HOST, NOW, termsOf } from './test-kit.ts'

const timeout = 20_000
/** A dollar an hour. */
const CEILING = String(rateOf(parseUsd('1') ?? 0n, 'hour'))
/** In Akash's unit, uact a block: ten cents an hour are about 170. */
const TEN_CENTS = '#!/bin/sh\ncat >/dev/null\necho 169.9\n'

describe('a node that prices by a program', { timeout }, () => {
  it('signs a bid at the price that a shell script prints, for this order and nobody else', async (t) => {
    const { ask, identity } = setup(t, TEN_CENTS)
    const report = await ask(groupOf({ maxRate: CEILING, count: 2 }))
    assert.ok(report.kind === 'bid', JSON.stringify(report))
    assert.ok(verifySignature(identity.publicKey, BID_DOMAIN, report.bid, report.signature))
    const bid = bidSchema.parse(JSON.parse(report.bid))
    const group = groupOf({ maxRate: CEILING, count: 2 })
    assert.deepEqual(
      [bid.order, bid.node, bid.tenant, bid.gateway, bid.groupHash],
      ['order_1', identity.id, 'acct_1', GATEWAY, sha256Hex(groupText(group))],
    )
    // For the whole group, however many copies there are.
    assert.equal((Number(priceFor(totalRate(group, bid.units), 'hour')) / 1e9).toFixed(3), '0.100')
    assert.equal(bid.expiresAtMs - bid.issuedAtMs, BID_STANDS_MS)
    assert.ok(BID_STANDS_MS <= MAX_BID_MS)
  })

  it('tells a program in any language who asks, for what, and on which GPU it would run', async (t) => {
    const script = `#!${process.execPath}
let text = ''
process.stdin.on('data', (part) => (text += part))
process.stdin.on('end', () => {
  const { resources: [{ cpu, gpu, count }], price } = JSON.parse(text)
  const { model, ram } = gpu.attributes.vendor.nvidia
  if (process.env.AKASH_OWNER !== 'acct_1' || process.env.AKASH_DENOM !== price.denom) process.exit(4)
  if (model !== 'h100' || ram !== '80Gi' || Object.keys(process.env).some((name) => name.startsWith('BASELOAD'))) process.exit(5)
  console.log(String(cpu / 1000 * count + 100 * gpu.units))
})
`
    const { ask } = setup(t, script)
    const report = await ask(groupOf({ maxRate: CEILING, cpuMilli: 2000, gpus: 2 }))
    assert.ok(report.kind === 'bid', JSON.stringify(report))
    assert.deepEqual(bidSchema.parse(JSON.parse(report.bid)).units[0]?.gpu, H100)
  })

  it('does not bid when its program fails, prints no price or too much, or is too dear or too slow', async (t) => {
    const cases: [string, RegExp, number?][] = [
      ['#!/bin/sh\necho 170\nexit 1\n', /ended with 1$/],
      ['#!/bin/sh\nkill -9 $$\n', /ended with a signal/],
      ['#!/bin/sh\necho about ten cents\n', /said 'about ten cents', no price/],
      ['#!/bin/sh\n', /said nothing/],
      ['#!/bin/sh\nhead -c 5000000 /dev/zero\n', /said more than 4096 characters/],
      ['#!/bin/sh\necho 99999999999\n', /more than a million dollars an hour/],
      ['#!/bin/sh\necho 17000\n', /asks \$10\.\S+\/h, over the \$1\S*\/h allowed/],
      ['#!/bin/sh\nsleep 60\n', /took longer than 0\.2 s/, 200],
      ['#!/no/such/shell\n', /cannot be started/],
    ]
    for (const [script, why, withinMs] of cases) {
      const { ask } = setup(t, script)
      const report = await ask(groupOf({ maxRate: CEILING }), { withinMs: withinMs ?? 10_000 })
      assert.ok(report.kind === 'no_bid', `${script}: ${JSON.stringify(report)}`)
      assert.equal(report.code, 'bid_failed')
      assert.match(report.message, why)
    }
  })

  it('takes the price of a program whose child outlives it', async (t) => {
    const { ask } = setup(t, '#!/bin/sh\nsleep 600 &\necho 170\n')
    const began = performance.now()
    assert.equal((await ask(groupOf({ maxRate: CEILING }))).kind, 'bid')
    assert.ok(performance.now() - began < 5000)
  })

  it('starts no program where there is no room, or while it drains', async (t) => {
    const { ask, bidder, book } = setup(t, '#!/bin/sh\nexit 9\n')
    const large = await ask(groupOf({ maxRate: CEILING, memoryBytes: 9 * GIB }))
    assert.deepEqual(large.kind === 'no_bid' && [large.code, large.message], [
      'lease_no_room',
      'memory 8.0 GiB free < 9.0 GiB asked',
    ])
    const used = new Map([[1, ['nvidia.com/gpu=0']]])
    book.takeAgain('lease_x', { cpuMilli: 0, memoryBytes: 0, diskBytes: [0], gpus: [] }, used)
    const gpus = await ask(groupOf({ maxRate: CEILING, gpus: 2 }))
    assert.match(gpus.kind === 'no_bid' ? gpus.message : '', /1 free that suit < 2 asked/)
    bidder.drain()
    const late = await ask(groupOf({ maxRate: CEILING }))
    assert.equal(late.kind === 'no_bid' && late.code, 'node_draining')
  })

  it('never runs more than a few programs at once', async (t) => {
    const { ask } = setup(t, '#!/bin/sh\nsleep 0.5\necho 170\n')
    const many = Array.from({ length: MAX_PROGRAMS + 3 }, () => ask(groupOf({ maxRate: CEILING })))
    const said = await Promise.all(many)
    assert.equal(said.filter(({ kind }) => kind === 'bid').length, MAX_PROGRAMS)
    const busy = said.filter((one) => one.kind === 'no_bid' && one.code === 'bid_busy')
    assert.equal(busy.length, 3)
    assert.equal((await ask(groupOf({ maxRate: CEILING }))).kind, 'bid')
  })

  it('accepts terms that follow its bid, and no others', async (t) => {
    const { ask, identity } = setup(t, TEN_CENTS)
    const group = groupOf({ maxRate: CEILING })
    const report = await ask(group)
    assert.ok(report.kind === 'bid')
    const { bid: text, signature } = report
    const bid = bidSchema.parse(JSON.parse(text))
    const check = (
      change: Partial<Lease> = {},
      more: { bid?: object; group?: Group; now?: number } = {},
    ) => {
      const wanted = more.group ?? group
      const units = change.units ?? bid.units
      const rate = String(totalRate(wanted, units))
      const terms = termsOf(wanted, { node: identity.id, units, rate, noticeS: 0, ...change })
      const signed = { bid: text, signature, ...more.bid }
      return checkAsk({
        ask: {
          kind: 'ask',
          lease: terms.id,
          epoch: 1,
          group: wanted,
          terms: leaseText(terms),
          bid: signed,
        },
        gateway: change.gateway ?? GATEWAY,
        seller: { node: identity.id, nodeKey: identity.publicKey, prices: null, noticeS: 60 },
        now: more.now ?? NOW,
      })
    }
    const signed = { gpus: [null], owner: { tenant: 'acct_1', deployment: 'dep_1' } }
    assert.deepEqual(check(), signed)
    const [unit] = bid.units
    assert.ok(unit)
    const dearer = [{ ...unit, rate: String(BigInt(unit.rate) + 1n) }]
    assert.deepEqual(check({ units: dearer }), signed)
    const cheaper = [{ ...unit, rate: String(BigInt(unit.rate) - 1n) }]
    const wrong: [ReturnType<typeof check>, RegExp][] = [
      [check({ units: cheaper }), /that this node bid/],
      [check({ tenant: 'acct_2' }), /another tenant/],
      [check({ gateway: 'gw_2' }), /another gateway/],
      [check({}, { group: groupOf({ maxRate: CEILING, cpuMilli: 501 }) }), /another groupHash/],
      [check({}, { now: NOW + BID_STANDS_MS }), /ended 0 ms ago/],
      [
        check({}, { bid: { signature: signature.replace(/^./, (c) => (c === 'A' ? 'B' : 'A')) } }),
        /not signed/,
      ],
      [check({}, { bid: { bid: text.replace('acct_1', 'acct_2') } }), /not signed/],
    ]
    for (const [answer, why] of wrong)
      assert.match('message' in answer ? answer.message : 'accepted', why)
  })
})

describe('a pricing program at the node’s start', { timeout }, () => {
  it('is tried out: what can never bid is told from what has its reasons', async (t) => {
    assert.equal(await setup(t, TEN_CENTS).program.tryOut(), null)
    const picky = await setup(t, '#!/bin/sh\necho not on the list >&2\nexit 2\n').program.tryOut()
    assert.equal(picky?.fatal, false)
    assert.match(picky?.message ?? '', /ended with 2: not on the list$/)
    const garbage = await setup(t, '#!/bin/sh\necho hello\n').program.tryOut()
    assert.equal(garbage?.fatal, true)
    const none = await new PricingProgram('/no/such/program', {}, silentLogger).tryOut()
    assert.equal(none?.fatal, true)
    assert.match(none?.message ?? '', /\/no\/such\/program cannot be started/)
  })
})

function setup(t: TestContext, script: string) {
  const folder = mkdtempSync(join(tmpdir(), 'baseload-pricing-'))
  const path = join(folder, 'price')
  writeFileSync(path, script, { mode: 0o755 })
  const identity = ephemeralIdentity('node')
  const env = { PATH: process.env['PATH'] ?? '', BASELOAD_API_KEY: 'hush' }
  const program = new PricingProgram(path, env, silentLogger)
  const book = new RoomBook(HOST)
  const bidder = new Bidder({
    identity,
    program,
    room: HOST,
    free: () => book.free,
    noticeS: 60,
    now: () => NOW,
    random: (bytes) => new Uint8Array(bytes),
  })
  t.after(() => {
    bidder.close()
    rmSync(folder, { recursive: true, force: true })
  })
  const ask = (group: Group, more: Partial<BidRequest> = {}): Promise<BidReport> =>
    bidder.answer(GATEWAY, {
      kind: 'bid',
      order: 'order_1',
      tenant: 'acct_1',
      group,
      withinMs: 10_000,
      ...more,
    })
  return { ask, bidder, book, identity, program }
}
