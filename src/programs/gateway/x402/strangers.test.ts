import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { isRefusal } from '../../../core/base/refusal.ts'
import { networkOf, Strangers, type StrangerLimits } from './strangers.ts'

const limits: StrangerLimits = { perSecond: 2, burst: 3, concurrent: 2, concurrentOfAll: 3 }

describe('strangers', () => {
  it('gives each address a burst, and then so many a second', () => {
    const { strangers, clock } = setup()
    const come = () => {
      const leave = strangers.enter('192.0.2.1')
      if (!isRefusal(leave)) leave()
      return isRefusal(leave) ? leave.code : 'in'
    }
    assert.deepEqual([come(), come(), come(), come()], ['in', 'in', 'in', 'rate_limit_exceeded'])
    clock.ms += 500
    assert.deepEqual([come(), come()], ['in', 'rate_limit_exceeded'])
    assert.ok(!isRefusal(strangers.enter('192.0.2.2')), 'another address has its own')
  })

  it('lets so many of an address, and of all, be inside at a time', () => {
    const { strangers } = setup()
    const first = strangers.enter('192.0.2.1')
    assert.ok(!isRefusal(first))
    assert.ok(!isRefusal(strangers.enter('192.0.2.1')))
    const third = strangers.enter('192.0.2.1')
    assert.ok(isRefusal(third) && third.code === 'concurrency_limit_exceeded')
    assert.ok(!isRefusal(strangers.enter('192.0.2.2')))
    assert.ok(isRefusal(strangers.enter('192.0.2.3')), 'three of all')
    first()
    first()
    assert.ok(!isRefusal(strangers.enter('192.0.2.3')))
    assert.ok(isRefusal(strangers.enter('192.0.2.4')), 'leaving twice counts once')
  })

  it('knows an IPv6 host by its /64, and IPv4 by itself however it is written', () => {
    assert.equal(networkOf('2001:db8:1:2:3:4:5:6'), networkOf('2001:DB8:1:2::9'))
    assert.notEqual(networkOf('2001:db8:1:2::9'), networkOf('2001:db8:1:3::9'))
    assert.equal(networkOf('::ffff:192.0.2.1'), '192.0.2.1')
    assert.equal(networkOf('::1'), '0:0:0:0')
  })
})

function setup() {
  const clock = { ms: 1_000_000 }
  return { clock, strangers: new Strangers(() => clock.ms, limits) }
}
