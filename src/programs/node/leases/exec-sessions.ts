/** Commands whose tenants may come back to them: who knows the secret of one, at the place where it runs, has it. */
import { createHash, timingSafeEqual } from 'node:crypto'
import {
  EXEC_AWAY_MS,
  MAX_EXEC_SESSIONS_PER_LEASE,
  MAX_EXEC_SESSIONS_PER_NODE,
} from '../../../core/protocol/exec-log.ts'
import type { Exec } from '../../../io/runtime/runtime.ts'
import { ExecSession } from './exec-session.ts'

/** A container of a lease, under one epoch. */
type Place = {
  readonly lease: string
  readonly epoch: number
  readonly service: string
  readonly replica: number
}
type Task = {
  readonly place: Place
  readonly secret: string
  readonly stdin: boolean
  readonly start: () => Promise<Exec>
}
type Entry = {
  readonly place: Place
  readonly digest: Buffer
  readonly opening: Promise<ExecSession>
  session: ExecSession | null
}

export class ExecSessions {
  readonly #entries = new Set<Entry>()
  #closed = false

  /** Null: none, or of another place. Rejects as `start` of one that is just opened did. */
  async find(place: Place, secret: string): Promise<ExecSession | null> {
    const digest = digestOf(secret)
    let found: Entry | null = null
    for (const entry of this.#entries)
      if (timingSafeEqual(entry.digest, digest) && isSame(entry.place, place)) found = entry
    return found === null ? null : await found.opening
  }

  /** Starts the command, or says why there is no room for it. Rejects as `start` does. */
  async open({ place, secret, stdin, start }: Task): Promise<ExecSession | string> {
    const full = this.#whyFull(place.lease)
    if (full !== null) return full
    const opening = start().then((exec) => {
      const onOver = () => void this.#entries.delete(entry)
      entry.session = new ExecSession(exec, { stdin, awayMs: EXEC_AWAY_MS, onOver })
      if (this.#closed) entry.session.end()
      return entry.session
    })
    const entry: Entry = { place: placeOf(place), digest: digestOf(secret), opening, session: null }
    this.#entries.add(entry)
    try {
      return await opening
    } catch (error) {
      this.#entries.delete(entry)
      throw error
    }
  }

  /** Hangs every command up: nobody finds it again when the agent is another process. */
  close(): void {
    this.#closed = true
    for (const { session } of this.#entries) session?.end()
  }

  #whyFull(lease: string): string | null {
    const ofLease = () => [...this.#entries].filter(({ place }) => place.lease === lease).length
    const isFull = () =>
      ofLease() >= MAX_EXEC_SESSIONS_PER_LEASE || this.#entries.size >= MAX_EXEC_SESSIONS_PER_NODE
    // Those whose command has ended only wait in case that their tenant has not heard how.
    if (isFull()) for (const { session } of this.#entries) if (session?.isLeftover) session.end()
    if (ofLease() >= MAX_EXEC_SESSIONS_PER_LEASE)
      return `${MAX_EXEC_SESSIONS_PER_LEASE} commands of lease ${lease} run; end some first`
    return isFull() ? `${MAX_EXEC_SESSIONS_PER_NODE} commands run at this node` : null
  }
}

const digestOf = (secret: string): Buffer => createHash('sha256').update(secret).digest()

const placeOf = ({ lease, epoch, service, replica }: Place): Place => ({
  lease,
  epoch,
  service,
  replica,
})

const isSame = (one: Place, other: Place): boolean =>
  one.lease === other.lease &&
  one.epoch === other.epoch &&
  one.service === other.service &&
  one.replica === other.replica
