/**
 * Requests: the router's own table, choice and resume policy decide; the simulation only says how long prompts and
 * tokens take, when nodes die, and how long it takes to notice.
 */
import { isRefusal } from '../../../core/base/refusal.ts'
import { MINUTE, type Millis } from '../../../core/base/time.ts'
import { HEARTBEAT_MS } from '../../../core/protocol/link.ts'
import { ANY_PROVIDER } from '../../../core/protocol/provider-preferences.ts'
import { chooseReplica } from '../../../core/routing/choose.ts'
import { FairQueue } from '../../../core/routing/fair-queue.ts'
import {
  recordDispatch,
  recordEnd,
  recordFailure,
  recordFirstToken,
  recordSuccess,
  recordTokens,
  type Replica,
} from '../../../core/routing/replica.ts'
import { chooseForPlans } from '../../../core/routing/resume.ts'
import { offeredReplica, plansAfter, silenceMs } from './attempt-facts.ts'
import { Flights, type Running, type Server } from './flights.ts'
import { promptTokenMsOf, tokenMsOf } from './gpu-figures.ts'
import { EVENT, type World } from './world.ts'

/** The gateway's defaults: how long a request waits for a slot, and where nobody serves at all. */
const QUEUE_TIMEOUT_MS = 30_000
const VACANCY_TIMEOUT_MS = 5_000
const RESUME_TIMEOUT_MS = 20_000
const MAX_ANSWER_MS = 10 * MINUTE
/** The watch looks ten times a second. */
const ROUND_MS = 100
/** Of nodes that die so many say nothing; the others' connections break. Assumed. */
const SILENT_PART = 0.5
/** A link without a heartbeat for so long is gone. */
const LINK_SILENT_MS = 3 * HEARTBEAT_MS
/** From the tenant to the node and back. Assumed. */
const NETWORK_MS = 60
const TENANTS = 20
const ANSWER_TOKENS = 256

export class Serving {
  readonly #world: World
  readonly #servers: Server[]
  readonly #flights = new Flights()
  /** Links of dead nodes that nobody has missed yet. */
  readonly #lostLinks = new Map<number, Replica>()
  readonly #queue = new FairQueue<Running>({ inAll: 20_000, perTenant: 5_000 })
  #next = 0
  #lap = 0
  #links = 0
  #inFlight = 0
  #changedAt: Millis = 0

