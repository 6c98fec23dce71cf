import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { MINUTE } from '../../../core/base/time.ts'
import { OrderLimits } from './order-limits.ts'

const HOUR = 60 * MINUTE
const NEW = { tenant: 'acct_1', renews: false }

describe('orders of certificates', () => {
  it('are so many an hour for a tenant, and so many for all', () => {
    const limits = new OrderLimits({ perHour: 4, perTenantPerHour: 2 })
    limits.ordered('acct_1', 0)
    assert.equal(limits.whyNot({ ...NEW, name: 'a' }, 1), null)
    limits.ordered('acct_1', 1)
    assert.match(limits.whyNot({ ...NEW, name: 'a' }, 2) ?? '', /2 were ordered for the tenant/)
    assert.equal(limits.whyNot({ ...NEW, name: 'a', tenant: 'acct_2' }, 2), null)
    limits.ordered('acct_2', 2)
    limits.ordered(null, 3)
    assert.match(limits.whyNot({ ...NEW, name: 'own', tenant: null }, 4) ?? '', /4 were ordered/)
    assert.equal(limits.whyNot({ ...NEW, name: 'a', renews: true }, 4), null, 'renewals go on')
    assert.notEqual(limits.whyNot({ ...NEW, name: 'a', tenant: 'acct_2' }, HOUR - 1), null)
    assert.equal(limits.whyNot({ ...NEW, name: 'a', tenant: 'acct_2' }, HOUR), null)
  })

  it('that failed are tried again after a pause that doubles, five times an hour at most', () => {
    const limits = new OrderLimits({ perHour: 1_000, perTenantPerHour: 1_000 })
    const tries: number[] = []
    for (let now = 0; now < 24 * HOUR; now += MINUTE) {
      if (limits.whyNot({ ...NEW, name: 'a', renews: true }, now) !== null) continue
      limits.failed('a', now)
      tries.push(now / MINUTE)
    }
    assert.deepEqual(tries, [0, 2, 6, 14, 30, 62, 126, 254, 510, 870, 1230])
    assert.equal(limits.whyNot({ ...NEW, name: 'b' }, 1), null, 'other names are free')
    limits.succeeded('a')
    assert.equal(limits.whyNot({ ...NEW, name: 'a' }, 24 * HOUR), null)
  })

  it('do not forget a failure while it counts, whether the name is in use or not', () => {
    const limits = new OrderLimits({ perHour: 9, perTenantPerHour: 9 })
    limits.failed('a', 0)
    limits.keep(() => false, 1)
    assert.match(limits.whyNot({ ...NEW, name: 'a' }, 1) ?? '', /failed 1 times/)
    limits.keep(() => false, 2 * MINUTE)
    assert.equal(limits.failed('a', 2 * MINUTE), 4 * MINUTE, 'it counts from one again')
  })
})
