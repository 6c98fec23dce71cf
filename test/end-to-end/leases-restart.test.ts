/** A gateway dies while a tenant is at work, by the built CLI on a real Docker: all of it goes on by itself. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import { containersUnavailable } from '../support/container-engines.ts'
import { Cli, echoed, pageSoon } from '../support/lease-cli.ts'
import { leaseNetwork, openYard, PAGE, type LeaseYard } from '../support/lease-network.ts'
import { sdlOf } from '../support/lease-sdl.ts'

const skip = containersUnavailable()
const LIMIT = { timeout: 180_000 }

describe('a gateway that is killed and started again', { skip, ...LIMIT }, () => {
  let yard: LeaseYard
  before(async () => (yard = await openYard()), { timeout: 300_000 })
  after(() => yard.close(), { timeout: 60_000 })

  it(
    'keeps ports, commands, and logs and events that are followed; the next cp works',
    LIMIT,
    async (t) => {
      const network = await leaseNetwork(t, yard, { nodes: 1 })
      const cli = new Cli(t, network)
      const { out: url } = await cli.run(['deploy', cli.sdl(sdlOf()), '--name', 'shop'])
      assert.equal(await pageSoon(url.trim()), PAGE)
      await cli.run(['exec', 'shop', '--', 'sh', '-c', 'echoes 5353 >/dev/null 2>&1 </dev/null &'])

      const tcp = await cli.forward('0:80')
      const udp = await cli.forward('0:5353/udp')
      const logs = cli.follow(['logs', '-f', 'shop'])
      const events = cli.follow(['events', '-f', 'shop', '--json'])
      assert.equal(await echoed(udp.listening, 10), 10)
      // Counts for 20 s, the gateway's death among them; then it says its input, and ends with a code of its own.
      const counting = cli.start(['exec', '-i', 'shop', '--', 'sh', '-c', COUNT])
      let [counted, complaints] = ['', '']
      counting.stdout?.setEncoding('utf8').on('data', (text: string) => (counted += text))
      counting.stderr?.setEncoding('utf8').on('data', (text: string) => (complaints += text))
      const ended = once(counting, 'close')
      counting.stdin?.write('before\n')
      await network.until('all are under way', () => {
        return logs.said() === 'serving\n' && events.said() !== '' && counted.includes('5\n')
      })

      const [{ program, url: gateway }] = network.gateways
      await program.kill('SIGKILL')
      // Asked while nobody is there: they wait for the gateway.
      const page = fetch(`http://${tcp.listening}/`)
      const echo = echoed(udp.listening, 100)
      counting.stdin?.end('while nobody is there\n')
      await network.until('it has noticed', () => complaints.includes('to come back'))
      await program.start()
      await network.linked(gateway, network.nodes.length)
      assert.equal(await (await page).text(), PAGE)
      assert.equal(await echo, 100)
      assert.deepEqual((await ended)[0], 7, complaints)
      const numbers = Array.from({ length: 200 }, (_, i) => `${i + 1}\n`).join('')
      assert.equal(counted, `${numbers}before\nwhile nobody is there\n`)
      assert.match(complaints, /back at the command\n$/)
      assert.equal((await cli.run(['exec', 'shop', '--', 'echo', 'here'])).out, 'here\n')
      await cli.run(['cp', 'shop:/www/index.html', cli.path('copy.html')])
      assert.equal(readFileSync(cli.path('copy.html'), 'utf8'), PAGE)

      await cli.run(['exec', 'shop', '--', 'kill', '1'], { code: null })
      await network.until('the next line comes, and no line twice', () => {
        assert.ok('serving\nserving\n'.startsWith(logs.said()), logs.said())
        return logs.said() === 'serving\nserving\n'
      })
      // A closed deployment has no name any more.
      const { id } = await network.deployment('shop')
      const heard = eventsIn(events.said()).length
      await cli.run(['close', 'shop'])
      await network.until('the end is heard', () => /lease\.closed/.test(events.said()))
      const all = eventsIn((await cli.run(['events', id, '--json'])).out)
      assert.ok(heard > 0 && all.length > heard)
      await network.until('no event is left out', () => events.said().endsWith(all.at(-1) ?? '-'))
      assert.deepEqual(eventsIn(events.said()), all)
      await Promise.all([tcp.stop(), udp.stop()])
    },
  )
})

const COUNT = 'i=0; while [ $i -lt 200 ]; do i=$((i+1)); echo $i; sleep 0.1; done; cat; exit 7'

/** A line each. */
const eventsIn = (text: string): string[] => text.split(/(?<=\n)/).filter((line) => line !== '')
