import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { FlowTable } from './flow-table.ts'

describe('a table of flows', () => {
  it('keeps as many as it may; the one that was quiet for longest makes room', () => {
    const { table, gone } = setup()
    table.add('a', 1, 0)
    table.add('b', 2, 1)
    table.add('c', 3, 2)
    assert.equal(table.use('a', 3), 1)
    table.add('d', 4, 4)
    assert.deepEqual([gone, table.size], [['b'], 3])
    assert.equal(table.use('b', 5), undefined)
  })

  it('forgets a flow once it was idle for its time, and not before', () => {
    const { table, gone } = setup()
    table.add('a', 1, 0)
    table.add('b', 2, 50)
    table.sweep(99)
    assert.deepEqual(gone, [])
    table.sweep(100)
    assert.deepEqual(gone, ['a'])
    table.use('b', 140)
    table.sweep(239)
    assert.deepEqual(gone, ['a'])
    table.sweep(240)
    assert.deepEqual([gone, table.size], [['a', 'b'], 0])
  })

  it('tells of each that leaves, once', () => {
    const { table, gone } = setup()
    table.add('a', 1, 0)
    table.add('a', 2, 0)
    table.remove('a')
    table.remove('a')
    table.add('b', 3, 0)
    table.clear()
    assert.deepEqual(gone, ['a', 'a', 'b'])
  })
})

function setup() {
  const gone: string[] = []
  const table = new FlowTable<string, number>({ max: 3, idleMs: 100 }, (_, key) => gone.push(key))
  return { table, gone }
}
