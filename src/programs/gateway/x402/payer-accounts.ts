/**
 * The account that a channel pays from: one for each channel, made when its first voucher comes, with a key that nobody has, so
 * that its requests are metered, limited and settled like everybody's, and receipts that come late find who pays.
 */
import { createHash, randomBytes } from 'node:crypto'
import { idFrom, type IdPrefix } from '../../../core/base/id.ts'
import type { Address, Hex } from '../../../core/base/hex.ts'
import { sha256Hex } from '../../../io/keys/identity.ts'
import { NO_LIMITS, type Store } from '../../../io/store/store.ts'
import { keyTag } from '../attempt-id.ts'
import type { KeyEntry, Keyring } from '../keyring.ts'

export type PayerAccounts = {
  /** The account of a channel, the same at every gateway; made where there is none. Throws Fault `store_unavailable`. */
  ensure(channel: Hex, payer: Address): Promise<KeyEntry>
}

export function createPayerAccounts(parts: {
  store: Pick<Store, 'createAccount' | 'createKey' | 'keys'>
  keyring: Pick<Keyring, 'changed'>
}): PayerAccounts {
  const { store, keyring } = parts

  return {
    async ensure(channel, payer) {
      const id = accountOfChannel(channel)
      const account = await store.createAccount({
        id,
        kind: 'tenant',
        name: payer,
        limits: NO_LIMITS,
      })
      const [there] = await store.keys(id)
      const key = there ?? (await makeKey(store, id, channel))
      keyring.changed(key)
      return { key, account, tag: keyTag(key.id) }
    },
  }
}

/** Made of the channel's id, so that every gateway knows it. */
export const accountOfChannel = (channel: Hex): string => idOf('acct', channel)

/** Two gateways may make it at the same time: the second finds what the first made. */
async function makeKey(store: Pick<Store, 'createKey' | 'keys'>, account: string, channel: Hex) {
  try {
    return await store.createKey({
      id: idOf('key', channel),
      account,
      name: 'x402',
      hint: 'x402',
      // Of nothing that anybody knows.
      hash: sha256Hex(randomBytes(32).toString('hex')),
      scopes: ['inference'],
      limits: NO_LIMITS,
      budgetNanoUsd: null,
      expiresAt: null,
    })
  } catch (error) {
    const [there] = await store.keys(account)
    if (there) return there
    throw error
  }
}

const idOf = (prefix: IdPrefix, channel: Hex): string =>
  idFrom(prefix, createHash('sha256').update(`x402 ${prefix} ${channel}`).digest())
