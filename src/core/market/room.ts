/** What is free on a node, and what a lease takes of it. Values, never changed: a book keeps one for each node. */

/** GPUs of one kind on one node, each with its free thousandths: a lease takes whole ones, a trace may share them. */
export type GpuPool = {
  /** A number from `GpuKinds`. */
  readonly kind: number
  readonly freeMilli: readonly number[]
}

export type Room = {
  readonly cpuMilli: number
  readonly memoryBytes: number
  /** In the order of `SUPPLIES`. */
  readonly supplies: readonly number[]
  readonly gpus: readonly GpuPool[]
}

/** Bytes for containers, bytes of persistent storage by class (RAM volumes are memory), and IP addresses. */
export const SUPPLIES = ['ephemeral', 'default', 'beta1', 'beta2', 'beta3', 'ips'] as const
export type Supply = (typeof SUPPLIES)[number]

export type GpuNeed = {
  readonly kind: number
  readonly units: number
  /** Of each unit; below 1000 only for a single one. */
  readonly milli: number
}

export type Need = Omit<Room, 'gpus'> & { readonly gpus: readonly GpuNeed[] }

/** Which GPUs of the node were taken: places in the pools' lists, in the order of the need's `gpus`. */
export type Taken = readonly (readonly number[])[]

export const WHOLE_GPU_MILLI = 1000

/** Whether all of it is free. Needs of one kind of GPU come once in a need. */
export function fits(room: Room, need: Need): boolean {
  if (need.cpuMilli > room.cpuMilli || need.memoryBytes > room.memoryBytes) return false
  for (let at = 0; at < need.supplies.length; at++)
    if ((need.supplies[at] ?? 0) > (room.supplies[at] ?? 0)) return false
  for (const gpu of need.gpus) {
    const pool = poolOf(room, gpu.kind)
    if (!pool || countFree(pool, gpu.milli) < gpu.units) return false
  }
  return true
}

export const poolOf = (room: Room, kind: number): GpuPool | undefined =>
  room.gpus.find((pool) => pool.kind === kind)

/** Whether the node has all kinds of GPU that are needed, however few. */
export const hasKinds = (room: Room, need: Need): boolean =>
  need.gpus.every(({ kind }) => poolOf(room, kind) !== undefined)

/** GPUs with at least so much free. */
export function countFree(pool: GpuPool, milli: number): number {
  let count = 0
  for (const free of pool.freeMilli) if (free >= milli) count++
  return count
}

/** The first GPUs that will do. */
export function firstGpus(room: Room, need: Need): Taken {
  return need.gpus.map(({ kind, units, milli }) => {
    const free = poolOf(room, kind)?.freeMilli ?? []
    const places: number[] = []
    for (let at = 0; at < free.length && places.length < units; at++)
      if ((free[at] ?? 0) >= milli) places.push(at)
    return places
  })
}

export const take = (room: Room, need: Need, taken: Taken): Room => change(room, need, taken, -1)
export const give = (room: Room, need: Need, taken: Taken): Room => change(room, need, taken, 1)

function change(room: Room, need: Need, taken: Taken, sign: 1 | -1): Room {
  return {
    cpuMilli: room.cpuMilli + sign * need.cpuMilli,
    memoryBytes: room.memoryBytes + sign * need.memoryBytes,
    supplies: room.supplies.map((amount, at) => amount + sign * (need.supplies[at] ?? 0)),
    gpus: need.gpus.length === 0 ? room.gpus : changeGpus(room.gpus, need, taken, sign),
  }
}

function changeGpus(
  pools: readonly GpuPool[],
  need: Need,
  taken: Taken,
  sign: 1 | -1,
): readonly GpuPool[] {
  return pools.map((pool) => {
    const at = need.gpus.findIndex(({ kind }) => kind === pool.kind)
    const gpu = need.gpus[at]
    if (!gpu) return pool
    const freeMilli = [...pool.freeMilli]
    // A node can come back with fewer GPUs than were taken.
    for (const place of taken[at] ?? []) {
      const free = freeMilli[place]
      if (free !== undefined) freeMilli[place] = free + sign * gpu.milli
    }
    return { kind: pool.kind, freeMilli }
  })
}

/** What both leave free: of GPUs the first ones. */
export const leastOf = (room: Room, other: Room): Room => ({
  cpuMilli: Math.min(room.cpuMilli, other.cpuMilli),
  memoryBytes: Math.min(room.memoryBytes, other.memoryBytes),
  supplies: room.supplies.map((amount, at) => Math.min(amount, other.supplies[at] ?? 0)),
  gpus: room.gpus.map((pool) => {
    const others = poolOf(other, pool.kind)
    let left = others ? countFree(others, WHOLE_GPU_MILLI) : 0
    const freeMilli = pool.freeMilli.map((free) =>
      free < WHOLE_GPU_MILLI || left-- > 0 ? free : 0,
    )
    return { kind: pool.kind, freeMilli }
  }),
})

/** Equal keys, equal rooms. */
export function roomKey(room: Room): string {
  let key = `${room.cpuMilli} ${room.memoryBytes} ${room.supplies.join()}`
  for (const { kind, freeMilli } of room.gpus) key += ` ${kind}:${freeMilli.join()}`
  return key
}

export function idleGpuMilli(room: Room): number {
  let idle = 0
  for (const { freeMilli } of room.gpus) for (const free of freeMilli) idle += free
  return idle
}
