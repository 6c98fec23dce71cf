/** For tests of the lease book: a book, a market and a purse, and nodes that come and go as the test says. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Fault, isRefusal, type Refusal } from '../../../core/base/refusal.ts'
import { FolderStore } from '../../../io/objects/folder-store.ts'
import type { Heartbeat } from '../../../core/protocol/link.ts'
import type { Store } from '../../../io/store/store.ts'
import { testStore, testTenant } from '../../../io/store/testing.ts'
import { silentLogger } from '../../../io/telemetry/logger.ts'
import { IngressTable } from '../ingress/ingress-table.ts'
import { serveDeployments } from './deployments.ts'
import { FakeLeasingNode } from './fake-leasing-node.ts'
import { LeaseBook } from './lease-book.ts'
import { keepHosts } from './lease-hosts.ts'
import { LeaseMarket } from './lease-market.ts'
import type { DeploymentView, LeaseView } from './lease-service.ts'
import { LeaseVolumes } from './lease-volumes.ts'

export const wish = () => ({ sdl: sdl(), name: null, rule: 'cheapest' as const })

export const sdl = ({ image = 'hello', cpu = '0.5', volume = false } = {}): string => `
version: "2.0"
services:
  web:
    image: ${image}
${volume ? '    params: { storage: { data: { mount: /data } } }' : ''}
    expose:
      - port: 80
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

/** A lease book over a real PostgreSQL, and nodes that play along. */
export async function setupBook(t: TestContext, credit = 1_000_000_000n) {
  const store = await testStore(t)
  const account = await testTenant(store, credit)
  const clock = { ms: 1_800_000_000_000 }
  const now = () => clock.ms
  const links = new Map<string, FakeLeasingNode>()
  const market = new LeaseMarket({
    gateway: 'gw_test',
    tierOf: () => 'community',
    now,
    bidWindowMs: 500,
  })
  const hosts = new IngressTable()
  const away = { is: false }
  const folder = mkdtempSync(join(tmpdir(), 'baseload-snapshots-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const parts = {
    store: whileThere(store, away),
    market,
    volumes: new LeaseVolumes({ objects: new FolderStore(folder), logger: silentLogger }),
    gateway: 'gw_test',
    now,
    logger: silentLogger,
    linkOf: (node: string) => links.get(node),
  }
  const open = () => {
    const book = new LeaseBook({
      ...parts,
      hosts: keepHosts({ table: hosts, domain: 'localhost', linkOf: parts.linkOf }),
      nodes: () => [...links.values()],
    })
    return { book, service: serveDeployments({ ...parts, book, place }) }
  }
  let { book, service } = open()
  t.after(() => book.close())
  const net = {
    store,
    account,
    credit,
    hosts,
    now,
    get service() {
      return service
    },
    pass: (ms: number) => void (clock.ms += ms),
    bill: () => book.bill(),
    storeAway: (is: boolean) => void (away.is = is),
    node(more: ConstructorParameters<typeof FakeLeasingNode>[1] = {}) {
      const node = new FakeLeasingNode(now, more)
      net.link(node)
      return node
    },
    link(node: FakeLeasingNode) {
      links.set(node.node, node)
      node.book = book
      node.beat()
      book.linked(node)
    },
    /** It says what is free and what it holds. */
    beat(node: FakeLeasingNode, news: Pick<Heartbeat, 'room' | 'images'>) {
      node.beat()
      node.heartbeat = { free: [], queued: [], ...news }
      book.heartbeat(node)
    },
    offer: (node: FakeLeasingNode) => book.offerChanged(node),
    /** Its link is gone; `moment`: and the moment in which it could come back has passed. */
    lose(node: FakeLeasingNode, moment = true) {
      links.delete(node.node)
      book.unlinked(node, 'the connection was reset')
      if (moment) clock.ms += 10_000
    },
    async restart() {
      await book.close()
      for (const node of links.values()) market.remove(node.node)
      links.clear()
      ;({ book, service } = open())
      await book.claim()
    },
    runs: (node: FakeLeasingNode) =>
      node.told.flatMap((command) => (command.kind === 'run' ? [command] : [])),
    deploy: async (text = sdl()) =>
      view(await service.deploy(account, 'key_none', { ...wish(), sdl: text })),
    snapshot: () => book.takeSnapshots(),
    async lease(deployment: string): Promise<LeaseView> {
      const [lease] = view(await service.deployment(account, deployment)).leases
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
        const events = await service.events(account, deployment, 0)
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
