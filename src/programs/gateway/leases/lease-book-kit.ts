/** For tests of the lease book: a book, a market and a purse, and nodes that come and go as the test says. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Fault, isRefusal, type Refusal } from '../../../core/base/refusal.ts'
import { ephemeralIdentity } from '../../../io/keys/identity.ts'
import { FolderStore } from '../../../io/objects/folder-store.ts'
import type { Heartbeat } from '../../../core/protocol/link.ts'
import type { ObjectStore } from '../../../io/objects/object-store.ts'
import type { SnapshotRecord } from '../../../io/store/snapshot-records.ts'
import type { Store } from '../../../io/store/store.ts'
import { testStore, testTenant } from '../../../io/store/testing.ts'
import { silentLogger } from '../../../io/telemetry/logger.ts'
import { IngressTable } from '../ingress/ingress-table.ts'
import { DeploymentCommands } from './commands.ts'
import { serveDeployments } from './deployments.ts'
import { FakeLeasingNode } from './fake-leasing-node.ts'
import { Kin } from './kin.ts'
import { LeaseBook } from './lease-book.ts'
import { keepHosts } from './lease-hosts.ts'
import { LeaseMarket } from './lease-market.ts'
import type { DeploymentView, LeaseView } from './lease-service.ts'
import { LeaseVolumes } from './lease-volumes.ts'

export const wish = () => ({
  sdl: sdl(),
  name: null,
  rule: 'cheapest' as const,
  secrets: null,
})

export const sdl = ({
  image = 'hello',
  cpu = '0.5',
  volume = false,
  accept = [] as readonly string[],
} = {}): string => `
version: "2.0"
services:
  web:
    image: ${image}
${volume ? '    params: { storage: { data: { mount: /data } } }' : ''}
    expose:
      - port: 80
        accept: ${JSON.stringify(accept)}
        to:
          - global: true
profiles:
  compute:
    web:
      resources:
        cpu: { units: ${cpu} }
        memory: { size: 512Mi }
        storage: ${volume ? DATA : '{ size: 1Gi }'}
  placement:
    here:
      pricing:
        web: { denom: usd/hour, amount: 1 }
deployment:
  web: { here: { profile: web, count: 1 } }
`

const DATA = '[{ name: data, size: 1Gi, attributes: { persistent: true, class: default } }]'

export function view(answer: DeploymentView | Refusal): DeploymentView {
  if (isRefusal(answer)) throw new Error(`${answer.code}: ${answer.message}`)
  return answer
}

type Over = {
  readonly store: Store
  readonly now: () => number
  readonly folder: string
  readonly limitBytes: number
  readonly wrap: (store: ObjectStore) => ObjectStore
}

/** One gateway's lease book, and the nodes that are linked to it. */
function aGateway({ store, now, folder, limitBytes, wrap }: Over) {
  const identity = ephemeralIdentity('gw')
  const links = new Map<string, FakeLeasingNode>()
  const market = new LeaseMarket({
    gateway: identity.id,
    tierOf: () => 'community',
    now,
    bidWindowMs: 500,
  })
  const table = new IngressTable({ own: ['gateway.example'] })
  const linkOf = (node: string) => links.get(node)
  const parts = {
    store,
    market,
    volumes: new LeaseVolumes({
      objects: wrap(new FolderStore(folder, 'here')),
      store,
      logger: silentLogger,
      now,
      random: randomBytes,
      limitBytes,
    }),
    gateway: identity.id,
    kin: new Kin(identity, store),
    now,
    logger: silentLogger,
    linkOf,
    hosts: keepHosts({ table, domain: 'localhost', linkOf }),
    links: () => links.values(),
    linkedNodes: () => links.size,
    whyNotNamed: table.whyNot.bind(table),
  }
  const open = () => {
    const book = new LeaseBook(parts)
    const commands = new DeploymentCommands(parts, book, 2_000)
    return { book, commands, service: serveDeployments({ ...parts, book, commands, place }) }
  }
  let opened = open()
  const gateway = {
    id: identity.id,
    hosts: table,
    get service() {
      return opened.service
    },
    get book() {
      return opened.book
    },
    link(node: FakeLeasingNode) {
      links.set(node.node, node)
      node.book = opened.book
      node.gateway = identity.id
      node.beat()
      opened.book.linked(node)
    },
    unlink(node: FakeLeasingNode) {
      links.delete(node.node)
      opened.book.unlinked(node, 'the connection was reset')
    },
    /** Leases run on. */
    async close() {
      opened.commands.close()
      await opened.book.close()
      for (const node of links.values()) market.remove(node.node)
      links.clear()
    },
    async restart() {
      await gateway.close()
      opened = open()
      await opened.book.claim()
    },
  }
  return gateway
}

