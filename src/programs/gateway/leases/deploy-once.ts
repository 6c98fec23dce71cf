/** Making a deployment: its orders, the money that is set aside for them, and once for each idempotency key. */
import { randomBytes } from 'node:crypto'
import { canonicalJson } from '../../../core/base/canonical-json.ts'
import { idFrom } from '../../../core/base/id.ts'
import { isRefusal, refuse, type Refusal } from '../../../core/base/refusal.ts'
import { sha256Hex } from '../../../io/keys/identity.ts'
import { sealedDeploymentId } from '../../../io/keys/secret-envelope.ts'
import type { StoredDeployment } from '../../../io/store/deployment-records.ts'
import { checkNames, newDeployment, planOf, screenPlan, type NameCheck } from './deploying.ts'
import { CLAIM_MS, HOLD_MS, type BookParts, type LeaseBook } from './lease-book.ts'
import { holdTargetOf } from './lease-dues.ts'
import { withEnvelopes } from './lease-secrets.ts'
import type { DeploymentView, DeployWish, LeaseService } from './lease-service.ts'

type DeployParts = Pick<BookParts, 'store' | 'market' | 'gateway' | 'now'> & {
  readonly book: LeaseBook
  readonly whyNotNamed: NameCheck
}
type Views = {
  readonly view: (account: string, id: string) => Promise<DeploymentView | Refusal>
  readonly viewOf: (stored: StoredDeployment) => DeploymentView
}

export function deployOnce(parts: DeployParts, { view, viewOf }: Views): LeaseService['deploy'] {
  const { store, market, gateway, now, book } = parts

  /** An hour of each lease is set aside before anything is ordered; all or nothing. */
  async function setAside({ leases }: StoredDeployment): Promise<Refusal | null> {
    for (const [i, { hold, account, doc }] of leases.entries()) {
      const nanoUsd = holdTargetOf(BigInt(doc.rate))
      if (hold === null || nanoUsd === 0n) continue
      const expiresAt = now() + HOLD_MS
      const refusal = await store.openHold({
        id: hold,
        account,
        nanoUsd,
        gateway: 'leases',
        expiresAt,
      })
      if (!refusal) continue
      for (const { hold: before } of leases.slice(0, i))
        if (before !== null) await store.closeHold(before)
      return refusal
    }
    return null
  }

  /** What the same key made already; null: nothing, or there is no key. */
  async function madeBefore(
    account: string,
    wish: DeployWish,
  ): Promise<DeploymentView | Refusal | null> {
    const { idempotencyKey: key = null } = wish
    const made = key === null ? null : await store.deploymentOfKey(account, key, now())
    if (made === null) return null
    if (made.contentHash === contentHashOf(wish)) return await view(account, made.deployment)
    const why = `The idempotency key '${key}' made '${made.deployment}' with other contents. Take a new key for a new deployment.`
    return refuse('idempotency_conflict', why, { details: { deployment: made.deployment } })
  }

  async function make(
    account: string,
    apiKey: string,
    deploying: DeployWish,
  ): Promise<DeploymentView | Refusal> {
    const { sdl, name, rule, secrets, idempotencyKey: key = null } = deploying
    const read = planOf(sdl)
    if (isRefusal(read)) return read
    const orders = withEnvelopes(read.orders, secrets?.groups ?? null)
    if (isRefusal(orders)) return orders
    const plan = { ...read, orders }
    const named = checkNames(plan, [], parts.whyNotNamed)
    if (named) return named
    const screening = await screenPlan(market, plan, { rule, tenant: account, sealed: false })
    const id = secrets ? sealedDeploymentId(account, secrets.nonce) : idFrom('dep', randomBytes(15))
    const wish = { id, account, apiKey, sdl, name, rule, plan, screening }
    const stored = newDeployment({ ...wish, now: now(), random: randomBytes })
    if (isRefusal(stored)) return stored
    if (name !== null && (await store.findDeployment(account, name)))
      return refuse(
        'conflict',
        `There is an open deployment '${name}'. Close it, update it, or take another name.`,
        { param: 'name' },
      )
    const refusal = await setAside(stored)
    if (refusal) return refusal
    const at = now()
    const ordered = stored.leases.length === 1 ? 'one order' : `${stored.leases.length} orders`
    const message = `${ordered}, ${screening.groups.reduce((sum, { bids }) => sum + bids.length, 0)} bids stand`
    const event = { at, type: 'deployment.ordered', lease: null, service: null, message }
    const once = key === null ? null : { key, contentHash: contentHashOf(deploying) }
    if (!(await store.createDeployment(stored, gateway, at + CLAIM_MS, [event], once))) {
      for (const { hold } of stored.leases) if (hold !== null) await store.closeHold(hold)
      return secrets
        ? refuse('conflict', `The deployment '${id}' exists. Seal its secrets with a new nonce.`, {
            param: 'secrets',
          })
        : refuse('conflict', 'Another request with the same idempotency key was first.')
    }
    book.adopt(stored)
    return viewOf(stored)
  }

  return async (account, apiKey, wish) => {
    const made = await madeBefore(account, wish)
    if (made) return made
    const answer = await make(account, apiKey, wish)
    // Somebody sent the same at the same time, perhaps to another gateway, and was first.
    return isRefusal(answer) ? ((await madeBefore(account, wish)) ?? answer) : answer
  }
}

/** Equal for equal wishes. */
const contentHashOf = ({ sdl, name, rule, secrets }: DeployWish): string =>
  sha256Hex(canonicalJson({ sdl, name, rule, secrets }))
