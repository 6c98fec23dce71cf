/** For tests: a control API over a store in memory, with two tenants, an operator and two linked nodes. */
import { randomBytes } from 'node:crypto'
import { z } from 'zod'
import { idFrom } from '../../../core/base/id.ts'
import { isRefusal, refuse } from '../../../core/base/refusal.ts'
import type { Offer, OfferedModel } from '../../../core/protocol/offer.ts'
import type { ProvenReceipt } from '../../../core/protocol/receipt.ts'
import type { NodeLink } from '../../../io/link/node-link.ts'
import {
  NO_LIMITS,
  tenantLedger,
  TEST_CREDIT,
  type Account,
  type ApiKey,
  type NewApiKey,
  type NodeRecord,
  type Scope,
  type Store,
  type Transfer,
  type Usage,
} from '../../../io/store/store.ts'
import { silentLogger } from '../../../io/telemetry/logger.ts'
import { createControlApi } from '../control-api.ts'
import { createKeyring } from '../keyring.ts'
import type { ControlParts, ControlStore, LinkedNode } from './control-parts.ts'
import { mintSecret } from './key-secret.ts'

export const NOW = Date.parse('2027-03-01T12:00:00Z')
export const NODE = `node_${'a'.repeat(24)}`
export const ABSENT_NODE = `node_${'c'.repeat(24)}`
export const ALL_SCOPES: readonly Scope[] = ['inference', 'account', 'keys', 'deployments']

export async function setupControl(change: Partial<ControlParts> = {}) {
  const { store, usages, receipts } = memoryStore()
  const logs: { message: string; fields: unknown }[] = []
  const keyring = createKeyring({ store, now: () => NOW, logger: silentLogger })
  const parts: ControlParts = {
    store,
    async authenticate(authorization, scope) {
      const entry = await keyring.authenticate(authorization ?? undefined, scope)
      return isRefusal(entry) ? entry : entry.key
    },
    keyring,
    network: { nodes: linkedNodes, changed: () => {} },
    leases: null,
    settlement: null,
    settled: () => Promise.resolve(),
    metrics: { text: () => Promise.resolve('baseload_nodes_linked 2\n') },
    ready: () => Promise.resolve([{ part: 'store', ok: true, why: null }]),
    now: () => NOW,
    randomBytes,
    gatewayId: 'gw_test',
    gatewayKey: 'gateway-key',
    version: '1.2.3',
    logger: {
      ...silentLogger,
      error: (message, fields) => void logs.push({ message, fields }),
      info: (message, fields) => void logs.push({ message, fields }),
    },
    ...change,
  }
  const api = createControlApi(parts)
  const account = (name: string, kind: Account['kind'] = 'tenant') =>
    store.createAccount({ id: idFrom('acct', randomBytes(15)), kind, name, limits: NO_LIMITS })
  const keyFor = async (owner: Account, more: Partial<NewApiKey> = {}) => {
    const { secret, hash, hint } = mintSecret(randomBytes)
    const fresh = {
      id: idFrom('key', randomBytes(15)),
      account: owner.id,
      name: 'test',
      hint,
      hash,
    }
    const rest = { scopes: ALL_SCOPES, limits: NO_LIMITS, budgetNanoUsd: null, expiresAt: null }
    return { key: await store.createKey({ ...fresh, ...rest, ...more }), secret }
  }
  const [alice, bob] = [await account('alice'), await account('bob')]
  const operator = await account('operator', 'operator')
  return {
    api,
    parts,
    store,
    usages,
    receipts,
    logs,
    account,
    keyFor,
    alice,
    bob,
    alices: await keyFor(alice),
    bobs: await keyFor(bob),
    operators: await keyFor(operator, { scopes: ['account', 'keys', 'operator'] }),
    /** Asks as the holder of `secret` (null: nobody). */
    ask: async (secret: string | null, method: string, path: string, body?: unknown) => {
      const headers = new Headers(secret === null ? {} : { authorization: `Bearer ${secret}` })
      if (body !== undefined) headers.set('content-type', 'application/json')
      const text = typeof body === 'string' ? body : JSON.stringify(body)
      const init = { method, headers, ...(body === undefined ? {} : { body: text }) }
      const res = await api.fetch(new Request(`http://gateway.test${path}`, init))
      const answer: Answer = res.headers.get('content-type')?.startsWith('application/json')
        ? anything.parse(await res.json())
        : {}
      return { status: res.status, headers: res.headers, answer, code: answer['error']?.['code'] }
    },
  }
}

/** JSON as tests look at it: any depth, anything may be missing. */
export type Answer = { readonly [key: string]: Answer }
const anything = z.custom<Answer>()

/** A string of an answer, or nothing. */
export const textOf = (value: unknown): string => (typeof value === 'string' ? value : '')

type MemoryStore = ControlStore & Pick<Store, 'keyByHash' | 'keysSince'>
type StoredProof = { account: string; proven: ProvenReceipt }

