/**
 * What a voucher adds to a request: the gateway's own parts over real HTTP, a real link, a node with an engine that knows twelve
 * words, and PostgreSQL. Requests by API key and requests that each bring a voucher take turns, one at a time.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { randomBytes } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { join } from 'node:path'
import { bytesOf, type Hex } from '../../src/core/base/hex.ts'
import { isRefusal } from '../../src/core/base/refusal.ts'
import { LINK_PATH } from '../../src/core/protocol/link.ts'
import { createHttpServer } from '../../src/io/http/http-server.ts'
import { ephemeralIdentity, sha256Hex } from '../../src/io/keys/identity.ts'
import { createLinkServer } from '../../src/io/link/link-server.ts'
import { openObjectStore } from '../../src/io/objects/open-store.ts'
import { createPostgresStore } from '../../src/io/store/postgres-store.ts'
import { randomId } from '../../src/io/store/samples.ts'
import { NO_LIMITS, TEST_CREDIT, tenantLedger, type Store } from '../../src/io/store/store.ts'
import { silentLogger } from '../../src/io/telemetry/logger.ts'
import { createGatewayMetrics } from '../../src/io/telemetry/metrics.ts'
import { gatewayConfig } from '../../src/programs/gateway/config.ts'
import { createCore } from '../../src/programs/gateway/core.ts'
import { createInference } from '../../src/programs/gateway/inference.ts'
import type { Keyring } from '../../src/programs/gateway/keyring.ts'
import { createSettlement } from '../../src/programs/gateway/money/settlement.ts'
import type { ChannelService } from '../../src/programs/gateway/money/channel-service.ts'
import { nodeConfig } from '../../src/programs/node/config.ts'
import { createFakeEngine, fakeModel } from '../../src/programs/node/fake-engine.ts'
import { startNode } from '../../src/programs/node/main.ts'
import { noChain, Payer } from './payers.ts'

const LINK_TIMEOUT_MS = 10_000
const LOOK_EVERY_MS = 10

export type Paying = {
  readonly keyP50Us: number
  readonly voucherP50Us: number
  readonly keyP99Us: number
  readonly voucherP99Us: number
}

/** Channel, units and signature behind the key: `key:channel:units:signature`. */
const SEPARATOR = ':'
const DEPOSIT = 1_000_000_000n

export async function measurePaying(
  { databaseUrl, home }: { readonly databaseUrl: string; readonly home: string },
  plan: { readonly warmUp: number; readonly requests: number },
): Promise<Paying> {
  const secret = `sk-bl-${randomBytes(24).toString('base64url')}`
  const payer = new Payer()
  const gateway = await startPaidGateway(databaseUrl, home, secret, payer)
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const times = { key: [] as number[], voucher: [] as number[] }
  try {
    let units = 0n
    for (let index = 0; index < plan.warmUp + plan.requests; index++) {
      for (const way of ['key', 'voucher'] as const) {
        let token = secret
        if (way === 'voucher') {
          units += 10n
          token = [secret, payer.id, units, payer.voucher(units).hex].join(SEPARATOR)
        }
        const start = performance.now()
        await ask(gateway.port, agent, token)
        if (index >= plan.warmUp) times[way].push((performance.now() - start) * 1_000)
      }
    }
  } finally {
    agent.destroy()
    await gateway.close()
  }
  const at = (way: 'key' | 'voucher', share: number): number =>
    times[way].toSorted((a, b) => a - b)[Math.floor(times[way].length * share)] ?? 0
  return {
    keyP50Us: at('key', 0.5),
    voucherP50Us: at('voucher', 0.5),
    keyP99Us: at('key', 0.99),
    voucherP99Us: at('voucher', 0.99),
  }
}

