import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { CapacityBook } from './capacity-book.ts'
import { choosePlace } from './placement.ts'
import { fits, roomKey, type Need, type Room } from './room.ts'
import { pressures } from './scarcity.ts'
import { WorkloadHistory } from './workload-history.ts'
import { WorkloadMix } from './workload-mix.ts'

const GIB = 2 ** 30

describe('a capacity book', () => {
  it('gives back exactly what it took, and never more than there is', () => {
    fc.assert(
      fc.property(fc.array(aNeedOf(), { maxLength: 40 }), (needs) => {
        const { book, pool } = aBook([aRoom(), aRoom()])
        const before = [book.roomOf('n0'), book.roomOf('n1')].map((room) => room && roomKey(room))
        const mix = new WorkloadMix([])
        const held = needs.filter((need, i) => {
          const place = choosePlace([{ pool, need }], mix, null)
          const [node = ''] = place?.twins.nodes ?? []
          return place !== null && book.reserve(`l${i}`, node, need, place.fit.gpus)
        })
        const cpuMilli = held.reduce((sum, need) => sum + need.cpuMilli, 0)
        assert.ok(cpuMilli <= 2 * aRoom().cpuMilli)
        for (const node of ['n0', 'n1']) assert.ok(isWhole(book.roomOf(node)))
        for (const i of needs.keys()) book.release(`l${i}`)
        const after = [book.roomOf('n0'), book.roomOf('n1')].map((room) => room && roomKey(room))
        assert.deepEqual(after, before)
      }),
    )
  })

  it('reserves once for an id, and releases once', () => {
    const { book } = aBook([aRoom()])
    const need = aNeed({ units: 1 })
    assert.ok(book.reserve('l', 'n0', need, [[0]]))
    assert.ok(!book.reserve('l', 'n0', need, [[1]]))
    assert.deepEqual(book.freeGpuMilli, [3000])
    assert.ok(book.release('l'))
    assert.ok(!book.release('l'))
    assert.deepEqual(book.freeGpuMilli, [4000])
  })

  it('forgets a node that went, and a release on it changes nothing', () => {
    const { book } = aBook([aRoom()])
    book.reserve('l', 'n0', aNeed({ units: 1 }), [[0]])
    book.remove('n0')
    assert.ok(book.release('l'))
    assert.deepEqual([book.size, book.roomOf('n0'), ...book.freeGpuMilli], [0, null, 0])
  })
})

describe('placement', () => {
  it('keeps whole machines whole for those who need them', () => {
    const { book, pool } = aBook([aRoom(), aRoom({ freeMilli: [1000, 0, 0, 0] })])
    const mix = new WorkloadMix([
      { cpuMilli: 4000, gpuUnits: 4, gpuMilli: 1000, kinds: null, weight: 1 },
    ])
    const place = choosePlace([{ pool, need: aNeed({ units: 1 }) }], mix, null)
    assert.deepEqual([...(place?.twins.nodes ?? [])], ['n1'])
    assert.ok(book.reserve('l', 'n1', aNeed({ units: 1 }), place?.fit.gpus ?? []))
  })

  it('gives a part of a GPU from the fullest that will do', () => {
    const { pool } = aBook([aRoom({ freeMilli: [1000, 500, 300, 600] })])
    const mix = new WorkloadMix([])
    const place = choosePlace([{ pool, need: aNeed({ units: 1, milli: 400 }) }], mix, null)
    assert.deepEqual(place?.fit.gpus, [[1]])
  })

  it('keeps those who can run anywhere off the GPUs that others depend on', () => {
    const book = new CapacityBook()
    const pools = [0, 1].map((kind) => book.pool(`kind ${kind}`))
    for (const [kind, pool] of pools.entries())
      for (let i = 0; i < 4; i++) book.set(`n${kind}-${i}`, pool, aRoom({ kind }))
    const mix = new WorkloadMix([
      { cpuMilli: 4000, gpuUnits: 1, gpuMilli: 1000, kinds: null, weight: 2 },
      { cpuMilli: 4000, gpuUnits: 1, gpuMilli: 1000, kinds: new Set([0]), weight: 1 },
    ])
    const openings = pools.map((pool, kind) => ({ pool, need: aNeed({ kind, units: 1 }) }))
    const pressure = pressures(mix, book.freeGpuMilli)
    assert.ok((pressure[0] ?? 0) > (pressure[1] ?? 0), String(pressure))
    assert.equal(choosePlace(openings, mix, pressure)?.twins.pool.key, 'kind 1')
  })

  it('fills a fleet the same way under other node ids, come in another order', () => {
    const rooms = fc.array(
      fc.record({ cpu: fc.integer({ min: 1, max: 8 }), gpus: fc.integer({ min: 0, max: 4 }) }),
      { minLength: 1, maxLength: 12 },
    )
    fc.assert(
      fc.property(rooms, fc.array(aNeedOf(), { maxLength: 30 }), fc.nat(), (sizes, needs, turn) => {
        const named = sizes.map(({ cpu, gpus }) =>
          aRoom({ cpuMilli: cpu * 8000, freeMilli: Array.from({ length: gpus }, () => 1000) }),
        )
        const at = turn % named.length
        const turned = [...named.slice(at), ...named.slice(0, at)].toReversed()
        assert.deepEqual(fill(named, needs), fill(turned, needs))
      }),
    )
  })

  it('finds no place where nothing fits', () => {
    const { pool } = aBook([aRoom()])
    const mix = new WorkloadMix([])
    assert.equal(choosePlace([{ pool, need: aNeed({ units: 5 }) }], mix, null), null)
    assert.equal(choosePlace([{ pool, need: aNeed({ kind: 7, units: 1 }) }], mix, null), null)
    assert.equal(choosePlace([{ pool, need: { ...aNeed(), supplies: [1] } }], mix, null), null)
  })
})