/** A lease book over a real PostgreSQL, and nodes that play along. */
export async function setupBook(
  t: TestContext,
  credit = 1_000_000_000n,
  { limitBytes = 2 ** 40, wrap = (store: ObjectStore) => store } = {},
) {
  const store = await testStore(t)
  const account = await testTenant(store, credit)
  const clock = { ms: 1_800_000_000_000 }
  const now = () => clock.ms
  const away = { is: false }
  const folder = mkdtempSync(join(tmpdir(), 'baseload-snapshots-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const another = () => {
    const gateway = aGateway({ store: whileThere(store, away), now, folder, limitBytes, wrap })
    t.after(() => gateway.close())
    return gateway
  }
  const first = another()
  const net = {
    store,
    account,
    credit,
    now,
    first,
    /** One more gateway over the same store. */
    another,
    hosts: first.hosts,
    get service() {
      return first.service
    },
    pass: (ms: number) => void (clock.ms += ms),
    bill: () => first.book.bill(),
    storeAway: (is: boolean) => void (away.is = is),
    node(more: ConstructorParameters<typeof FakeLeasingNode>[1] = {}) {
      const node = new FakeLeasingNode(now, more)
      net.link(node)
      return node
    },
    link: (node: FakeLeasingNode) => first.link(node),
    /** It says what is free and what it holds. */
    beat(node: FakeLeasingNode, news: Pick<Heartbeat, 'room' | 'images'>) {
      node.beat()
      node.heartbeat = { free: [], queued: [], ...news }
      first.book.heartbeat(node)
    },
    offer: (node: FakeLeasingNode) => first.book.offerChanged(node),
    /** Its link is gone; `moment`: and the moment in which it could come back has passed. */
    lose(node: FakeLeasingNode, moment = true) {
      first.unlink(node)
      if (moment) clock.ms += 10_000
    },
    restart: () => first.restart(),
    runs: (node: FakeLeasingNode) =>
      node.told.flatMap((command) => (command.kind === 'run' ? [command] : [])),
    deploy: async (text = sdl()) =>
      view(await first.service.deploy(account, 'key_none', { ...wish(), sdl: text })),
    /** Where snapshots lie. */
    folder,
    snapshot: () => first.book.takeSnapshots(),
    sweep: () => first.book.sweepSnapshots(),
    async snapshots(deployment: string): Promise<readonly SnapshotRecord[]> {
      const found = await first.service.snapshots(account, deployment)
      assert.ok('snapshots' in found)
      return found.snapshots
    },
    async lease(deployment: string): Promise<LeaseView> {
      const [lease] = view(await first.service.deployment(account, deployment)).leases
      if (!lease) throw new Error('no lease')
      return lease
    },
    async untilTrue(isSo: () => Promise<boolean>) {
      for (let tries = 0; tries < 400; tries++) {
        if (await isSo()) return
        await sleep(25)
      }
      assert.fail('it never came to be')
    },
    async until(deployment: string, state: LeaseView['state']): Promise<LeaseView> {
      await net.untilTrue(async () => (await net.lease(deployment)).state === state)
      return await net.lease(deployment)
    },
    untilEvent: (deployment: string, type: string) =>
      net.untilTrue(async () => {
        const events = await first.service.events(account, deployment, 0)
        return !isRefusal(events) && events.some((event) => event.type === type)
      }),
  }
  return net
}

const place = () => ({ domain: 'localhost', port: 8420, https: false })

const whileThere = (store: Store, away: { is: boolean }): Store =>
  new Proxy(store, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name)
      if (typeof value !== 'function') return value
      return (...args: unknown[]) =>
        away.is
          ? Promise.reject(new Fault('store_unavailable', 'away', { retryable: true }))
          : Reflect.apply(value, target, args)
    },
  })
