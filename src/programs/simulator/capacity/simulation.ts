/** The run: events in the order of virtual time, until the time is over. Same settings, same hash. */
import { Churn } from './churn.ts'
import { HOUR } from './hours.ts'
import { Leasing } from './leasing.ts'
import { Serving } from './serving.ts'
import type { Settings } from './settings.ts'
import type { Tally } from './tally.ts'
import type { Machine } from './machines.ts'
import { survival } from '../../../core/market/survival.ts'
import { EVENT, World } from './world.ts'

export type Outcome = {
  readonly settings: Settings
  readonly tally: Tally
  readonly machines: readonly Machine[]
  /** Requests that count and still ran at the end. */
  readonly unfinished: number
  readonly events: number
  /** Of all that happened, in its order: eight hex digits. */
  readonly hash: string
}

const SURVIVAL_EVERY_HOURS = 6

/** `started` is called once all is set up and virtual time begins to run. */
export function simulate(settings: Settings, started: () => void = () => {}): Outcome {
  const world = new World(settings)
  const { tally, events } = world
  const serving = new Serving(world)
  const leasing: Leasing = new Leasing(world, {
    taken: (index) => serving.withdraw(index),
    idle: (index) => {
      if (world.up[index] === 1) serving.offer(index)
    },
  })
  const churn = new Churn(world, {
    nodeUp: (index) => {
      leasing.nodeUp(index)
      serving.offer(index)
    },
    nodeDown: (index) => {
      serving.nodeDown(index)
      leasing.nodeDown(index)
    },
  })
  churn.start()
  leasing.start()
  serving.start()
  started()
  world.in(HOUR / 2, EVENT.sample, 0)
  let [hash, happened] = [0x811c9dc5, 0]
  while (events.next(world.endsAt)) {
    const { at, kind, subject, mark } = events
    world.now = at
    happened += 1
    hash = mixed(mixed(hash, Math.floor(at % 2 ** 31)), (kind << 24) ^ (subject << 3) ^ mark)
    step(kind, subject, mark)
  }
  world.now = world.endsAt
  leasing.settle()
  for (const { index } of world.machines)
    if (world.up[index] === 1)
      tally.add(tally.offeredMs, index, tally.counted(world.upSince[index] ?? 0, world.now))
  const text = (hash >>> 0).toString(16).padStart(8, '0')
  return {
    settings,
    tally,
    machines: world.machines,
    unfinished: serving.unfinished,
    events: happened,
    hash: text,
  }

  function step(kind: number, subject: number, mark: number): void {
    const current = world.life[subject] === mark
    switch (kind) {
      case EVENT.nodeDown:
        return current ? churn.died(subject) : undefined
      case EVENT.nodeUp:
        return current ? churn.up(subject) : undefined
      case EVENT.outageBegins:
        return churn.outageBegins(subject)
      case EVENT.outageEnds:
        return churn.outageEnds(subject)
      case EVENT.order:
        return leasing.ordered()
      case EVENT.orderAgain:
        return leasing.again(subject, mark)
      case EVENT.leaseBack:
        return leasing.back(subject, mark)
      case EVENT.leaseEnds:
        return leasing.ended(subject)
      case EVENT.lookForLost:
        return leasing.lookForLost()
      case EVENT.request:
        return serving.arrived()
      case EVENT.firstToken:
        return serving.firstToken(subject, mark)
      case EVENT.answered:
        return serving.ended(subject, mark)
      case EVENT.noticed:
        return serving.noticed(subject, mark)
      case EVENT.waitedOut:
        return serving.waitedOut(subject, mark)
      case EVENT.linkGone:
        return serving.linkGone(subject, mark)
      case EVENT.sample:
        return sample()
      default:
        throw new Error(`no event is of kind ${kind}`)
    }
  }

  function sample(): void {
    world.in(HOUR, EVENT.sample, 0)
    const hour = tally.hour(world.now)
    const sampled = Math.floor(world.now / HOUR)
    let gpus = 0
    for (const { index, offered, node } of world.machines) {
      if (world.up[index] !== 1) continue
      gpus += offered.gpus
      if (sampled % SURVIVAL_EVERY_HOURS === 0)
        world.market.setSurvival(node, survival(world.now - (world.upSince[index] ?? 0)))
    }
    if (!hour) return
    hour.gpus = gpus
    hour.leasedGpus = leasing.leasedGpus
    hour.running = serving.running
    hour.slots = serving.slots
  }
}

const mixed = (hash: number, value: number): number => Math.imul(hash ^ value, 0x01000193)