describe('a workload’s history', () => {
  it('makes a mix of what came, and a newer one only now and then', () => {
    const history = new WorkloadHistory()
    const shape = { cpuMilli: 1000, gpuUnits: 1, gpuMilli: 1000, kinds: new Set([1]) }
    const empty = history.mix()
    for (let i = 0; i < 16; i++) history.observe(shape)
    const first = history.mix()
    assert.notEqual(first, empty)
    assert.deepEqual(first.appetites, [{ kinds: new Set([1]), share: 1 }])
    history.observe({ ...shape, kinds: null })
    assert.equal(history.mix(), first)
    for (let i = 0; i < 30_000; i++) history.observe({ ...shape, kinds: null })
    const [old, recent] = history.mix().appetites
    assert.ok((old?.share ?? 0) < 0.001 && (recent?.share ?? 1) > 0.999, 'old orders fade')
  })
})

/** Places all that fit; says what every node has left, nodes without their names. */
function fill(rooms: readonly Room[], needs: readonly Need[]): string[] {
  const { book, pool } = aBook(rooms)
  const shapes = needs.map(({ cpuMilli, gpus }) => ({
    cpuMilli,
    gpuUnits: gpus[0]?.units ?? 0,
    gpuMilli: gpus[0]?.milli ?? 0,
    kinds: null,
    weight: 1,
  }))
  const mix = new WorkloadMix(shapes)
  for (const [i, need] of needs.entries()) {
    const place = choosePlace([{ pool, need }], mix, pressures(mix, book.freeGpuMilli))
    const [node] = place?.twins.nodes ?? []
    if (place && node !== undefined) book.reserve(`l${i}`, node, need, place.fit.gpus)
  }
  return rooms.map((_, i) => roomKey(book.roomOf(`n${i}`) ?? aRoom())).toSorted()
}

function isWhole(room: Room | null): boolean {
  if (!room) return false
  return (
    fits(room, aNeed({ cpuMilli: 0, memoryBytes: 0 })) &&
    room.gpus[0]?.freeMilli.every(isFraction) === true
  )
}

const isFraction = (milli: number): boolean => milli >= 0 && milli <= 1000

function aBook(rooms: readonly Room[]) {
  const book = new CapacityBook()
  const pool = book.pool('all')
  for (const [i, room] of rooms.entries()) book.set(`n${i}`, pool, room)
  return { book, pool }
}

const aRoom = (
  more: { cpuMilli?: number; kind?: number; freeMilli?: readonly number[] } = {},
): Room => ({
  cpuMilli: more.cpuMilli ?? 64_000,
  memoryBytes: 256 * GIB,
  supplies: [],
  gpus: [{ kind: more.kind ?? 0, freeMilli: more.freeMilli ?? [1000, 1000, 1000, 1000] }],
})

const aNeed = (
  more: {
    cpuMilli?: number
    memoryBytes?: number
    kind?: number
    units?: number
    milli?: number
  } = {},
): Need => ({
  cpuMilli: more.cpuMilli ?? 4000,
  memoryBytes: more.memoryBytes ?? 8 * GIB,
  supplies: [],
  gpus: more.units ? [{ kind: more.kind ?? 0, units: more.units, milli: more.milli ?? 1000 }] : [],
})

const aNeedOf = () =>
  fc
    .record({
      cpuMilli: fc.integer({ min: 1, max: 24_000 }),
      units: fc.integer({ min: 0, max: 4 }),
      milli: fc.constantFrom(1000, 1000, 250, 470),
    })
    .map(({ cpuMilli, units, milli }) =>
      aNeed({ cpuMilli, units: milli < 1000 ? Math.min(units, 1) : units, milli }),
    )
