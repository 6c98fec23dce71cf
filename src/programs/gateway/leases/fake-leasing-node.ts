/** For tests: a node that takes leases and says that they run, without running anything. */
import { Duplex } from 'node:stream'
import type { Capacity } from '../../../core/protocol/capacity.ts'
import { BID_DOMAIN, type Bid } from '../../../core/protocol/bid.ts'
import { groupText } from '../../../core/protocol/lease.ts'
import {
  LEASE_DOMAIN,
  type BidRequest,
  type LeaseCommand,
  type LeaseReport,
} from '../../../core/protocol/lease-control.ts'
import type { Offer } from '../../../core/protocol/offer.ts'
import type { PriceSheet } from '../../../core/protocol/price-sheet.ts'
import type { TunnelPurpose } from '../../../core/protocol/tunnel.ts'
import { ephemeralIdentity, sha256Hex, type Identity } from '../../../io/keys/identity.ts'
import { ephemeralSealingKey } from '../../../io/keys/sealed-box.ts'
import { signSealingKey } from '../../../io/keys/secret-envelope.ts'
import { FakeLink } from '../test-kit.ts'
import type { LeaseBook } from './lease-book.ts'

/** One cent an hour for a CPU, nothing for the rest. */
const SHEET: PriceSheet = {
  per: 'hour',
  cpuThread: '0.01',
  memoryGiB: '0',
  storageGiB: { ephemeral: '0', default: '0' },
  gpu: {},
  port: '0',
  ip: '0',
}

const CAPACITY: Capacity = {
  runtime: 'fake/1',
  isolation: 'container',
  cpuArch: 'amd64',
  cpuMilli: 4_000,
  memoryBytes: 8 * 2 ** 30,
  ephemeralBytes: 100 * 2 ** 30,
  persistent: [{ class: 'default', bytes: 100 * 2 ** 30 }],
  gpus: [],
  ips: 0,
  attributes: {},
  tier: 'community',
  region: null,
  egress: { mbitPerSecond: 1000, gibPerMonth: null },
  cachedImages: [],
  noticeS: 0,
}

/** A bid, at atto-dollars a second for each unit, or why there is none. */
export type ProgramSays =
  | 'late'
  | { readonly code: string; readonly message: string }
  | { readonly rate: string; readonly change?: Partial<Bid>; readonly signer?: Identity }

export class FakeLeasingNode extends FakeLink {
  readonly identity: Identity
  readonly sealingKey = ephemeralSealingKey()

  /** What it was told, in order. */
  readonly told: LeaseCommand[] = []
  /** Lease → epoch that it believes to run. */
  readonly running = new Map<string, number>()
  /** What it says to an `ask`; null: nothing at all. */
  answer: 'accept' | 'refuse' | null = 'accept'
  /** What its only volume holds, and the tunnels that it was asked for. */
  volume = ''
  readonly tunnels: string[] = []
  /** What its pricing program does; null: it has a price sheet. `late`: it says nothing in time. */
  program: ProgramSays | null = null
  /** Whether it breaks off in the middle of handing its volume out, or holds there until the test goes on. */
  handsOut: 'all' | 'half' | Promise<void> = 'all'
  /** Whether images can be pulled. */
  starts = true
  book: LeaseBook | null = null
  /** Whose book that is. */
  gateway = ''
  readonly #now: () => number

  constructor(
    now: () => number,
    more: {
      cpuPrice?: string
      capacity?: Partial<Capacity>
      sealing?: boolean
      program?: ProgramSays
    } = {},
  ) {
    const identity = ephemeralIdentity('node')
    super({ node: identity.id, nodeKey: identity.publicKey })
    this.identity = identity
    this.#now = now
    this.program = more.program ?? null
    const sheet = { ...SHEET, cpuThread: more.cpuPrice ?? SHEET.cpuThread }
    const prices = this.program === null ? sheet : null
    const capacity = { ...CAPACITY, ...more.capacity }
    const sealing = more.sealing === false ? null : signSealingKey(identity, this.sealingKey)
    const leases: Offer['leases'] = { capacity, prices, sealing }
    Object.assign(this.offer, { leases })
  }

  /** It is heard now. */
  beat(): void {
    this.lastHeardAt = this.#now()
  }

  /** Hands out `volume`, and takes what comes as the new one. */
  override openTunnel(purpose: TunnelPurpose): Promise<Duplex> {
    if (purpose.kind !== 'snapshot' && purpose.kind !== 'restore')
      return Promise.reject(new Error(`a fake node has no ${purpose.kind}`))
    let came = ''
    const tunnel = new Duplex({
      read() {},
      write: (piece: Buffer, _encoding, done) => {
        came += piece.toString()
        done()
      },
      final: (done) => {
        if (purpose.kind === 'restore') {
          this.volume = came
          tunnel.push(null)
        }
        done()
      },
    })
    if (purpose.kind === 'snapshot') void this.#handOut(tunnel)
    this.tunnels.push(purpose.kind)
    return Promise.resolve(tunnel)
  }

  async #handOut(tunnel: Duplex): Promise<void> {
    const { volume, handsOut } = this
    const half = Math.floor(volume.length / 2)
    tunnel.push(volume.slice(0, half))
    if (handsOut === 'half') return void tunnel.destroy(new Error('the node went away'))
    if (handsOut !== 'all') await handsOut
    tunnel.push(volume.slice(half))
    tunnel.push(null)
  }

  say(report: LeaseReport): void {
    this.beat()
    this.book?.report(this, report)
  }

  override lease(command: LeaseCommand): void {
    this.told.push(command)
    queueMicrotask(() => this.#obey(command))
  }

  #bid({ order, group, tenant }: BidRequest): void {
    const says = this.program
    if (says === null || says === 'late') return
    if ('code' in says) return this.say({ kind: 'no_bid', order, ...says })
    const now = this.#now()
    const bid: Bid = {
      v: 1,
      id: 'bid_1',
      order,
      node: this.node,
      tenant,
      gateway: this.gateway,
      groupHash: sha256Hex(groupText(group)),
      units: group.units.map(({ id: unit }) => ({ unit, gpu: null, rate: says.rate })),
      noticeS: 0,
      issuedAtMs: now,
      expiresAtMs: now + 60_000,
      ...says.change,
    }
    const text = JSON.stringify(bid)
    const signer = says.signer ?? this.identity
    this.say({ kind: 'bid', order, bid: text, signature: signer.sign(BID_DOMAIN, text) })
  }

  #obey(command: LeaseCommand): void {
    if (command.kind === 'keep') {
      for (const [lease, epoch] of this.running)
        if (!command.leases.some((one) => one.lease === lease && one.epoch === epoch))
          this.running.delete(lease)
      return
    }
    if (command.kind === 'bid') return this.#bid(command)
    if (command.kind === 'kin') return
    const { lease, epoch } = command
    switch (command.kind) {
      case 'ask': {
        if (this.answer === 'refuse')
          this.say({ kind: 'refused', lease, epoch, code: 'full', message: 'no room' })
        const signature = this.identity.sign(LEASE_DOMAIN, command.terms)
        if (this.answer === 'accept') this.say({ kind: 'accepted', lease, epoch, signature })
        return
      }
      case 'run':
        this.running.set(lease, epoch)
        this.say({
          kind: 'status',
          lease,
          epoch,
          phase: this.starts ? 'running' : 'failed',
          message: this.starts ? 'all services run' : 'the image does not exist',
          replicas: [],
        })
        return
      case 'stop':
        if (this.running.get(lease) !== epoch) return
        this.running.delete(lease)
        this.say({ kind: 'stopped', lease, epoch, reason: command.reason })
    }
  }
}
