/** The life of a lease on real Docker and real Podman: one suite, run on both. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { after, afterEach, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { openSocket } from '../../src/io/runtime/engine-socket.ts'
import { bridgeName, instanceOf, LABEL, labelFilter } from '../../src/io/runtime/names.ts'
import type { LeaseSpec, Target } from '../../src/io/runtime/runtime.ts'
import { containersUnavailable, type EngineName } from '../support/container-engines.ts'
import {
  at,
  inside,
  leaseOf,
  logsOf,
  MIB,
  openBench,
  REST,
  until,
  type Bench,
} from '../support/container-lease.ts'

const skip = containersUnavailable()
const signal = new AbortController().signal
const brief = { timeout: 30_000 }
const quick = { graceS: 0, keepVolumes: false }

for (const name of ['docker', 'podman'] satisfies EngineName[])
  describe(`a lease on ${name}`, { skip, timeout: 200_000 }, () => {
    let bench: Bench
    before(async () => (bench = await openBench(name)), { timeout: 300_000 })
    afterEach(() => bench.clear(), { timeout: 30_000 })
    after(() => bench.close(), { timeout: 60_000 })
    const run = (spec: LeaseSpec) => bench.runtime.run(spec, signal)

    it(
      'runs two services that find each other by name, each replica by its own',
      brief,
      async () => {
        const script = [
          `ip() { perl -e 'my $a = gethostbyname($ARGV[0]); print join ".", unpack "C4", $a' $1; }`,
          'echo "$(ip web-0) $(ip web-1)"',
          'printf "GET / HTTP/1.0\\r\\n\\r\\n" | nc $(ip web) 80',
          REST,
        ].join('; ')
        const web = { count: 2 }
        await run(leaseOf('pair', { web }))
        await run(leaseOf('pair', { web, client: { script } }))
        const text = await until(() => logsOf(bench, at('pair', 'client')), /hello from a lease/)
        const [first, second] = /^(10\.\S+) (10\.\S+)$/m.exec(text)?.slice(1) ?? []
        assert.ok(first !== undefined && first !== second, text)
        await bench.runtime.stop('pair', quick)
      },
    )

    it(
      'gives a service its environment, its command, and what its image has where it says nothing',
      brief,
      async () => {
        await bench.load('localhost/greeter:1', {
          Env: ['PATH=/bin', 'FROM_IMAGE=yes'],
          Entrypoint: ['echo', 'entry'],
          Cmd: ['cmd'],
        })
        const image = 'localhost/greeter:1'
        const once = { restart: 'never' as const }
        const script = 'echo "[$A] [$EMPTY] [$FROM_IMAGE]"'
        await run(
          leaseOf(
            'words',
            {
              env: { image, script, env: ['A=one two', 'EMPTY'] },
              plain: { image },
              args: { image, args: ['mine'] },
              command: { image, command: ['echo', 'replaced'] },
            },
            once,
          ),
        )
        for (const service of ['env', 'plain', 'args', 'command'])
          await bench.event('container.exited', (event) => event.service === service)
        const said = async (service: string) => (await logsOf(bench, at('words', service))).trim()
        assert.equal(await said('env'), '[one two] [] [yes]')
        assert.equal(await said('plain'), 'entry cmd')
        assert.equal(await said('args'), 'entry mine')
        assert.equal(await said('command'), 'replaced')
        await bench.runtime.stop('words', quick)
      },
    )

    it(
      'keeps a volume over a restart and over an update, exports it, and starts elsewhere from the export',
      brief,
      async () => {
        const volumes = { data: { path: '/data' } }
        const script =
          'echo "run of $V" >> /data/log; cat /data/log; test $V = 1 && exit 1; ' + REST
        const spec = (lease: string, version: string) =>
          leaseOf(lease, { db: { script, volumes, env: [`V=${version}`] } })
        await run(spec('store', '1'))
        await bench.event('container.exited', (event) => event.lease === 'store')
        await until(() => logsOf(bench, at('store', 'db')), /(run of 1\n){2}/)
        await run(spec('store', '2'))
        await until(() => logsOf(bench, at('store', 'db')), /run of 1\nrun of 2\n/)

        await bench.runtime.stop('store', { graceS: 0, keepVolumes: true })
        const volume = { ...at('store', 'db'), volume: 'data' }
        await run({
          ...spec('moved', '3'),
          restore: async (target) => {
            assert.deepEqual(target, { ...at('moved', 'db'), volume: 'data' })
            return await bench.runtime.exportVolume(volume)
          },
        })
        await until(() => logsOf(bench, at('moved', 'db')), /run of 2\nrun of 3\n/)
        await bench.runtime.stop('moved', quick)
        await run(spec('store', '4'))
        await until(() => logsOf(bench, at('store', 'db')), /run of 2\nrun of 4\n/)
        await bench.runtime.stop('store', quick)
        await assert.rejects(bench.runtime.exportVolume(volume), { code: 'not_found' })
      },
    )

    it('enforces its limits, and tells running out of memory from an exit', brief, async () => {
      const hog = `perl -e 'my @a; push @a, "x" x 1048576 while 1'`
      const show = [
        'ulimit -n',
        'grep -E "^(CapEff|NoNewPrivs|Seccomp):" /proc/self/status',
        'df -m /dev/shm | tail -n 1',
        'cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null || cat /sys/fs/cgroup/cpu.max',
        'touch /nowhere 2>&1; touch /tmp/here && echo wrote; ' + REST,
      ].join('; ')
      const shm = { path: '/dev/shm', bytes: 16 * MIB, persistent: false, class: 'ram' as const }
      await run(
        leaseOf(
          'limits',
          {
            show: { script: show, cpuMilli: 250, volumes: { shm } },
            hog: { script: hog, memoryBytes: 32 * MIB },
            seven: { script: 'exit 7' },
          },
          { restart: 'never', readOnlyRoot: ['show'] },
        ),
      )
      const exits = await Promise.all(
        ['hog', 'seven'].map((service) =>
          bench.event('container.exited', (event) => event.service === service),
        ),
      )
      assert.deepEqual(
        exits.map(({ exitCode, cause, restartInMs }) => ({ exitCode, cause, restartInMs })),
        [
          { exitCode: 137, cause: 'oom', restartInMs: null },
          { exitCode: 7, cause: 'exit', restartInMs: null },
        ],
      )
      const said = await until(() => logsOf(bench, at('limits', 'show')), /wrote/)
      assert.match(said, /CapEff:\s+00000000000004fb/)
      assert.match(said, /NoNewPrivs:\s+1/)
      assert.match(said, /Seccomp:\s+2/)
      assert.match(said, /\s16\s/, '16 MiB of shared memory')
      assert.match(said, /^25000\b/m, 'a quarter of a processor')
      assert.match(said, /Read-only file system/)
      const { memoryLimitBytes, pids } = await bench.runtime.stats(at('limits', 'show'))
      assert.equal(memoryLimitBytes, 64 * MIB)
      assert.ok(pids === 1 || pids === 2, `${pids} processes: the shell, and soon its sleep`)
      await bench.runtime.stop('limits', quick)
    })

    it('stops what writes more than it leased, in its root or in a volume', brief, async () => {
      await run(
        leaseOf('full', {
          root: { script: fill('/file'), diskBytes: 20 * MIB },
          volume: {
            script: fill('/data/file'),
            volumes: { data: { path: '/data', bytes: 20 * MIB } },
          },
          modest: {
            script: fill('/data/file'),
            volumes: { data: { path: '/data', bytes: 60 * MIB } },
          },
        }),
      )
      for (const [service, volume] of [
        ['root', null],
        ['volume', 'data'],
      ] as const) {
        const over = await bench.event('disk.exceeded', (event) => event.service === service)
        assert.equal(over.volume, volume)
        assert.ok(over.usedBytes > over.limitBytes && over.limitBytes === 20 * MIB)
        const exit = await bench.event('container.exited', (event) => event.service === service)
        assert.deepEqual([exit.cause, exit.restartInMs], ['exit', null])
      }
      const states = await bench.runtime.status('full')
      const stopped = Object.fromEntries(states.map((one) => [one.service, one.stopped]))
      assert.deepEqual(stopped, { root: 'disk', volume: 'disk', modest: null })
      await bench.runtime.stop('full', quick)
    })

    it('changes only what an update changes', brief, async () => {
      const starts = async () =>
        new Map(
          (await bench.runtime.status('change')).map((one) => [
            `${one.service}-${one.replica}`,
            one,
          ]),
        )
      await run(version('1', 500))
      const first = await starts()
      await run(version('2', 500))
      const afterEnv = await starts()
      assert.deepEqual(afterEnv.get('web-0'), first.get('web-0'))
      await until(() => logsOf(bench, at('change', 'app')), /version 2/)

      await run(version('2', 300))
      const { text } = await inside(
        bench,
        at('change', 'web'),
        'cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null || cat /sys/fs/cgroup/cpu.max',
      )
      assert.match(text, /^30000\b/)
      const kept = (await starts()).get('web-0')?.startedAt === first.get('web-0')?.startedAt
      assert.equal(kept, !bench.runtime.facts.quirks.noLiveUpdate, 'in place where the engine can')

      await run(leaseOf('change', { web: { count: 1, cpuMilli: 300 } }))
      assert.deepEqual([...(await starts()).keys()], ['web-0'])
      await bench.runtime.stop('change', quick)
    })

    it(
      'is found by an agent that was started anew, and stopped when its epoch is stale',
      brief,
      async () => {
        await run(leaseOf('mine', { web: {} }))
        await run(leaseOf('stale', { web: { volumes: { data: { path: '/data' } } } }))
        await bench.reopen()
        const found = await bench.runtime.recover(
          new Map([
            ['mine', 1],
            ['stale', 2],
          ]),
        )
        assert.deepEqual(found, {
          adopted: [{ lease: 'mine', epoch: 1 }],
          resting: [],
          stopped: [{ lease: 'stale', epoch: 1 }],
        })
        assert.equal((await bench.runtime.status('mine'))[0]?.state, 'running')
        assert.deepEqual(await bench.runtime.status('stale'), [])

        await run({ ...leaseOf('mine', { web: {} }), epoch: 2 })
        await assert.rejects(run({ ...leaseOf('mine', { web: {} }), epoch: 1 }), {
          code: 'lease_epoch_stale',
        })
        await bench.runtime.stop('mine', quick)
        await bench.runtime.removeVolumes('stale')
      },
    )

    it('starts nothing that an agent finds stopped, until it is told to', brief, async () => {
      const docker = openSocket(bench.engine.socket)
      const lease = leaseOf('rebooted', { web: { script: `echo started; ${REST}` }, other: {} })
      await run(lease)
      await bench.runtime.close()
      const filters = labelFilter({ [LABEL.lease]: 'rebooted' })
      const there = await docker.listContainers({ filters })
      assert.equal(there.length, 2)
      await Promise.all(there.map(({ Id }) => docker.getContainer(Id).stop({ t: 5 })))
      await bench.reopen()
      const found = await bench.runtime.recover(new Map([['rebooted', 1]]))
      const resting = [{ lease: 'rebooted', epoch: 1 }]
      assert.deepEqual(found, { adopted: [], resting, stopped: [] })
      // Longer than the first pause of the restart policy.
      await sleep(2_000)
      assert.deepEqual(await docker.listContainers({ filters }), [])
      await run(lease)
      const states = (await bench.runtime.status('rebooted')).map(({ state }) => state)
      assert.deepEqual(states, ['running', 'running'])
      await until(() => logsOf(bench, at('rebooted', 'web')), /started\nstarted\n/)
      await bench.runtime.stop('rebooted', quick)
    })

    it(
      'makes anew what somebody removed, and says so where its policy does not',
      brief,
      async () => {
        const docker = openSocket(bench.engine.socket)
        const removeAll = async (lease: string) => {
          const filters = labelFilter({ [LABEL.lease]: lease })
          const there = await docker.listContainers({ all: true, filters })
          await Promise.all(there.map(({ Id }) => docker.getContainer(Id).remove({ force: true })))
          return there.length
        }
        const statesOf = async (lease: string) =>
          (await bench.runtime.status(lease)).map(({ replica, state, stopped }) => [
            replica,
            state,
            stopped,
          ])
        const volumes = { data: { path: '/data' } }
        const script = `echo run >>/data/log; cat /data/log; ${REST}`
        await run(leaseOf('taken', { web: { script, volumes, count: 2 } }))
        await until(() => logsOf(bench, at('taken', 'web', 1)), /run\n/)
        assert.equal(await removeAll('taken'), 2)
        for (const replica of [0, 1]) {
          const isIts = (event: Target) => event.lease === 'taken' && event.replica === replica
          const exit = await bench.event('container.exited', isIts)
          assert.deepEqual([exit.cause, exit.restartInMs], ['removed', 1000])
          await until(() => logsOf(bench, at('taken', 'web', replica)).catch(String), /(run\n){2}/)
        }
        // A container writes before the engine has told us that it runs.
        const inOrder = async () =>
          JSON.stringify((await statesOf('taken')).toSorted(([a], [b]) => Number(a) - Number(b)))
        await until(inOrder, /^\[\[0,"running",null\],\[1,"running",null\]\]$/)

        const once = { restart: 'never' as const }
        await run(leaseOf('once', { web: {} }, once))
        await removeAll('once')
        await bench.event('container.exited', ({ lease }) => lease === 'once')
        assert.deepEqual(await statesOf('once'), [[0, 'exited', 'exit']])
        await run(leaseOf('once', { web: { env: ['A=2'] } }, once))
        assert.deepEqual(await statesOf('once'), [[0, 'running', null]])
        await removeAll('once')
        await bench.runtime.stop('once', quick)
        assert.deepEqual(await statesOf('once'), [])
        await bench.runtime.stop('taken', quick)
      },
    )

    it('leaves nothing behind', brief, async () => {
      const volumes = { data: { path: '/data' } }
      await run(leaseOf('gone', { web: { volumes }, other: { script: REST } }))
      const instance = instanceOf(`test-${process.pid}`)
      const bridge = bridgeName(instance, 'gone')
      assert.ok(readdirSync('/sys/class/net').includes(bridge), 'there is something to remove')
      await bench.runtime.stop('gone', quick)

      const docker = openSocket(bench.engine.socket)
      const [containers, networks, { Volumes }] = await Promise.all([
        docker.listContainers({ all: true }),
        docker.listNetworks(),
        docker.listVolumes(),
      ])
      assert.deepEqual(containers, [])
      assert.deepEqual(Volumes ?? [], [])
      const builtIn = ['bridge', 'host', 'none', 'podman']
      assert.deepEqual(
        networks.map(({ Name }) => Name).filter((one) => !builtIn.includes(one)),
        [],
      )
      assert.deepEqual(
        readdirSync('/sys/class/net').filter((one) => one.startsWith(bridge.slice(0, 6))),
        [],
      )
      for (const command of ['iptables-save', 'ip6tables-save'])
        assert.doesNotMatch(
          execFileSync(command, { encoding: 'utf8', stdio: 'pipe' }),
          new RegExp(`BASELOAD-${instance}|${bridge}`),
        )
    })
  })

/** Writes 40 MiB. */
const fill = (path: string) => `dd if=/dev/zero of=${path} bs=1M count=40; ${REST}`

const version = (one: string, cpuMilli: number) =>
  leaseOf('change', {
    web: { count: 2, cpuMilli },
    app: { script: 'echo "version $V"; ' + REST, env: [`V=${one}`], cpuMilli },
  })
