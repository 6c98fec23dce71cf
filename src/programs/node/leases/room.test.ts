import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { groupOf, GIB, H100, HOST, type Wish } from './test-kit.ts'
import { keptNeedOf, needOf, RoomBook, type Hold, type HostRoom, type Need } from './room.ts'

describe('room of a node', () => {
  it('is taken and given back', () => {
    const book = new RoomBook(HOST)
    const hold = take(book, 'a', { cpuMilli: 3000, memoryBytes: 6 * GIB })
    assert.equal(book.free.cpuMilli, 1000)
    assert.equal(book.free.memoryBytes, 2 * GIB)
    assert.ok('lease' in hold)
    book.giveBack(hold)
    assert.deepEqual(book.free, new RoomBook(HOST).free)
    assert.throws(() => book.giveBack(hold), /once/)
  })

  it('says what is short, with both numbers', () => {
    const book = new RoomBook(HOST)
    take(book, 'a', { cpuMilli: 3500, memoryBytes: 5 * GIB })
    assert.deepEqual(take(book, 'b', { cpuMilli: 1000, memoryBytes: 4 * GIB }), {
      short: 'CPU 0.5 free < 1 asked; memory 3.0 GiB free < 4.0 GiB asked',
    })
    assert.deepEqual(take(book, 'b', { volumes: [['default', 200 * GIB]] }), {
      short: 'disk + storage default 100.0 GiB free < 201.0 GiB asked',
    })
    assert.deepEqual(take(book, 'b', { volumes: [['beta1', GIB]] }), {
      short: 'storage beta1 is not offered',
    })
    assert.deepEqual(take(book, 'b', { gpus: 3 }), {
      short: 'GPU nvidia h100 80 GiB sxm 2 free < 3 asked',
    })
  })

  it('counts each copy, RAM volumes as memory, and all storage of one file system once', () => {
    const group = groupOf({
      count: 2,
      volumes: [
        ['ram', GIB],
        ['default', 10 * GIB],
      ],
    })
    const need = needOf(group, [null], HOST)
    assert.ok(!('short' in need))
    assert.deepEqual(
      { memory: need.memoryBytes / GIB, disk: need.diskBytes.map((bytes) => bytes / GIB) },
      { memory: 4, disk: [22] },
    )
    const kept = keptNeedOf(group, HOST)
    assert.ok(!('short' in kept))
    assert.deepEqual([kept.cpuMilli, kept.memoryBytes, kept.diskBytes], [0, 0, [20 * GIB]])
  })

  it('lets a lease grow over its own room, and holds the larger of both until the old is gone', () => {
    const book = new RoomBook(HOST)
    const old = take(book, 'a', { cpuMilli: 3000, gpus: 1 })
    const grown = take(book, 'a', { cpuMilli: 4000, gpus: 2 })
    assert.ok('lease' in old && 'lease' in grown)
    assert.ok(grown.gpus.get(1)?.includes(old.gpus.get(1)?.[0] ?? ''))
    assert.equal(book.free.cpuMilli, 0)
    const shrunk = take(book, 'a', { cpuMilli: 1000 })
    book.giveBack(old)
    assert.equal(book.free.cpuMilli, 0)
    book.giveBack(grown)
    assert.equal(book.free.cpuMilli, 3000)
    assert.ok('lease' in shrunk)
  })

  it('never sells more than there is, nor one GPU twice, whatever is asked in whatever order', () => {
    const step = fc.record({
      lease: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
      giveBack: fc.boolean(),
      cpuMilli: fc.integer({ min: 1, max: 5000 }),
      memoryGiB: fc.integer({ min: 0, max: 9 }),
      diskGiB: fc.integer({ min: 0, max: 120 }),
      gpus: fc.integer({ min: 0, max: 3 }),
    })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const book = new RoomBook(HOST)
        const holds: Hold[] = []
        for (const { lease, giveBack, cpuMilli, memoryGiB, diskGiB, gpus } of steps) {
          const last = holds.findLast((hold) => hold.lease === lease)
          if (giveBack && last) {
            book.giveBack(last)
            holds.splice(holds.indexOf(last), 1)
          } else {
            const volumes: [string, number][] = [['default', diskGiB * GIB]]
            const hold = take(book, lease, {
              cpuMilli,
              memoryBytes: memoryGiB * GIB,
              volumes,
              gpus,
            })
            if ('lease' in hold) holds.push(hold)
          }
          checkSold(holds, HOST)
        }
        for (const hold of holds) book.giveBack(hold)
        assert.deepEqual(book.free, new RoomBook(HOST).free)
      }),
      { numRuns: 300 },
    )
  })
})

/** What the leases run on at the same time, each in its largest shape, fits the machine. */
function checkSold(holds: readonly Hold[], host: HostRoom): void {
  const owners = new Map<string, string>()
  const most = new Map<string, { cpuMilli: number; memoryBytes: number; disk: number }>()
  for (const hold of holds) {
    const before = most.get(hold.lease) ?? { cpuMilli: 0, memoryBytes: 0, disk: 0 }
    most.set(hold.lease, {
      cpuMilli: Math.max(before.cpuMilli, hold.cpuMilli),
      memoryBytes: Math.max(before.memoryBytes, hold.memoryBytes),
      disk: Math.max(before.disk, hold.diskBytes[0] ?? 0),
    })
    const cdis = [...hold.gpus.values()].flat()
    assert.equal(new Set(cdis).size, cdis.length)
    for (const cdi of cdis) {
      assert.equal(owners.get(cdi) ?? hold.lease, hold.lease)
      owners.set(cdi, hold.lease)
    }
  }
  const sum = (of: (one: { cpuMilli: number; memoryBytes: number; disk: number }) => number) =>
    [...most.values()].reduce((total, one) => total + of(one), 0)
  assert.ok(sum(({ cpuMilli }) => cpuMilli) <= host.cpuMilli)
  assert.ok(sum(({ memoryBytes }) => memoryBytes) <= host.memoryBytes)
  assert.ok(sum(({ disk }) => disk) <= (host.disks[0]?.bytes ?? 0))
}

function take(book: RoomBook, lease: string, wish: Wish) {
  const need: Need | { short: string } = needOf(groupOf(wish), [wish.gpus ? H100 : null], HOST)
  return 'short' in need ? need : book.take(lease, need)
}
