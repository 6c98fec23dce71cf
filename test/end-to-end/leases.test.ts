/** From a file to a page, and all that a tenant does with it until it is closed: by the built CLI, on a real Docker. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import { promisify } from 'node:util'
import { bridgeName, instanceOf, LABEL } from '../../src/io/runtime/names.ts'
import { containersUnavailable } from '../support/container-engines.ts'
import { Cli, echoed, pageSoon } from '../support/lease-cli.ts'
import {
  leaseNetwork,
  openYard,
  PAGE,
  pageAt,
  type LeaseNetwork,
  type LeaseYard,
} from '../support/lease-network.ts'
import { PAIR_SDL, sdlOf } from '../support/lease-sdl.ts'

const skip = containersUnavailable()
const LIMIT = { timeout: 180_000 }
const MIB = 1 << 20

describe('a tenant with an SDL file', { skip, ...LIMIT }, () => {
  let yard: LeaseYard
  before(async () => (yard = await openYard()), { timeout: 300_000 })
  after(() => yard.close(), { timeout: 60_000 })

  it('deploys, looks inside, changes and closes; nothing is left', LIMIT, async (t) => {
    const network = await leaseNetwork(t, yard, { nodes: 1 })
    const cli = new Cli(t, network)
    let url = ''

    await t.test('deploy: phases, then a URL that answers', async () => {
      const from = performance.now()
      const { out, err } = await cli.run(['deploy', cli.sdl(sdlOf()), '--name', 'shop'])
      url = out.trim()
      const saidMs = performance.now() - from
      assert.equal(await pageSoon(url), PAGE)
      t.diagnostic(
        `from nothing to a page: ${ms(performance.now() - from)}; the CLI ended after ${ms(saidMs)}\n${err}`,
      )
      const phases = [...err.matchAll(/^ +\d+\.\d\d s {2}([\w.]+)/gm)].map(([, phase]) => phase)
      const known = ['ordered', 'accepted', 'starting', 'running']
      assert.deepEqual(
        phases.filter((phase) => known.includes(phase ?? '')),
        known,
      )
    })

    await t.test('exec: streams, exit code, standard input, a terminal', async () => {
      const command = 'echo out; echo err >&2; exit 7'
      const both = await cli.run(['exec', 'shop', '--', 'sh', '-c', command], { code: 7 })
      assert.deepEqual([both.out, both.err], ['out\n', 'err\n'])
      const piped = await cli.run(['exec', '-i', 'shop', '--', 'rev'], { input: 'drawer\n' })
      assert.equal(piped.out, 'reward\n')
      const shell = await cli.inTerminal('exec -it shop -- sh', 'test -t 0 && echo a $((40+2)) tty')
      assert.match(shell, /a 42 tty\r*\n/)
    })

    await t.test('logs: also what was written before an exit', async () => {
      assert.equal((await cli.run(['logs', 'shop'])).out, 'serving\n')
      await cli.run(['exec', 'shop', '--', 'kill', '1'], { code: null })
      const isBack = async () => (await cli.run(['logs', 'shop'])).out === 'serving\nserving\n'
      await network.until('it serves again', isBack)
      await network.running('shop')
    })

    await t.test('cp: in, and out again', async () => {
      const text = 'copied by the tenant\n'
      writeFileSync(cli.path('in.html'), text)
      await cli.run(['cp', cli.path('in.html'), 'shop:/www/new.html'])
      assert.equal(await pageAt(`${url}/new.html`), text)
      await cli.run(['cp', 'shop:/www/new.html', cli.path('out.html')])
      assert.equal(readFileSync(cli.path('out.html'), 'utf8'), text)
    })

    await t.test('port-forward: a port here is a port there, TCP and UDP', async () => {
      const web = await cli.forward('0:80')
      const answer = await fetch(`http://${web.listening}/`)
      assert.equal(await answer.text(), PAGE)
      await web.stop()
      await cli.run(['exec', 'shop', '--', 'sh', '-c', 'echoes 5353 >/dev/null 2>&1 </dev/null &'])
      const dns = await cli.forward('0:5353/udp')
      for (const size of [0, 1_200, 65_507]) assert.equal(await echoed(dns.listening, size), size)
      await dns.stop()
    })

    const memoryLimit = async (): Promise<number> => {
      const { out } = await cli.run(['stats', 'shop', '--json'])
      type Stats = { containers: { memory_bytes: number; memory_limit_bytes: number }[] }
      const { containers }: Stats = JSON.parse(out)
      const [web] = containers
      assert.ok(web && web.memory_bytes > 0 && web.memory_bytes < web.memory_limit_bytes, out)
      return web.memory_limit_bytes
    }
    await t.test('stats: what it uses, and what it may', async () => {
      assert.equal(await memoryLimit(), 32 * MIB)
    })

    const words = async (command: string): Promise<string> =>
      (await cli.run(['exec', 'shop', '--', 'sh', '-c', command])).out.trim()
    await t.test(
      'update: environment, image, resources; its volume and its name stay',
      async () => {
        await words('echo precious >/data/file')
        const first = await network.lease('shop')
        const show = 'echo $VERSION $COLOR $(cat /data/file)'
        await cli.update({ env: ['COLOR=red'] })
        assert.equal(await words(show), '1 red precious')
        await cli.update({ version: 2, env: ['COLOR=red'] })
        assert.equal(await words(show), '2 red precious')
        const same = await network.lease('shop')
        assert.deepEqual(
          [same.epoch, same.rate],
          [first.epoch, first.rate],
          'the terms are the same',
        )

        await cli.update({ version: 2, memory: '64Mi', cpu: '0.1' })
        const { epoch, rate } = await network.running('shop')
        assert.equal(await memoryLimit(), 64 * MIB)
        assert.equal(await words(show), '2 precious')
        assert.ok(epoch > first.epoch, 'other terms are another epoch')
        assert.ok(
          BigInt(rate.atto_usd_per_second) > BigInt(first.rate.atto_usd_per_second),
          'more costs more',
        )
        assert.equal(await pageSoon(url), PAGE)
      },
    )

    await t.test('close: no container, network, volume or firewall chain is left', async () => {
      const lease = await network.lease('shop')
      const chain = bridgeName(instanceOf(network.nodeOf(lease).id), lease.id)
      assert.match(await firewall(), new RegExp(`^:${chain} `, 'm'))
      await cli.run(['close', 'shop'])
      assert.equal(await pageAt(url), null)
      assert.deepEqual(await leftOf(network, lease.id), [])
      assert.doesNotMatch(await firewall(), new RegExp(chain))
    })
  })

  it('two services: they find each other, and only what is global has a URL', LIMIT, async (t) => {
    const network = await leaseNetwork(t, yard, { nodes: 1 })
    const cli = new Cli(t, network)
    const { out } = await cli.run(['deploy', cli.sdl(PAIR_SDL), '--name', 'pair'])
    const [url, ...others] = out.trim().split('\n')
    assert.ok(url !== undefined && others.length === 0, out)
    assert.equal(await pageSoon(url), PAGE)
    assert.equal(await pageAt(url.replace('//web.', '//db.')), null)

    const inside = async (service: string, command: string): Promise<string> => {
      const words = ['exec', 'pair', '--service', service, '--', 'sh', '-c', command]
      return (await cli.run(words)).out
    }
    await inside('db', 'echo "of db, for $TENANT" >/www/row')
    assert.equal(await inside('web', `wget -qO- http://$(${ADDRESS_OF_DB})/row`), 'of db, for me\n')
    const logs = await cli.run(['logs', 'pair'])
    assert.deepEqual(logs.out.trim().split('\n').toSorted(), LOGS_OF_BOTH)
    const { id } = await network.lease('pair')
    await cli.run(['close', 'pair'])
    assert.deepEqual(await leftOf(network, id), [])
  })
})

/** busybox finds no names: it is linked statically. */
const ADDRESS_OF_DB = `perl -e 'print join ".", unpack "C4", gethostbyname "db"'`
const LOGS_OF_BOTH = ['db  | serving', 'web | serving']

const ms = (time: number): string => `${Math.round(time)} ms`

const firewall = async (): Promise<string> =>
  (await promisify(execFile)('iptables-save', ['-t', 'mangle'])).stdout

async function leftOf({ docker }: LeaseNetwork, lease: string): Promise<string[]> {
  const filters = { label: [`${LABEL.lease}=${lease}`] }
  const [containers, networks, { Volumes }] = await Promise.all([
    docker.listContainers({ all: true, filters }),
    docker.listNetworks({ filters }),
    docker.listVolumes({ filters }),
  ])
  return [
    ...containers.map(({ Id }) => Id),
    ...networks.map(({ Name }) => Name),
    ...Volumes.map(({ Name }) => Name),
  ]
}
