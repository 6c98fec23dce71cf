/** Auctions in which providers' pricing programs bid. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { parseUsd } from '../../../core/base/money.ts'
import { isRefusal } from '../../../core/base/refusal.ts'
import { rateOf } from '../../../core/base/rate.ts'
import { MAX_BID_MS } from '../../../core/protocol/bid.ts'
import { ephemeralIdentity } from '../../../io/keys/identity.ts'
import type { FakeLeasingNode } from './fake-leasing-node.ts'
import { sdl, setupBook as setup, view, wish } from './lease-book-kit.ts'

const timeout = 30_000
const perHour = (usd: string) => rateOf(parseUsd(usd) ?? 0n, 'hour')
const at = (usd: string) => ({ rate: String(perHour(usd)) })
const asked = (node: FakeLeasingNode) => node.told.filter(({ kind }) => kind === 'bid').length

describe('an auction with pricing programs', { timeout }, () => {
  it('weighs them against standing prices, and bills what the program bid', async (t) => {
    const net = await setup(t)
    // Half a CPU of it is half a cent.
    const sheet = net.node({ cpuPrice: '0.01' })
    const program = net.node({ program: at('0.004') })
    const screening = await net.service.screen(net.account, sdl(), false)
    assert.ok(!isRefusal(screening))
    assert.deepEqual(
      screening.groups[0]?.bids.map(({ node, by, rate }) => [node, by, rate]),
      [
        [program.node, 'program', perHour('0.004')],
        [sheet.node, 'sheet', perHour('0.01') / 2n],
      ],
    )
    const made = await net.deploy()
    const lease = await net.until(made.id, 'running')
    assert.deepEqual([lease.node, lease.rate], [program.node, perHour('0.004')])
    assert.equal(asked(program), 1, 'what was said a moment ago is taken')
    net.pass(3_600_000)
    program.beat()
    await net.bill()
    assert.equal((await net.lease(made.id)).spentNanoUsd, 3_999_999n)
  })

  it('takes the standing price where that is lower, and does not wait for ever', async (t) => {
    const net = await setup(t)
    const sheet = net.node({ cpuPrice: '0.01' })
    net.node({ program: at('0.9') })
    const silent = net.node({ program: 'late' })
    const began = performance.now()
    const made = await net.deploy()
    const lease = await net.until(made.id, 'running')
    assert.equal(lease.node, sheet.node)
    assert.equal(asked(silent), 1)
    assert.ok(performance.now() - began < 5000)
  })

  it('counts who is late, fails, lies or does not sign, each with its reason', async (t) => {
    const net = await setup(t)
    net.node({ program: 'late' })
    for (const message of ['its pricing program ended with 1', 'its pricing program ended with 1'])
      net.node({ program: { code: 'bid_failed', message } })
    net.node({ program: { ...at('0.001'), signer: ephemeralIdentity('node') } })
    // Over the tenant's ceiling of a dollar, for another tenant, and one that would stand for ever: absurd.
    net.node({ program: at('1.1') })
    net.node({ program: { ...at('0.1'), change: { tenant: 'acct_other' } } })
    net.node({ program: { ...at('0.1'), change: { expiresAtMs: net.now() + MAX_BID_MS + 1 } } })
    const good = net.node({ program: at('0.5') })
    const screening = await net.service.screen(net.account, sdl(), false)
    assert.ok(!isRefusal(screening))
    const [group] = screening.groups
    assert.deepEqual(
      group?.bids.map(({ node }) => node),
      [good.node],
    )
    const reasons = group?.reasons ?? []
    assert.match(reasons[0] ?? '', /^3 of 8 nodes: .+ \(bid_invalid\)$/)
    assert.equal(reasons[1], '2 of 8 nodes: its pricing program ended with 1 (bid_failed)')
    assert.deepEqual(reasons.slice(2).toSorted(), [
      '1 of 8 nodes: its bid is not signed by it (bid_unsigned)',
      '1 of 8 nodes: no bid came within 500 ms (bid_late)',
    ])
  })

  it('refuses a deployment that no program takes, with their reasons', async (t) => {
    const net = await setup(t)
    net.node({ program: { code: 'bid_failed', message: 'its pricing program ended with 7' } })
    const refusal = await net.service.deploy(net.account, 'key_none', wish())
    assert.ok(isRefusal(refusal) && refusal.code === 'no_matching_node')
    assert.match(refusal.message, /1 of 1 nodes: its pricing program ended with 7/)
  })

  it('shows the node its own bid when it asks for the signature', async (t) => {
    const net = await setup(t)
    const node = net.node({ program: at('0.5') })
    const made = await net.deploy()
    await net.until(made.id, 'running')
    const ask = node.told.find((one) => one.kind === 'ask')
    assert.ok(ask?.kind === 'ask' && ask.bid)
    assert.match(ask.bid.bid, new RegExp(`"node":"${node.node}"`))
  })

  it('asks again when the node is lost: prices have changed by then', async (t) => {
    const net = await setup(t)
    const first = net.node({ program: at('0.1') })
    const second = net.node({ program: at('0.2') })
    const made = await net.deploy()
    assert.equal((await net.until(made.id, 'running')).node, first.node)
    second.program = at('0.3')
    net.lose(first)
    await net.untilTrue(async () => (await net.lease(made.id)).node === second.node)
    const lease = await net.until(made.id, 'running')
    assert.equal(lease.rate, perHour('0.3'))
    assert.equal(asked(second), 2)
  })

  it('keeps the price that a tenant chose by hand', async (t) => {
    const net = await setup(t)
    const node = net.node({ program: at('0.2') })
    const made = view(
      await net.service.deploy(net.account, 'key_none', { ...wish(), rule: 'manual' }),
    )
    const bids = await net.service.bids(net.account, made.id)
    assert.ok(!isRefusal(bids))
    assert.equal(bids.groups[0]?.bids[0]?.rate, perHour('0.2'))
    node.program = at('0.9')
    net.pass(30_000)
    view(await net.service.accept(net.account, made.id, (await net.lease(made.id)).id, node.node))
    assert.equal((await net.lease(made.id)).rate, perHour('0.2'))
  })

  it('knows the room of what runs, also after a restart of the gateway', async (t) => {
    const net = await setup(t)
    const node = net.node({ program: at('0.2'), capacity: { cpuMilli: 800 } })
    const made = await net.deploy()
    await net.until(made.id, 'running')
    await net.restart()
    net.link(node)
    await net.untilTrue(async () => {
      const screening = await net.service.screen(net.account, sdl(), false)
      return !isRefusal(screening) && screening.groups[0]?.bids.length === 0
    })
  })
})
