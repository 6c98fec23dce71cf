/**
 * What tenants change in their deployments, at whatever gateway they ask: it is done here when this gateway looks after the
 * deployment, else asked of the one that does, through the store. `docs/leases.md`, "Several gateways".
 */
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { idFrom } from '../../../core/base/id.ts'
import { isRefusal, reasonOf, refuse, type Refusal } from '../../../core/base/refusal.ts'
import { SECOND, type Millis } from '../../../core/base/time.ts'
import type { DeploymentCommand } from '../../../io/store/deployment-commands.ts'
import type { StoredDeployment } from '../../../io/store/deployment-records.ts'
import type { ActiveLease } from './active-lease.ts'
import { checkNames, matchGroups, planOf, type NameCheck } from './deploying.ts'
import type { BookParts, LeaseBook } from './lease-book.ts'
import { withEnvelopes } from './lease-secrets.ts'

/** Of the gateway that was asked: so much later a tenant hears. */
const TAKE_EVERY_MS: Millis = 250
const READ_EVERY_MS: Millis = 100
/** A dead gateway's deployments are another's after 20 s; what it was asked is done then. */
const ANSWER_MS: Millis = 60 * SECOND

type CommandParts = Pick<BookParts, 'store' | 'gateway' | 'now' | 'logger'> & {
  readonly whyNotNamed: NameCheck
}

export class DeploymentCommands {
  readonly #parts: CommandParts
  readonly #book: LeaseBook
  readonly #answerMs: Millis
  readonly #timer: NodeJS.Timeout
  #taking = false
  #storeAway = false

  constructor(parts: CommandParts, book: LeaseBook, answerMs = ANSWER_MS) {
    this.#parts = parts
    this.#book = book
    this.#answerMs = answerMs
    this.#timer = setInterval(() => void this.#take(), TAKE_EVERY_MS)
    this.#timer.unref()
  }

  /** Null: it is done, and durable. */
  async carryOut(stored: StoredDeployment, command: DeploymentCommand): Promise<Refusal | null> {
    const leases = this.#here(stored)
    return leases ? await this.#do(stored, leases, command) : await this.#ask(stored, command)
  }

  close(): void {
    clearInterval(this.#timer)
  }

  /** Its open leases; null when another gateway looks after them. */
  #here({ leases }: StoredDeployment): ReadonlyMap<string, ActiveLease> | null {
    const here = new Map<string, ActiveLease>()
    for (const { id, state } of leases) {
      const lease = this.#book.active.get(id)
      if (lease) here.set(id, lease)
      else if (state !== 'closed') return null
    }
    return here
  }

  async #do(
    stored: StoredDeployment,
    leases: ReadonlyMap<string, ActiveLease>,
    command: DeploymentCommand,
  ): Promise<Refusal | null> {
    switch (command.kind) {
      case 'close':
        await Promise.all([...leases.values()].map((lease) => lease.close('closed by the tenant')))
        return null
      case 'update':
        return await this.#update(stored, leases, command)
      case 'accept': {
        const lease = leases.get(command.lease)
        const none = `The deployment has no open lease '${command.lease}'.`
        return lease ? await lease.accept(command.node) : refuse('not_found', none)
      }
    }
  }

  async #update(
    stored: StoredDeployment,
    leases: ReadonlyMap<string, ActiveLease>,
    { sdl, secrets }: Extract<DeploymentCommand, { kind: 'update' }>,
  ): Promise<Refusal | null> {
    const read = planOf(sdl)
    if (isRefusal(read)) return read
    const kept = (group: string) =>
      stored.leases.find(({ doc }) => doc.group.name === group)?.doc.secrets ?? null
    const orders = withEnvelopes(read.orders, secrets, kept)
    if (isRefusal(orders)) return orders
    const plan = { ...read, orders }
    const ids = stored.leases.map(({ id }) => id)
    const named = checkNames(plan, ids, this.#parts.whyNotNamed)
    if (named) return named
    const changes = matchGroups(stored, plan)
    if (isRefusal(changes)) return changes
    for (const { lease, ...wanted } of changes) {
      const taken = await leases.get(lease)?.update(wanted)
      if (!taken)
        return refuse(
          'no_matching_node',
          `No node takes the new terms of '${wanted.group.name}'; it runs on as it was. 'baseload screen' says why.`,
        )
    }
    await this.#parts.store.changeDeployment(stored.deployment.id, { sdl }, [])
    return null
  }

  /** Writes it down for the gateway that looks after the deployment, and waits for what it says. */
  async #ask(
    { deployment }: StoredDeployment,
    command: DeploymentCommand,
  ): Promise<Refusal | null> {
    const { store, now } = this.#parts
    const id = idFrom('cmd', randomBytes(15))
    const at = now()
    const waited = performance.now()
    const expiresAt = at + this.#answerMs
    await store.sendCommand({ id, deployment: deployment.id, command, now: at, expiresAt })
    while (performance.now() - waited < this.#answerMs) {
      await sleep(READ_EVERY_MS)
      const answer = await store.commandAnswer(id)
      if (!answer) continue
      await store.removeCommand(id)
      return answer.refusal
    }
    await store.removeCommand(id)
    return refuse(
      'gateway_silent',
      `The gateway that looks after '${deployment.name}' did not answer within ${this.#answerMs / SECOND} s. ` +
        `It may have done it all the same: look at the deployment, then ask again.`,
      { retryAfterS: 15 },
    )
  }

  async #take(): Promise<void> {
    if (this.#taking) return
    this.#taking = true
    const { store, gateway, now, logger } = this.#parts
    try {
      for (const taken of await store.takeCommands(gateway, now())) void this.#answer(taken)
      this.#storeAway = false
    } catch (error) {
      if (!this.#storeAway) logger.warn('no commands taken', { error: reasonOf(error) })
      this.#storeAway = true
    }
    this.#taking = false
  }

  async #answer(taken: Awaited<ReturnType<BookParts['store']['takeCommands']>>[0]): Promise<void> {
    const { store, logger } = this.#parts
    const { id, deployment, account, command } = taken
    try {
      // What this gateway has just been given may not be in its book yet.
      await this.#book.claim()
      const stored = await store.findDeployment(account, deployment)
      if (!stored) return
      const leases = this.#here(stored)
      // It is another's again: that one takes the command.
      if (leases) await store.answerCommand(id, await this.#do(stored, leases, command))
    } catch (error) {
      // Whoever asked hears nothing, and says so.
      logger.warn('command not carried out', { deployment, error: reasonOf(error) })
    }
  }
}
