/** Who exists on a network that was just started: its operator, and a tenant with test credit, each with a key. */
import { randomBytes } from 'node:crypto'
import { idFrom } from '../../../core/base/id.ts'
import { NANO_PER_USD, type NanoUsd } from '../../../core/base/money.ts'
import { isRefusal } from '../../../core/base/refusal.ts'
import { sha256Hex } from '../../../io/keys/identity.ts'
import { mintSecret } from '../../gateway/control/key-secret.ts'
import {
  NO_LIMITS,
  TEST_CREDIT,
  tenantLedger,
  type AccountKind,
  type Scope,
  type Store,
} from '../../../io/store/store.ts'

const TENANT_SCOPES: readonly Scope[] = ['inference', 'account', 'keys', 'deployments']
const OPERATOR_SCOPES: readonly Scope[] = ['account', 'keys', 'operator']
const TEST_CREDIT_NANO_USD: NanoUsd = 5n * NANO_PER_USD

export type FirstAccounts = {
  readonly apiKey: string
  readonly operatorKey: string
  readonly balanceNanoUsd: NanoUsd
}

/** Makes what is missing; keys that still work stay. Safe to run again after a crash at any point. */
export async function firstAccounts(
  store: Store,
  known: { readonly apiKey: string; readonly operatorKey: string } | null,
): Promise<FirstAccounts> {
  const operator = await accountOf(store, 'operator')
  const tenant = await accountOf(store, 'tenant')
  const credit = await store.transfer({
    key: `test-credit:${tenant}`,
    debit: TEST_CREDIT,
    credit: tenantLedger(tenant),
    nanoUsd: TEST_CREDIT_NANO_USD,
    kind: 'deposit',
    reference: 'test credit of the first start',
  })
  if (isRefusal(credit)) throw new Error(`test credit was refused: ${credit.message}`)
  return {
    apiKey: await workingKey(store, tenant, known?.apiKey, TENANT_SCOPES),
    operatorKey: await workingKey(store, operator, known?.operatorKey, OPERATOR_SCOPES),
    balanceNanoUsd: (await store.balance(tenantLedger(tenant))).balanceNanoUsd,
  }
}

/** The oldest account of its kind is the one that the first start made. */
async function accountOf(store: Store, kind: AccountKind): Promise<string> {
  const accounts = (await store.accounts()).filter((account) => account.kind === kind)
  const [first] = accounts.toSorted((a, b) => a.createdAt - b.createdAt)
  if (first) return first.id
  const name = kind === 'operator' ? 'operator' : 'tenant'
  const id = idFrom('acct', randomBytes(15))
  return (await store.createAccount({ id, kind, name, limits: NO_LIMITS })).id
}

async function workingKey(
  store: Store,
  account: string,
  known: string | undefined,
  scopes: readonly Scope[],
): Promise<string> {
  if (known !== undefined) {
    const kept = await store.keyByHash(sha256Hex(known))
    if (kept && kept.account === account && kept.revokedAt === null) {
      // An older Baseload made it, when there was less to be allowed to.
      const all = [...new Set([...kept.scopes, ...scopes])]
      if (all.length > kept.scopes.length) await store.updateKey(account, kept.id, { scopes: all })
      return known
    }
  }
  const { secret, hash, hint } = mintSecret(randomBytes)
  await store.createKey({
    id: idFrom('key', randomBytes(15)),
    account,
    name: 'npm start',
    hint,
    hash,
    scopes,
    limits: NO_LIMITS,
    budgetNanoUsd: null,
    expiresAt: null,
  })
  return secret
}
