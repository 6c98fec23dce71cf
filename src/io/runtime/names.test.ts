import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  bridgeName,
  bridgePrefix,
  checkName,
  hasLabels,
  instanceOf,
  LABEL,
  leaseLabels,
  targetOf,
} from './names.ts'

describe('names of a lease at the engine', () => {
  it('fit a network interface, and tell agents and leases apart', () => {
    const [one, other] = [instanceOf('node-one'), instanceOf('node-two')]
    const bridges = [bridgeName(one, 'a'), bridgeName(one, 'b'), bridgeName(other, 'a')]
    assert.equal(new Set(bridges).size, 3)
    for (const bridge of bridges) assert.ok(bridge.length <= 15)
    assert.ok(bridges[0]?.startsWith(bridgePrefix(one)))
  })

  it('are plain words', () => {
    for (const name of ['a', 'lease_0abc', 'x.y-z'])
      assert.doesNotThrow(() => checkName('lease', name))
    for (const name of ['', '-a', 'a/b', 'a b', 'ä', 'x'.repeat(65)])
      assert.throws(() => checkName('lease', name), { code: 'lease_invalid' })
  })

  it('come back from labels', () => {
    const labels = {
      ...leaseLabels('ab12', 'one', 7),
      [LABEL.service]: 'web',
      [LABEL.replica]: '2',
    }
    assert.deepEqual(targetOf(labels), { lease: 'one', service: 'web', replica: 2, epoch: 7 })
    assert.equal(targetOf({ other: 'x' }), null)
    assert.equal(targetOf(null), null)
    assert.ok(hasLabels(labels, { [LABEL.lease]: 'one' }))
    assert.ok(!hasLabels(labels, { [LABEL.lease]: 'one', [LABEL.instance]: 'other' }))
  })
})
