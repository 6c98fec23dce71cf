/** For the tests of this room: links, money and requests that do exactly what a test tells them to. */
import assert from 'node:assert/strict'
import type { PayoutNews, SignedPayout } from '../../core/protocol/payout.ts'
import type { RegionNews } from '../../core/protocol/region.ts'
import type { TestContext } from 'node:test'
import type { Duplex } from 'node:stream'
import { seededRandom } from '../../core/base/random.ts'
import { isRefusal, refuse, type Refusal } from '../../core/base/refusal.ts'
import {
  readInferenceRequest,
  type Api,
  type InferenceRequest,
} from '../../core/protocol/inference-request.ts'
import type { LeaseCommand } from '../../core/protocol/lease-control.ts'
import type { AttemptEnd, AttemptHeader, Heartbeat } from '../../core/protocol/link.ts'
import type { Offer } from '../../core/protocol/offer.ts'
import type { TunnelPurpose } from '../../core/protocol/tunnel.ts'
import { encodeTokenChunks, type TokenChunk } from '../../core/protocol/token-chunk.ts'
import { aReplica, nodeId, type Traits } from '../../core/routing/test-replicas.ts'
import { ReplicaTable } from '../../core/routing/replica-table.ts'
import type { Replica } from '../../core/routing/replica.ts'
import type { AttemptHandler, AttemptStream, NodeLink } from '../../io/link/node-link.ts'
import { NO_LIMITS, type Settlement } from '../../io/store/store.ts'
import { createAttemptIds, keyTag } from './attempt-id.ts'
import { gatewayConfig, type GatewayConfig } from './config.ts'
import type { Dispatcher } from './dispatcher.ts'
import { createHedges } from './hedges.ts'
import type { KeyEntry } from './keyring.ts'
import type { Reservation } from './meter.ts'
import type { DoneAttempt } from './receipt-desk.ts'
import { createWaitingRoom } from './waiting-room.ts'

/** Time that passes only when a test says so, timers included. */
export function aClock(t: TestContext) {
  t.mock.timers.enable({ apis: ['setTimeout', 'setInterval'] })
  const clock = { ms: 1_000_000 }
  return {
    now: () => clock.ms,
    /** In steps of 100 ms, as a process lives that is not late. */
    pass(ms: number): void {
      for (let left = ms; left > 0; left -= 100) {
        clock.ms += Math.min(100, left)
        t.mock.timers.tick(Math.min(100, left))
      }
    },
    /** The clock alone: it was set, or the process was stopped. */
    jump(ms: number): void {
      clock.ms += ms
    },
  }
}

export function aKey(name = 'alice'): KeyEntry {
  const id = `key_${name.padEnd(24, '0')}`
  const account = `acct_${name.padEnd(24, '0')}`
  return {
    key: {
      id,
      account,
      name,
      hint: 'sk-bl-1234',
      hash: '0'.repeat(64),
      scopes: ['inference'],
      limits: NO_LIMITS,
      budgetNanoUsd: null,
      spentNanoUsd: 0n,
      createdAt: 0,
      expiresAt: null,
      revokedAt: null,
      revision: 1n,
    },
    account: { id: account, kind: 'tenant', name, createdAt: 0, limits: NO_LIMITS },
    tag: keyTag(id),
  }
}

export function aRequest(more: Record<string, unknown> = {}, api: Api = 'chat'): InferenceRequest {
  const input = { chat: { messages: [{ role: 'user', content: 'hello' }] } }
  const inputs = { ...input, completion: { prompt: 'hello' }, embedding: { input: ['a', 'b'] } }
  const request = readInferenceRequest(api, { model: 'bard-3m', ...inputs[api], ...more })
  assert.ok(!isRefusal(request), isRefusal(request) ? request.message : '')
  return request
}

/** One attempt as its node sees it. */
export class FakeStream implements AttemptStream {
  readonly header: AttemptHeader
  readonly node: string
  cancelled = false
  forgotten = false
  grantedBytes = 0
  readonly #handler: AttemptHandler
  #position: number

  constructor(node: string, header: AttemptHeader, handler: AttemptHandler) {
    this.node = node
    this.header = header
    this.#handler = handler
    this.#position = header.resume?.tokenIds.length ?? 0
  }

  cancel(): void {
    this.cancelled = true
  }
  forget(): void {
    this.forgotten = true
  }
  grant(bytes: number): void {
    this.grantedBytes += bytes
  }

