/** Twelve hostile containers at once, on real Docker and real Podman: none gets out, and the host goes on. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { connect } from 'node:net'
import { once } from 'node:events'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { openSocket } from '../../src/io/runtime/engine-socket.ts'
import { jumpRule } from '../../src/io/runtime/firewall-rules.ts'
import { instanceOf } from '../../src/io/runtime/names.ts'
import { attacks, type Attack } from '../support/container-attacks.ts'
import { containersUnavailable, type EngineName } from '../support/container-engines.ts'
import {
  at,
  IMAGE,
  leaseOf,
  logsOf,
  openBench,
  until,
  type Bench,
} from '../support/container-lease.ts'
import {
  INTERNET,
  LAN,
  makeNeighbours,
  METADATA,
  type Neighbours,
} from '../support/container-neighbours.ts'

const run = promisify(execFile)
const skip = containersUnavailable()
const signal = new AbortController().signal
const PIDS = 48

for (const name of ['docker', 'podman'] satisfies EngineName[])
  describe(`twelve hostile containers on ${name}`, { skip, timeout: 200_000 }, () => {
    let bench: Bench
    let neighbours: Neighbours
    before(
      async () => {
        bench = await openBench(name, { limits: { pids: PIDS }, firewallPauseMs: 500 })
        neighbours = await makeNeighbours()
      },
      { timeout: 300_000 },
    )
    after(
      async () => {
        await neighbours.remove()
        await bench.close()
      },
      { timeout: 60_000 },
    )

    it('could be reached: the host, the LAN and metadata services answer to others', async () => {
      for (const address of [...LAN, ...METADATA, INTERNET]) await knock(address, 80)
      const { text } = await unguarded(bench, [...LAN, ...METADATA])
      assert.equal(text.match(/ESCAPED/g)?.length, LAN.length + METADATA.length, text)
    })

    it('hold all of them', { timeout: 90_000 }, async (test) => {
      const all = attacks(neighbours)
      assert.equal(Object.keys(all).length, 12)
      const calm = await paceOf(300)
      const start = ([service, { plan }]: [string, Attack]) =>
        bench.runtime.run(
          leaseOf(`evil-${service}`, { [service]: plan }, { restart: 'never' }),
          signal,
        )
      await Promise.all(Object.entries(all).map(start))
      const during = paceOf(3_000)
      const ended = Object.entries(all).filter(([, { ends }]) => ends)
      await Promise.all(
        ended.map(([service]) =>
          bench.event('container.exited', (event) => event.service === service),
        ),
      )
      const bomb = at('evil-fork-bomb', 'fork-bomb')
      const { pids } = await bench.runtime.stats(bomb)
      const pace = await during
      for (const service of Object.keys(all)) {
        const said = await logsOf(bench, at(`evil-${service}`, service))
        test.diagnostic(`${service}: ${await heldBy(bench, service, said, pids)}`)
        assert.doesNotMatch(said, /ESCAPED/, service)
      }
      test.diagnostic(
        `host: a process in ${pace.processMs.toFixed(0)} ms at worst (calm ${calm.processMs.toFixed(0)} ms), event loop ${pace.lagMs.toFixed(0)} ms late at worst`,
      )
      assert.ok(pids > PIDS / 2 && pids <= PIDS, `${pids} processes of the fork bomb`)
      assert.ok(pace.processMs < 5_000, 'the host is responsive')
    })

    it('reach the internet, and what they send is counted', { timeout: 20_000 }, async () => {
      await until(() => logsOf(bench, at('evil-lan', 'lan')), /the internet answers/)
      assert.ok((await bench.runtime.egressBytes('evil-lan')) > 100n)
      assert.equal(await bench.runtime.egressBytes('evil-mount'), 0n)
    })

    it('cannot reach another lease', { timeout: 20_000 }, async () => {
      await bench.runtime.run(leaseOf('victim', { web: {} }), signal)
      const [container] = await openSocket(bench.engine.socket).listContainers({
        filters: { name: ['victim-web-0'] },
      })
      const address = Object.values(container?.NetworkSettings.Networks ?? {})[0]?.IPAddress ?? ''
      await until(
        async () =>
          String(
            await knock(address, 80).then(
              () => true,
              () => false,
            ),
          ),
        /true/,
      )
      const script = `echo GET / | nc -w 1 ${address} 80 && echo ESCAPED; echo tried`
      await bench.runtime.run(leaseOf('spy', { spy: { script } }, { restart: 'never' }), signal)
      const said = await until(() => logsOf(bench, at('spy', 'spy')), /tried/)
      assert.doesNotMatch(said, /ESCAPED/)
    })

    it(
      'stay closed in when the engine restarts, and when somebody flushes the firewall',
      { timeout: 60_000 },
      async () => {
        await bench.clear()
        const script = `trap 'exit 0' TERM; while :; do nc -w 1 ${LAN[0]} 80 </dev/null && echo ESCAPED; nc -w 1 ${INTERNET} 80 </dev/null && echo out; sleep 0.1; done`
        await bench.runtime.run(leaseOf('patient', { patient: { script } }), signal)
        const out = async () =>
          (await logsOf(bench, at('patient', 'patient'))).split('out').length - 1
        const more = async () => {
          const so = await out()
          await until(async () => String((await out()) > so), /true/)
        }
        await more()
        await bench.engine.restart()
        await more()
        const instance = instanceOf(`test-${process.pid}`)
        assert.doesNotMatch(await logsOf(bench, at('patient', 'patient')), /ESCAPED/)

        await run('iptables', ['-t', 'mangle', '-D', ...jumpRule(instance)])
        await bench.event('firewall.restored')
        await run('iptables', ['-t', 'mangle', '-C', ...jumpRule(instance)])
      },
    )

    it('are gone when they are stopped', { timeout: 60_000 }, async () => {
      await bench.clear()
      const left = await openSocket(bench.engine.socket).listContainers({ all: true })
      assert.deepEqual(left, [])
    })
  })

/** What stopped an attack, in a line. */
async function heldBy(bench: Bench, service: string, said: string, pids: number): Promise<string> {
  if (service === 'fork-bomb') return `at most ${PIDS} processes; it has ${pids}`
  if (service === 'memory') {
    const { cause } = await bench.event('container.exited', (event) => event.service === service)
    return cause === 'oom' ? 'killed at its memory limit' : assert.fail(said)
  }
  if (service === 'disk') {
    const over = await bench.event('disk.exceeded', (event) => event.service === service)
    return `stopped with ${over.usedBytes >> 20} MiB of ${over.limitBytes >> 20} written`
  }
  const held = said.split('\n').filter((line) => line.startsWith('held: '))
  assert.ok(held.length > 0, `${service} tried something:\n${said}`)
  const reasons = new Set(
    held.map((line) =>
      line
        .replace(/^held: /, '')
        .split(': ')
        .at(-1),
    ),
  )
  return `${held.length} attempts held: ${[...reasons].join('; ')}`
}