  constructor(world: World) {
    this.#world = world
    const { slotsPerGpu } = world.settings
    this.#servers = world.machines.map(({ offered }) => ({
      replica: null,
      tokenMs: tokenMsOf(offered.gpu),
      promptTokenMs: promptTokenMsOf(offered.gpu),
      slots: slotsPerGpu * offered.gpus,
      running: new Set(),
      queued: [],
    }))
  }

  get running(): number {
    return this.#inFlight
  }

  /** Slots of the nodes that serve now. */
  get slots(): number {
    let slots = 0
    for (let i = 0; i < this.#world.settings.models; i++)
      slots += this.#world.table.of(`model-${i}`)?.pool.slots ?? 0
    return slots
  }

  start(): void {
    if (this.#world.settings.requestsPerS > 0) this.#scheduleNext()
  }

  /** A node that no lease keeps busy offers its model, under a new link. */
  offer(index: number): void {
    const { machines, settings, table, now } = this.#world
    const [machine, server] = [machines[index], this.#servers[index]]
    if (!machine || !server || server.replica || settings.requestsPerS === 0) return
    const link = `link_${this.#links++}`
    const replica = offeredReplica({ link, machine, slots: server.slots, settings, now })
    server.replica = replica
    table.setOffer(link, [replica], now)
    this.#serveQueue()
  }

  /** A lease takes the GPU: what runs is finished, nothing new comes. */
  withdraw(index: number): void {
    const server = this.#servers[index]
    if (!server?.replica) return
    this.#world.table.drain(server.replica.link)
    this.#world.table.removeLink(server.replica.link, null)
    server.replica = null
  }

  nodeDown(index: number): void {
    const server = this.#servers[index]
    if (!server) return
    const { random } = this.#world
    const silent = random() < SILENT_PART
    for (const one of [...server.running, ...server.queued]) this.#broken(one, server, silent)
    server.running.clear()
    server.queued.length = 0
    const { replica } = server
    if (!replica) return
    server.replica = null
    const life = this.#world.life[index] ?? 0
    this.#lostLinks.set(index * 2 ** 20 + (life % 2 ** 20), replica)
    this.#world.in(silent ? LINK_SILENT_MS : random() * ROUND_MS, EVENT.linkGone, index, life)
  }

  linkGone(index: number, life: number): void {
    const key = index * 2 ** 20 + (life % 2 ** 20)
    const replica = this.#lostLinks.get(key)
    this.#lostLinks.delete(key)
    if (replica) this.#dropLink(replica)
  }

  #dropLink(replica: Replica): void {
    if (replica.position < 0) return
    this.#world.table.removeLink(replica.link, { reason: 'died', now: this.#world.now })
  }

  /** What had come before the node died is the tenant's; when that is noticed it goes on elsewhere. */
  #broken(one: Running, server: Server, silent: boolean): void {
    const { now, random, tally } = this.#world
    const began = one.firstAt > 0 && now >= one.firstAt
    const fresh = began
      ? Math.min(one.outputTokens - one.given - 1, Math.floor((now - one.firstAt) / server.tokenMs))
      : 0
    if (fresh > 0) {
      one.given += fresh
      if (tally.counts(now)) tally.add(tally.outputTokens, one.machine, fresh)
    }
    one.fruitless = fresh > 0 ? 0 : one.fruitless + 1
    one.mark += 1
    const noticeMs = silent ? silenceMs(one, began) + random() * ROUND_MS : random() * ROUND_MS
    this.#world.in(noticeMs, EVENT.noticed, one.id, one.mark)
  }

  noticed(id: number, mark: number): void {
    const one = this.#flights.of(id, mark)
    const replica = one?.replica
    if (!one || !replica) return
    const { now } = this.#world
    recordFailure(replica, 'lost', one.sentAt, now)
    recordEnd(replica, now)
    this.#dropLink(replica)
    one.tried = (one.tried ?? new Set()).add(replica.link)
    one.deadline ??= now + MAX_ANSWER_MS
    const plans = plansAfter(one, replica, now)
    one.replica = null
    if (isRefusal(plans)) this.#fail(one, plans.code)
    else if ('kind' in plans) this.#finish(one)
    else {
      one.plans = plans
      this.#place(one)
    }
  }

  arrived(): void {
    const { settings, now, tally } = this.#world
    const { requests } = settings.traces.requests
    const request = requests[this.#next]
    this.#next += 1
    this.#scheduleNext()
    if (!request) return
    const one = this.#flights.add()
    one.arrivedAt = now
    one.inputTokens = request.inputTokens
    one.outputTokens = request.outputTokens
    one.prefix = request.prefix
    this.#count(1)
    if (tally.counts(now)) tally.requests += 1
    this.#place(one)
  }

  /** The trace again and again, faster or slower, so that the mean rate is the one that was set. */
  #scheduleNext(): void {
    const { events, settings } = this.#world
    const { requests, spanMs } = settings.traces.requests
    if (this.#next >= requests.length) {
      this.#next = 0
      this.#lap += 1
    }
    const pace = requests.length / (spanMs / 1000) / settings.requestsPerS
    const at = (this.#lap * spanMs + (requests[this.#next]?.atMs ?? 0)) * pace
    events.push(at, EVENT.request, 0, 0)
  }

  #seek(one: Running) {
    const { table, now, random } = this.#world
    const waitedLong = one.waitingSince !== null && now - one.waitingSince >= 500
    const choice = {
      table,
      model: this.#modelOf(one),
      needs: ['chat' as const],
      contextTokensAtLeast: 0,
      expectedTokens: ANSWER_TOKENS,
      preferences: ANY_PROVIDER,
      affinity: one.prefix === 0 ? null : one.prefix,
      exclude: waitedLong ? NOBODY : (one.tried ?? NOBODY),
      now,
      random,
    }
    return one.plans
      ? chooseForPlans(choice, one.plans)
      : chooseReplica({ ...choice, digest: null, engineFamily: null })
  }

  #place(one: Running): void {
    const answer = this.#seek(one)
    if ('chosen' in answer) {
      this.#send(one, answer.chosen)
      return
    }
    const { now } = this.#world
    one.waitingSince ??= now
    const vacancyMs = one.given > 0 ? RESUME_TIMEOUT_MS : VACANCY_TIMEOUT_MS
    const timeoutMs = isRefusal(answer) ? vacancyMs : QUEUE_TIMEOUT_MS
    const deadline = one.waitingSince + timeoutMs
    const code = isRefusal(answer) ? answer.code : 'queue_full'
    if (deadline <= now) {
      this.#fail(one, code)
      return
    }
    const tenant = `t${one.id % TENANTS}`
    const waiting = this.#queue.push({
      tenant,
      item: one,
      tokens: ANSWER_TOKENS,
      deadline: deadline + 1,
    })
    if (isRefusal(waiting)) {
      this.#fail(one, waiting.code)
      return
    }
    one.waiting = waiting
    one.mark += 1
    this.#world.events.push(deadline, EVENT.waitedOut, one.id, one.mark)
  }

  waitedOut(id: number, mark: number): void {
    const one = this.#flights.of(id, mark)
    if (!one?.waiting) return
    this.#queue.remove(one.waiting)
    one.waiting = null
    this.#place(one)
  }

  #modelOf({ id }: Running): string {
    return `model-${id % this.#world.settings.models}`
  }

  #serveQueue(): void {
    const { table } = this.#world
    while (this.#queue.size > 0) {
      let found: Replica | null = null
      const one = this.#queue.pop(this.#world.now, (item) => {
        if (!table.of(this.#modelOf(item))?.pool.roomy) return false
        const answer = this.#seek(item)
        if (!('chosen' in answer)) return false
        found = answer.chosen
        return true
      })
      if (!one || !found) return
      one.waiting = null
      this.#send(one, found)
    }
  }

  #send(one: Running, replica: Replica): void {
    const { now, tally } = this.#world
    const machine = Number(replica.node.slice(5))
    const server = this.#servers[machine]
    if (!server) throw new Error(`no machine has ${replica.node}`)
    if (one.waitingSince !== null && one.attempts === 0 && tally.counts(now))
      tally.waitMs.add(now - one.waitingSince)
    one.waitingSince = null
    one.replica = replica
    one.machine = machine
    one.sentAt = now
    one.firstAt = 0
    one.attempts += 1
    one.mark += 1
    recordDispatch(replica)
    if (tally.counts(now)) tally.attempts += 1
    if (server.replica !== replica) {
      // Dead or under a new link, and nobody has heard of it yet.
      one.fruitless += 1
      this.#world.in(silenceMs(one, false), EVENT.noticed, one.id, one.mark)
    } else if (server.running.size < server.slots) this.#begin(one, server)
    else server.queued.push(one)
  }

  #begin(one: Running, server: Server): void {
    server.running.add(one)
    const promptMs = NETWORK_MS + (one.inputTokens + one.given) * server.promptTokenMs
    one.firstAt = this.#world.now + promptMs + server.tokenMs
    this.#world.events.push(one.firstAt, EVENT.firstToken, one.id, one.mark)
  }

  firstToken(id: number, mark: number): void {
    const one = this.#flights.of(id, mark)
    if (!one?.replica) return
    const { now, tally } = this.#world
    const server = this.#servers[one.machine]
    recordFirstToken(one.replica, now - one.sentAt)
    if (one.given === 0 && tally.counts(one.arrivedAt)) {
      tally.ttftMs.add(now - one.arrivedAt)
      const hour = tally.hour(one.arrivedAt)
      if (hour) {
        hour.ttftSumMs += now - one.arrivedAt
        hour.ttftMostMs = Math.max(hour.ttftMostMs, now - one.arrivedAt)
      }
    }
    const restMs = (one.outputTokens - one.given - 1) * (server?.tokenMs ?? 0)
    this.#world.in(restMs, EVENT.answered, one.id, one.mark)
  }

  ended(id: number, mark: number): void {
    const one = this.#flights.of(id, mark)
    const replica = one?.replica
    if (!one || !replica) return
    const { now, tally } = this.#world
    const fresh = one.outputTokens - one.given
    recordTokens(replica, fresh, now - one.firstAt)
    recordSuccess(replica, one.sentAt)
    recordEnd(replica, now)
    if (tally.counts(now)) {
      tally.add(tally.outputTokens, one.machine, fresh)
      tally.add(tally.inputTokens, one.machine, one.inputTokens)
      tally.add(tally.servedRequests, one.machine, 1)
      tally.add(tally.busyMs, one.machine, now - one.sentAt)
    }
    const server = this.#servers[one.machine]
    server?.running.delete(one)
    const next = server?.queued.shift()
    if (server && next) this.#begin(next, server)
    this.#finish(one)
    this.#serveQueue()
  }

  #finish(one: Running): void {
    const { tally } = this.#world
    if (tally.counts(one.arrivedAt)) {
      tally.answered += 1
      if (one.attempts > 1) tally.resumed += 1
      const hour = tally.hour(one.arrivedAt)
      if (hour) hour.answered += 1
    }
    this.#leave(one)
  }

  #fail(one: Running, code: string): void {
    const { tally } = this.#world
    if (tally.counts(one.arrivedAt)) {
      const lost = one.given > 0
      tally.refusals.set(code, (tally.refusals.get(code) ?? 0) + 1)
      if (lost) tally.lost += 1
      else tally.refused += 1
      const hour = tally.hour(one.arrivedAt)
      if (hour && lost) hour.lost += 1
      else if (hour) hour.refused += 1
    }
    this.#leave(one)
  }

  /** Requests that count and are neither answered nor refused nor lost. */
  get unfinished(): number {
    return this.#flights.count(({ arrivedAt }) => this.#world.tally.counts(arrivedAt))
  }

  #count(change: 1 | -1): void {
    const { tally, now } = this.#world
    const at = Math.min(this.#inFlight, tally.runningMs.length - 1)
    tally.runningMs[at] = (tally.runningMs[at] ?? 0) + tally.counted(this.#changedAt, now)
    this.#changedAt = now
    this.#inFlight += change
    if (tally.counts(now)) tally.mostRunning = Math.max(tally.mostRunning, this.#inFlight)
  }

  #leave(one: Running): void {
    this.#flights.remove(one)
    this.#count(-1)
  }
}

const NOBODY: ReadonlySet<string> = new Set()