/** `main.ts` in short, with a keyring that takes a voucher along with the key, before anything else, and waits for nothing. */
async function startPaidGateway(databaseUrl: string, home: string, secret: string, payer: Payer) {
  const store = await createPostgresStore({ url: databaseUrl, logger: silentLogger })
  mkdirSync(home, { recursive: true })
  const config = gatewayConfig.parse({ home, databaseUrl })
  const identity = ephemeralIdentity('gw')
  const settlement = createSettlement({
    chain: noChain(),
    store,
    logger: silentLogger,
    now: Date.now,
    config,
  })
  const account = await addTenant(store, secret)
  const { chainId, channels: contract } = settlement.desk.facts
  await store.bindChannel({ chainId, contract }, payer.channel(account, DEPOSIT))
  const core = createCore(config, {
    identity,
    store,
    settlement,
    makePayouts: null,
    logger: silentLogger,
    now: Date.now,
    metrics: createGatewayMetrics(),
    objects: openObjectStore(config, identity.id),
    secret: randomBytes(16),
    place: () => ({ domain: 'localhost', port: 0, https: false }),
  })
  await core.keyring.start()
  await settlement.start()
  const serve = createInference({
    dispatcher: core.dispatcher,
    metrics: core.metrics,
    listPrices: new Map(),
    x402: null,
    keyring: paying(core.keyring, settlement.desk.channels),
    accepting: () => true,
    report: () => {},
  })
  const links = createLinkServer({
    identity,
    events: core.network.events,
    now: Date.now,
    logger: silentLogger,
    addresses: [],
  })
  const server = createHttpServer({
    onRequest: (incoming, response) => serve('chat', incoming, response),
    onUpgrade(incoming, socket, head) {
      if (incoming.url !== LINK_PATH) return false
      links.upgrade(incoming, socket, head)
      return true
    },
    maxConnections: 100,
  })
  const port = await server.listen({ host: '127.0.0.1', port: 0 })
  const settings = nodeConfig.parse({
    gateways: [`http://127.0.0.1:${port}`],
    home: join(home, 'node'),
    models: [{ source: 'words.gguf', name: 'words' }],
    drainSeconds: 1,
  })
  const quiet = { logger: silentLogger, say: () => {}, engine: createFakeEngine(), settleMs: 500 }
  const node = await startNode(settings, quiet)
  for (const deadline = Date.now() + LINK_TIMEOUT_MS; core.network.nodes().length === 0;) {
    if (Date.now() > deadline) throw new Error('the node did not link')
    await sleep(LOOK_EVERY_MS)
  }
  return {
    port,
    async close() {
      await node.stop()
      await server.close(1_000)
      await links.close()
      await core.close()
      await store.close()
    },
  }
}

const paying = (keyring: Keyring, channels: ChannelService): Keyring => ({
  ...keyring,
  authenticate(authorization = '', scope) {
    const [key, channel, units = '0', signature = '0x'] = authorization.split(SEPARATOR)
    if (channel !== undefined) {
      const accepted = channels.accept({
        channelId: channel as Hex,
        maxClaimable: BigInt(units),
        signature: bytesOf(signature as Hex),
      })
      if (accepted instanceof Promise) throw new Error('a voucher that waits')
      if (isRefusal(accepted)) return accepted
    }
    return keyring.authenticate(key, scope)
  },
})

async function addTenant(store: Store, secret: string): Promise<string> {
  const id = randomId('acct')
  await store.createAccount({ id, kind: 'tenant', name: 'bench', limits: NO_LIMITS })
  await store.createKey({
    id: randomId('key'),
    account: id,
    name: 'bench',
    hint: 'bench',
    hash: sha256Hex(secret),
    scopes: ['inference'],
    limits: NO_LIMITS,
    budgetNanoUsd: null,
    expiresAt: null,
  })
  await store.transfer({
    key: `deposit-${id}`,
    debit: TEST_CREDIT,
    credit: tenantLedger(id),
    kind: 'deposit',
    nanoUsd: 100_000_000_000n,
    reference: 'bench',
  })
  return id
}

const BODY = JSON.stringify({
  model: fakeModel.model,
  messages: [{ role: 'user', content: 'hello' }],
})

function ask(port: number, agent: Agent, token: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
    const options = { host: '127.0.0.1', port, agent, method: 'POST', headers }
    const outgoing = request({ ...options, path: '/v1/chat/completions' }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (part: string) => (text += part))
      response.on('end', () =>
        response.statusCode === 200 ? resolve() : reject(new Error(text.slice(0, 500))),
      )
    })
    outgoing.on('error', reject).end(BODY)
  })
}