/** The worst times of an empty process and of the event loop over a while. */
async function paceOf(ms: number): Promise<{ processMs: number; lagMs: number }> {
  let [processMs, lagMs] = [0, 0]
  for (const began = performance.now(); performance.now() - began < ms;) {
    const one = performance.now()
    await run('/bin/true')
    processMs = Math.max(processMs, performance.now() - one)
    const two = performance.now()
    await sleep(10)
    lagMs = Math.max(lagMs, performance.now() - two - 10)
  }
  return { processMs, lagMs }
}

async function knock(host: string, port: number): Promise<void> {
  const socket = connect({ host, port, timeout: 2_000 })
  await once(socket, 'connect', { signal: AbortSignal.timeout(2_000) })
  socket.destroy()
}

/** The same attempts from a container outside of any lease: they must work, or their failing elsewhere proves nothing. */
async function unguarded(bench: Bench, addresses: readonly string[]): Promise<{ text: string }> {
  const docker = openSocket(bench.engine.socket)
  const network = await docker.createNetwork({ Name: 'unguarded' })
  const script = addresses
    .map((address) => `nc -w 2 ${address} 80 </dev/null && echo ESCAPED ${address}`)
    .join('\n')
  const container = await docker.createContainer({
    Image: IMAGE,
    Cmd: ['sh', '-c', script],
    HostConfig: { NetworkMode: 'unguarded', Ulimits: [] },
  })
  await container.start()
  await container.wait()
  const text = (await container.logs({ stdout: true, stderr: true })).toString()
  await container.remove()
  await network.remove()
  return { text }
}