/** As little of a store as the control routes need; the real one has tests of its own. */
function memoryStore() {
  const accounts = new Map<string, Account>()
  const keys = new Map<string, ApiKey>()
  const transfers = new Map<string, Transfer>()
  const nodes = new Map<string, NodeRecord>()
  for (const node of [NODE, ABSENT_NODE]) nodes.set(node, recordOf(node))
  const usages: Usage[] = []
  const receipts: StoredProof[] = []
  let revision = 0n
  const put = (key: Omit<ApiKey, 'revision'>): ApiKey => {
    const saved = { ...key, revision: (revision += 1n) }
    keys.set(key.id, saved)
    return saved
  }
  const change = async (account: string, id: string, what: Partial<ApiKey>) => {
    const key = keys.get(id)
    return key?.account === account ? put({ ...key, ...what }) : null
  }
  const store: MemoryStore = {
    account: async (id) => accounts.get(id) ?? null,
    accounts: async () => [...accounts.values()],
    async createAccount(account) {
      const saved = { ...account, createdAt: NOW }
      accounts.set(account.id, saved)
      return saved
    },
    keys: async (account) => [...keys.values()].filter((key) => key.account === account),
    createKey: async (key) => put({ ...key, spentNanoUsd: 0n, createdAt: NOW, revokedAt: null }),
    updateKey: change,
    revokeKey: (account, id) => change(account, id, { revokedAt: NOW }),
    keyByHash: async (hash) => [...keys.values()].find((key) => key.hash === hash) ?? null,
    keysSince: async () => [],
    async balance(ledger) {
      let balanceNanoUsd = 0n
      for (const { credit, nanoUsd } of transfers.values())
        if (credit === ledger) balanceNanoUsd += nanoUsd
      return { balanceNanoUsd, heldNanoUsd: balanceNanoUsd / 10n }
    },
    async testCredit(account) {
      let given = 0n
      for (const { debit, credit, nanoUsd } of transfers.values())
        if (debit === TEST_CREDIT && credit === tenantLedger(account)) given += nanoUsd
      return given
    },
    async transfer(transfer) {
      const before = transfers.get(transfer.key)
      if (before?.nanoUsd === transfer.nanoUsd) return 'duplicate'
      if (before) return refuse('idempotency_conflict', 'The same key with other contents.')
      transfers.set(transfer.key, transfer)
      return 'posted'
    },
    usage: async (account, since, until) =>
      usages
        .filter((each) => each.account === account)
        .filter(({ finishedAt }) => finishedAt >= since && finishedAt < until)
        .map((each) => ({
          model: each.model,
          node: each.node,
          day: new Date(each.finishedAt).toISOString().slice(0, 10),
          requests: 1,
          inputTokens: each.billedInputTokens,
          outputTokens: each.outputTokens,
          nanoUsd: each.nanoUsd,
        })),
    recentUsage: async (account, limit) =>
      usages.filter((each) => each.account === account).slice(0, limit),
    receipts: async (account, id) =>
      receipts
        .filter((each) => each.account === account)
        .map(({ proven }) => proven)
        .filter(({ receipt }) => receipt.id === id || receipt.request === id),
    nodes: async () => [...nodes.values()],
    async setTier(node, tier) {
      const record = nodes.get(node)
      if (!record) return null
      const saved = { ...record, tier }
      nodes.set(node, saved)
      return saved
    },
  }
  return { store, usages, receipts }
}

export const testCredit = (account: Account, nanoUsd: bigint): Transfer => ({
  key: `test:${account.id}:${nanoUsd}`,
  debit: TEST_CREDIT,
  credit: tenantLedger(account.id),
  nanoUsd,
  kind: 'deposit',
  reference: '',
})

const recordOf = (node: string): NodeRecord => ({
  node,
  nodeKey: `key-of-${node}`,
  tier: 'community',
  firstSeenAt: NOW - 1_000_000,
  lastSeenAt: NOW,
  linkedSeconds: 750,
})

const model: OfferedModel = {
  model: 'bard-3m',
  digest: `sha256:${'0'.repeat(64)}`,
  engine: 'llama.cpp/3.22.1',
  quantization: 'F16',
  contextTokens: 512,
  slots: 4,
  capabilities: ['chat', 'token_ids'],
  inputNanoUsdPerMTok: '50000000',
  outputNanoUsdPerMTok: '200000000',
}

/** Where the nodes live: no answer may ever hold these. */
export const ADDRESSES = ['203.0.113.7', '2001:db8::7', 'gpu-7.example', '8000']

function linkedNodes(): LinkedNode[] {
  return [NODE, `node_${'b'.repeat(24)}`].map((node, i) => ({
    link: linkOf(node),
    record: i === 0 ? recordOf(node) : null,
    replicas: [
      {
        model,
        outstanding: 1,
        free: 3,
        tokensPerSecond: 123.456,
        firstTokenMs: null,
        cooldown:
          i === 0
            ? null
            : {
                untilMs: NOW + 5_000,
                reason: `cannot reach http://gpu-7.example:8000/v1: connect ECONNREFUSED 203.0.113.7:8000, [2001:db8::7]:8000, gpu-7.example:8000`,
              },
      },
    ],
  }))
}

function linkOf(node: string): NodeLink {
  const offer: Offer = {
    v: 1,
    node,
    sequence: 1,
    issuedAtMs: NOW,
    software: 'baseload/1.2.3',
    providerName: 'Ada',
    region: 'eu-de',
    dataCollection: 'deny',
    leases: null,
    models: [model],
  }
  return {
    link: 'link_1',
    node,
    nodeKey: `key-of-${node}`,
    linkedAt: NOW - 60_000,
    offer,
    signedOffer: { offer: JSON.stringify(offer), signature: 'signed' },
    heartbeat: null,
    lastHeardAt: NOW,
    draining: false,
    open: () => ({ cancel: () => {}, forget: () => {}, grant: () => {} }),
    ping: () => Promise.resolve(true),
    openTunnel: () => Promise.reject(new Error('no tunnels here')),
    payout: null,
    tellPayout: () => {},
    tellRegion: () => {},
    lease: () => {},
    acknowledge: () => {},
    close: () => {},
  }
}