  /** One token for each text; its id is 100 + its position in the answer. */
  say(...texts: string[]): this {
    return this.tokens(texts.map((text) => ({ id: 100 + this.#position++, text, logprob: '' })))
  }
  tokens(chunks: readonly TokenChunk[]): this {
    this.#handler.accepted()
    this.#handler.tokens(encodeTokenChunks(chunks))
    return this
  }
  vector(index: number, ...values: number[]): this {
    this.#handler.accepted()
    this.#handler.vector(index, Float32Array.from(values))
    return this
  }
  end(finish: AttemptEnd['finish'] = 'stop', inputTokens = 7): void {
    this.#handler.end({ finish, inputTokens, outputTokens: this.#position })
  }
  busy(): void {
    this.#handler.busy({ code: 'busy', message: 'no slot', param: null, retryable: true })
  }
  error(code: string, retryable: boolean): void {
    this.#handler.error({ code, message: `it says ${code}`, param: null, retryable })
  }
  lost(): void {
    this.#handler.lost('the link broke')
  }
}

export class FakeLink implements NodeLink {
  readonly link: string
  readonly node: string
  readonly nodeKey: string
  readonly linkedAt = 0
  readonly offer: Offer
  readonly signedOffer = { offer: '', signature: '' }
  heartbeat: Heartbeat | null = null
  lastHeardAt = 0
  draining = false
  readonly #sent: FakeStream[]
  payout: SignedPayout | null = null
  readonly acknowledged: string[] = []
  readonly news: PayoutNews[] = []
  closedFor: string | null = null
  /** Answers to pings, to be settled by the test; each is asked in turn. */
  readonly pings: ((alive: boolean) => void)[] = []

  constructor(of: {
    node: string
    link?: string
    nodeKey?: string
    models?: Offer['models']
    /** Where attempts sent to it are noted. */
    sent?: FakeStream[]
  }) {
    this.node = of.node
    this.link = of.link ?? `link_${of.node.slice(5)}`
    this.nodeKey = of.nodeKey ?? ''
    this.#sent = of.sent ?? []
    this.offer = {
      v: 1,
      node: of.node,
      sequence: 1,
      issuedAtMs: 0,
      software: 'test',
      providerName: null,
      region: null,
      dataCollection: 'deny',
      leases: null,
      models: of.models ?? [],
    }
  }

  open(header: AttemptHeader, _body: Uint8Array, handler: AttemptHandler): FakeStream {
    const stream = new FakeStream(this.node, header, handler)
    this.#sent.push(stream)
    return stream
  }
  ping(): Promise<boolean> {
    return new Promise((resolve) => this.pings.push(resolve))
  }
  openTunnel(_purpose: TunnelPurpose): Promise<Duplex> {
    return Promise.reject(new Error('a fake link has no tunnels'))
  }
  lease(_command: LeaseCommand): void {
    throw new Error('a fake link runs no containers')
  }
  tellPayout(news: PayoutNews): void {
    this.news.push(news)
  }

  tellRegion(_news: RegionNews): void {}

  acknowledge(receipts: readonly string[]): void {
    this.acknowledged.push(...receipts)
  }
  close(reason: string): void {
    this.closedFor = reason
  }
}

export class FakeReservation implements Reservation {
  readonly ceilingNanoUsd: bigint
  readonly settlements: Settlement[] = []
  closed = false

  constructor(ceilingNanoUsd: bigint) {
    this.ceilingNanoUsd = ceilingNanoUsd
  }
  settle(settlement: Settlement): void {
    assert.ok(!this.closed, 'nothing may be settled on a closed reservation')
    this.settlements.push(settlement)
  }
  close(): void {
    this.closed = true
  }
}

/** Grants everything unless told otherwise. */
export class FakeMeter {
  readonly reservations: FakeReservation[] = []
  /** What the next ones get instead. */
  readonly instead: (Refusal | 'later')[] = []
  readonly #later: (() => void)[] = []

  reserve(
    _account: string,
    _key: unknown,
    ceilingNanoUsd: bigint,
  ): Reservation | Refusal | Promise<Reservation | Refusal> {
    const instead = this.instead.shift()
    if (isRefusal(instead)) return instead
    const reservation = new FakeReservation(ceilingNanoUsd)
    this.reservations.push(reservation)
    if (instead === undefined) return reservation
    return new Promise((resolve) => this.#later.push(() => resolve(reservation)))
  }
  /** The ledger answers. */
  async answer(): Promise<void> {
    for (const resolve of this.#later.splice(0)) resolve()
    await turn()
  }
}

/** Notes what is to be paid. */
export class FakeDesk {
  readonly paid: { node: string; input: number; output: number; by: 'receipt' | 'gateway' }[] = []
  readonly forgiven = new Set<string>()
  readonly #begun = new Set<string>()

  /** Attempts of which nobody decided whether they are paid. */
  get undecided(): number {
    return this.#begun.size
  }
  begin(attempt: string): void {
    this.#begun.add(attempt)
  }
  expect(done: DoneAttempt): void {
    this.#pay(done, 'receipt')
  }
  witness(done: DoneAttempt): void {
    this.#pay(done, 'gateway')
  }
  forgive(attempt: string): void {
    this.#begun.delete(attempt)
    this.forgiven.add(attempt)
  }
  #pay(done: DoneAttempt, by: 'receipt' | 'gateway'): void {
    this.#begun.delete(done.attempt)
    this.paid.push({
      node: done.node,
      input: done.billedInputTokens,
      output: done.outputTokens,
      by,
    })
    done.reservation.close()
  }
}

/** Lets promises that are settled be heard. */
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** A dispatcher over nodes n0, n1, … with these traits, whose links and money the test plays. */
export function aDispatch(
  t: TestContext,
  { nodes = [{}, {}], config = {} }: { nodes?: Traits[]; config?: Partial<GatewayConfig> } = {},
) {
  const clock = aClock(t)
  const links = new Map<string, FakeLink>()
  const sent: FakeStream[] = []
  const table = new ReplicaTable()
  const desk = new FakeDesk()
  const meter = new FakeMeter()
  const watched = new Set<unknown>()
  const settings = gatewayConfig.parse({ home: '', databaseUrl: '', ...config })
  const room = createWaitingRoom({ config: settings, now: clock.now })
  const join = (traits: Traits, name: string): Replica => {
    const replica = aReplica({ node: nodeId(name), ...traits })
    links.set(replica.link, new FakeLink({ ...replica, sent }))
    table.setOffer(replica.link, [replica], clock.now())
    room.look()
    return replica
  }
  const dispatcher = {
    config: settings,
    table,
    room,
    meter: { ...unusedMeter, reserve: meter.reserve.bind(meter) },
    desk: { ...unusedDesk, ...bound(desk) },
    watch: {
      add: (attempt) => void watched.add(attempt),
      remove: (attempt) => void watched.delete(attempt),
      size: 0,
      close: () => {},
    },
    attemptIds: createAttemptIds(Buffer.alloc(16)),
    random: seededRandom(7),
    now: clock.now,
    linkOf: (replica) => links.get(replica.link),
    attemptOver: () => room.look(),
    hedges: createHedges(),
    resumed: () => {},
    storeDown: () => refuse('store_unavailable', 'The ledger is away.'),
  } satisfies Dispatcher
  const replicas = nodes.map((traits, index) => join(traits, `n${index}`))
  return {
    dispatcher,
    clock,
    table,
    desk,
    meter,
    replicas,
    links,
    join,
    leave: (replica: Replica) => {
      links.delete(replica.link)
      table.removeLink(replica.link, null)
    },
    /** All attempts, in the order in which they were sent. */
    sent,
    /** The attempt that was sent last. */
    last(): FakeStream {
      const stream = sent.at(-1)
      assert.ok(stream, 'nothing was sent')
      return stream
    },
    /** When all is over: no slot, no place, no money and no decision is left behind. */
    nothingIsLeft(): void {
      assert.deepEqual(
        replicas.map(({ outstanding }) => outstanding),
        replicas.map(() => 0),
        'slots',
      )
      assert.equal(watched.size, 0, 'watched attempts')
      assert.equal(room.size, 0, 'who waits')
      assert.equal(desk.undecided, 0, 'receipts held')
      assert.deepEqual(
        meter.reservations.filter(({ closed }) => !closed),
        [],
        'reservations',
      )
    },
  }
}

const unused = (): never => assert.fail('not expected here')
const unusedMeter = {
  settleLate: unused,
  backlog: 0,
  rest: unused,
  recover: unused,
  flush: unused,
  close: unused,
}
const unusedDesk = { take: unused, settled: unused, quiet: unused, expected: 0, close: unused }
const bound = (desk: FakeDesk) => ({
  expect: (done: DoneAttempt) => desk.expect(done),
  begin: (attempt: string) => desk.begin(attempt),
  witness: (done: DoneAttempt) => desk.witness(done),
  forgive: (attempt: string) => desk.forgive(attempt),
})
