/**
 * API keys in memory, so that a request is authenticated without a query: SHA-256 of the key → key and account.
 * The database is the truth; a poll brings what other gateways changed, within `pollMs`.
 */
import { isRefusal, reasonOf, refuse, type Refusal } from '../../core/base/refusal.ts'
import type { Millis } from '../../core/base/time.ts'
import { sha256Hex } from '../../io/keys/identity.ts'
import type { Account, ApiKey, Scope, Store } from '../../io/store/store.ts'
import type { Logger } from '../../io/telemetry/logger.ts'
import { keyTag } from './attempt-id.ts'

/** A key as the hot path sees it. `key` is replaced when the row changes: keep the entry, not the key. */
export type KeyEntry = {
  key: ApiKey
  account: Account
  readonly tag: string
}

export type Keyring = {
  /** Synchronous for any key seen before; a promise while the database is asked about a new one. */
  authenticate(
    authorization: string | undefined,
    scope: Scope,
  ): KeyEntry | Refusal | Promise<KeyEntry | Refusal>
  /** For receipts that outlived the process which gave out their attempts. */
  byTag(tag: string): KeyEntry | null
  /** Takes a created, changed or revoked key at once, without waiting for the poll. */
  changed(key: ApiKey): void
  /** Loads every key and begins to poll. */
  start(): Promise<void>
  stop(): void
}

const LONGEST_KEY = 200
/** Wrong keys are remembered for a while, so that guessing cannot load the database; the memory is bounded. */
const MAX_UNKNOWN = 10_000
const UNKNOWN_FOR_MS = 5_000

export function createKeyring(parts: {
  store: Pick<Store, 'account' | 'accounts' | 'keyByHash' | 'keysSince'>
  now: () => Millis
  logger: Logger
  pollMs?: number
}): Keyring {
  const { store, now, logger } = parts
  const byHash = new Map<string, KeyEntry>()
  const byTag = new Map<string, KeyEntry>()
  const accounts = new Map<string, Account>()
  const unknown = new Map<string, Millis>()
  let revision = 0n
  let timer: NodeJS.Timeout | null = null
  let stopped = false

  async function accountOf(id: string): Promise<Account> {
    const known = accounts.get(id)
    if (known) return known
    const account = await store.account(id)
    if (!account) throw new Error(`key of account ${id}, which does not exist`)
    accounts.set(id, account)
    return account
  }

  async function remember(key: ApiKey): Promise<KeyEntry> {
    const known = byHash.get(key.hash)
    if (known) {
      if (key.revision >= known.key.revision) known.key = key
      return known
    }
    const entry: KeyEntry = { key, account: await accountOf(key.account), tag: keyTag(key.id) }
    byHash.set(key.hash, entry)
    byTag.set(entry.tag, entry)
    unknown.delete(key.hash)
    return entry
  }

  async function refresh(): Promise<void> {
    for (;;) {
      const changed = await store.keysSince(revision)
      for (const key of changed) {
        await remember(key)
        if (key.revision > revision) revision = key.revision
      }
      if (changed.length === 0) return
    }
  }

  async function refreshAccounts(): Promise<void> {
    for (const account of await store.accounts()) accounts.set(account.id, account)
    for (const entry of byHash.values())
      entry.account = accounts.get(entry.account.id) ?? entry.account
  }

  function poll(round: number): void {
    if (stopped) return
    timer = setTimeout(() => {
      const work = round % 10 === 9 ? refreshAccounts().then(refresh) : refresh()
      void work
        .catch((error: unknown) => logger.warn('keys not refreshed', { error: reasonOf(error) }))
        .finally(() => poll(round + 1))
    }, parts.pollMs ?? 1_000)
    timer.unref()
  }

  async function lookUp(hash: string, scope: Scope): Promise<KeyEntry | Refusal> {
    const missed = unknown.get(hash)
    if (missed !== undefined && now() - missed < UNKNOWN_FOR_MS) return wrongKey()
    const key = await store.keyByHash(hash)
    if (key) return usable(await remember(key), scope, now())
    if (unknown.size >= MAX_UNKNOWN) unknown.clear()
    unknown.set(hash, now())
    return wrongKey()
  }

  return {
    authenticate(authorization, scope) {
      const secret = bearer(authorization)
      if (isRefusal(secret)) return secret
      const hash = sha256Hex(secret)
      const entry = byHash.get(hash)
      return entry ? usable(entry, scope, now()) : lookUp(hash, scope)
    },
    byTag: (tag) => byTag.get(tag) ?? null,
    changed: (key) =>
      void remember(key).catch((error: unknown) =>
        logger.warn('key not taken', { id: key.id, error: reasonOf(error) }),
      ),
    async start() {
      await refreshAccounts()
      await refresh()
      poll(0)
    },
    stop() {
      stopped = true
      if (timer) clearTimeout(timer)
    },
  }
}

function bearer(authorization: string | undefined): string | Refusal {
  if (authorization === undefined || authorization === '') {
    return refuse('missing_api_key', "No API key: send the header 'Authorization: Bearer <key>'.")
  }
  const secret = /^Bearer\s+(\S+)\s*$/i.exec(authorization)?.[1]
  if (secret === undefined) {
    return refuse(
      'invalid_api_key',
      "The header 'Authorization' does not read 'Bearer <key>': write 'Bearer', a space and the key.",
    )
  }
  return secret.length > LONGEST_KEY ? wrongKey() : secret
}

const wrongKey = (): Refusal =>
  refuse(
    'invalid_api_key',
    'This API key is not known here. Check it, or make one with `baseload keys create`.',
  )

function usable(entry: KeyEntry, scope: Scope, now: Millis): KeyEntry | Refusal {
  const { key } = entry
  if (key.revokedAt !== null) {
    return refuse(
      'revoked_api_key',
      `The API key ${key.hint}… was revoked on ${day(key.revokedAt)}. Make a new one: POST /v1/keys.`,
    )
  }
  if (key.expiresAt !== null && key.expiresAt <= now) {
    return refuse(
      'expired_api_key',
      `The API key ${key.hint}… expired on ${day(key.expiresAt)}. Make a new one: POST /v1/keys.`,
    )
  }
  if (!key.scopes.includes(scope)) {
    return refuse(
      'scope_missing',
      `The API key ${key.hint}… has no scope '${scope}'; it has ${key.scopes.join(', ')}. Use a key with that scope.`,
    )
  }
  return entry
}

const day = (at: Millis): string => new Date(at).toISOString().slice(0, 10)
