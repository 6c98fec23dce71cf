/** What a tenant does with a running lease, on real Docker and real Podman: connect, shell, logs, files, statistics. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { after, afterEach, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Fault } from '../../src/core/base/refusal.ts'
import { openSocket } from '../../src/io/runtime/engine-socket.ts'
import type { LeaseSpec, PullProgress } from '../../src/io/runtime/runtime.ts'
import { containersUnavailable, type EngineName } from '../support/container-engines.ts'
import {
  at,
  inside,
  leaseOf,
  logsOf,
  MIB,
  openBench,
  REST,
  textOf,
  until,
  type Bench,
} from '../support/container-lease.ts'
import { startRegistry } from '../support/container-registry.ts'

const skip = containersUnavailable()
const brief = { timeout: 30_000 }
const signal = new AbortController().signal

for (const name of ['docker', 'podman'] satisfies EngineName[])
  describe(`a running lease on ${name}`, { skip, timeout: 200_000 }, () => {
    let bench: Bench
    let cdi: string
    before(
      async () => {
        cdi = await mkdtemp(join(tmpdir(), 'baseload-cdi-'))
        bench = await openBench(name, { limits: { logBytes: 64 * 1024 }, cdiFolders: [cdi] })
      },
      { timeout: 300_000 },
    )
    afterEach(() => bench.clear(), { timeout: 30_000 })
    after(() => Promise.all([bench.close(), rm(cdi, { recursive: true })]), { timeout: 60_000 })
    const start = (spec: LeaseSpec) => bench.runtime.run(spec, signal)

    it(
      'is reached at ports that nothing publishes, TCP and UDP, its replicas in turn',
      brief,
      async () => {
        const script = `echoes 7 & ${REST}`
        await start(leaseOf('echo', { web: { script, count: 2 } }))
        const to = { lease: 'echo', service: 'web', port: 7 }
        const answers = await Promise.all(
          [1, 2].map((number) => talk(bench, to, `hello ${number}`)),
        )
        assert.deepEqual(answers.map((answer) => answer.slice(0, 5)).toSorted(), ['web-0', 'web-1'])
        assert.equal(await talk(bench, { ...to, replica: 1 }, 'you'), 'web-1: you\n')

        const datagrams = await bench.runtime.datagrams(to)
        datagrams.send('ping')
        const [answer] = await once(datagrams, 'message')
        datagrams.close()
        assert.equal(String(answer), 'ping')

        await assert.rejects(bench.runtime.dial({ ...to, port: 8 }), {
          code: 'port_unreachable',
          retryable: true,
        })
        await assert.rejects(bench.runtime.dial({ ...to, service: 'none' }), { code: 'not_found' })
      },
    )

    it('gives a shell with a terminal: typed input, its size, its exit code', brief, async () => {
      await start(leaseOf('shell', { web: {} }))
      const terminal = { columns: 90, rows: 30 }
      const shell = await bench.runtime.exec(at('shell', 'web'), { command: ['sh'], terminal })
      let said = ''
      const end = (async () => {
        for await (const { data } of shell.output) said += data.toString()
      })()
      shell.stdin.write('stty size; tty\n')
      await until(async () => said, /30 90\s+\/dev\/pts\/\d+/)
      await shell.resize({ columns: 111, rows: 33 })
      shell.stdin.write('stty size; exit 5\n')
      assert.equal(await shell.exitCode, 5)
      await end
      assert.match(said, /33 111/)
    })

    it(
      'runs commands without a terminal: both streams, the end of input, signals',
      brief,
      async () => {
        await start(leaseOf('exec', { web: {} }))
        const cat = await bench.runtime.exec(at('exec', 'web'), {
          command: ['wc', '-c'],
          terminal: null,
        })
        const large = Buffer.alloc(3 * MIB, 'x')
        cat.stdin.end(large)
        assert.equal((await textOf(cat.output)).trim(), String(large.length))
        assert.equal(await cat.exitCode, 0)

        const both = await bench.runtime.exec(at('exec', 'web'), {
          command: ['sh', '-c', 'echo out; echo err >&2; echo $WORD'],
          terminal: null,
          env: ['WORD=given'],
        })
        const pieces: Record<string, string> = { stdout: '', stderr: '' }
        for await (const { stream, data } of both.output) pieces[stream] += data.toString()
        assert.deepEqual(pieces, { stdout: 'out\ngiven\n', stderr: 'err\n' })

        const sleeper = await bench.runtime.exec(at('exec', 'web'), {
          command: ['sleep', '100'],
          terminal: null,
        })
        const end = textOf(sleeper.output)
        await sleeper.signal('SIGTERM')
        await end
        assert.equal(await sleeper.exitCode, 143)
      },
    )

    it(
      'keeps logs after an exit, up to their limit, and follows them over restarts',
      brief,
      async () => {
        const script = 'echo "start$(cat /n 2>/dev/null)"; echo -n x >> /n; echo bad >&2; exit 1'
        const noise =
          'i=0; while [ $i -lt 4000 ]; do echo "line $i of noise that fills the log"; i=$((i+1)); done; echo last'
        await start(leaseOf('logs', { crash: { script } }))
        await start(leaseOf('noise', { noise: { script: noise } }, { restart: 'never' }))
        const stop = new AbortController()
        const seen: string[] = []
        for await (const { stream, data } of bench.runtime.logs(
          at('logs', 'crash'),
          { follow: true },
          stop.signal,
        )) {
          seen.push(`${stream}: ${data.toString().trim()}`)
          if (seen.length === 6) stop.abort()
        }
        // The streams are two pipes: only the order within each is sure.
        assert.deepEqual(seen.toSorted(), [
          'stderr: bad',
          'stderr: bad',
          'stderr: bad',
          'stdout: start',
          'stdout: startx',
          'stdout: startxx',
        ])

        await bench.event('container.exited', (event) => event.service === 'noise')
        const kept = await logsOf(bench, at('noise', 'noise'))
        assert.match(kept, /last\n$/)
        assert.ok(
          kept.length < 80_000 && kept.length > 100,
          `${kept.length} of about 140,000 bytes`,
        )
        const tail = bench.runtime.logs(at('noise', 'noise'), { tail: 2, timestamps: true }, signal)
        assert.match(await textOf(tail), /^\S+ line 3999 .*\n\d{4}-\d\d-\d\dT\S+ last\n$/)
        const future = bench.runtime.logs(
          at('noise', 'noise'),
          { sinceMs: Date.now() + 60_000 },
          signal,
        )
        assert.equal(await textOf(future), '')
      },
    )

    it('takes and gives files as tar streams', brief, async () => {
      await start(leaseOf('files', { web: {} }))
      await inside(
        bench,
        at('files', 'web'),
        'mkdir /a /b; echo one > /a/file; ln -s /etc/passwd /a/link',
      )
      const tar = await bench.runtime.copyOut(at('files', 'web'), '/a')
      await bench.runtime.copyIn(at('files', 'web'), '/b', tar)
      const { text } = await inside(bench, at('files', 'web'), 'cat /b/a/file; readlink /b/a/link')
      assert.equal(text, 'one\n/etc/passwd\n')
      await assert.rejects(bench.runtime.copyOut(at('files', 'web'), '/none'), {
        code: 'not_found',
      })
    })

    it("runs its image's health check, and sends connections to the healthy", brief, async () => {
      const image = 'localhost/checked:1'
      await bench.load(image, {
        Cmd: ['sh', '-c', `touch /healthy; echoes 7 & ${REST}`],
        Healthcheck: { Test: ['CMD', 'test', '-e', '/healthy'], Interval: 3e8, Retries: 1 },
      })
      await start(leaseOf('health', { web: { image, count: 2 } }))
      for (const replica of [0, 1])
        await bench.event('container.health', (event) => event.healthy && event.replica === replica)
      await inside(bench, at('health', 'web', 1), 'rm /healthy')
      await bench.event('container.health', (event) => !event.healthy && event.replica === 1)
      const to = { lease: 'health', service: 'web', port: 7 }
      for (const _ of [1, 2, 3]) assert.equal(await talk(bench, to, 'you'), 'web-0: you\n')
    })

    it('pulls images with credentials, and says what a registry refuses', brief, async () => {
      const registry = await startRegistry(
        await bench.archive('shop:1', { Cmd: ['echo', 'pulled'] }),
        {
          username: 'tenant',
          password: 'secret',
        },
      )
      try {
        const image = `${registry.host}/shop:1`
        const credentials = { host: registry.host, username: 'tenant', password: 'secret' }
        const spec = leaseOf('pull', { job: { image, credentials } }, { restart: 'never' })
        await assert.rejects(start(leaseOf('pull', { job: { image } })), {
          code: 'image_unavailable',
        })
        assert.equal(await bench.runtime.hasImage(image), false)
        await start(spec)
        await until(() => logsOf(bench, at('pull', 'job')), /pulled/)
        assert.ok(bench.events.some(({ type }) => type === 'image.progress'))
        const progress: PullProgress[] = []
        for await (const one of bench.runtime.pull(image, credentials, signal)) progress.push(one)
        assert.ok(progress.length > 0)
      } finally {
        await registry.close()
      }
    })

    it(
      "keeps an image that a tenant's password brought from who has none, under any name, over a restart",
      brief,
      async () => {
        const login = { username: 'tenant', password: 'secret' }
        const registry = await startRegistry(
          await bench.archive('vault:1', { Cmd: ['echo', 'private'] }),
          login,
        )
        const image = `${registry.host}/vault:1`
        const credentials = { host: registry.host, ...login }
        try {
          await start(job('owner', { image, credentials }))
          await until(() => logsOf(bench, at('owner', 'job')), /private/)
          const { Id } = await openSocket(bench.engine.socket).getImage(image).inspect()
          await bench.reopen()
          await bench.runtime.recover(new Map([['owner', 1]]))
          assert.equal(await bench.runtime.hasImage(image), true)
          const refused = { code: 'image_unavailable' }
          await assert.rejects(start(job('thief', { image })), {
            ...refused,
            message: /cannot be had: .*(unauthorized|no basic auth|authentication required)/i,
          })
          const wrong = { ...credentials, password: 'guessed' }
          await assert.rejects(start(job('thief', { image, credentials: wrong })), refused)
          await assert.rejects(start(job('thief', { image: Id })), refused)
          await assert.rejects(start(job('thief', { image: Id.replace(/^sha256:/, '') })), refused)
          assert.deepEqual(await bench.runtime.status('thief'), [])

          await start(job('friend', { image, credentials }))
          await until(() => logsOf(bench, at('friend', 'job')), /private/)
        } finally {
          await registry.close()
        }
        // The owner's containers were made from it: no registry is needed to go on.
        await start(job('owner', { image, credentials }))
        await assert.rejects(start(job('late', { image, credentials })), {
          code: 'image_unavailable',
        })
      },
    )

    it('gives GPUs by CDI: variables, files and devices', brief, async () => {
      await writeFile(join(cdi, 'library'), 'a driver\n')
      const library = { hostPath: join(cdi, 'library'), containerPath: '/driver', options: ['ro'] }
      const spec = {
        cdiVersion: '0.5.0',
        kind: 'baseload.test/gpu',
        containerEdits: { mounts: [library] },
        devices: ['0', '1'].map((one) => ({
          name: one,
          containerEdits: {
            env: [`GPU_${one}=yes`],
            deviceNodes: [{ path: `/dev/gpu${one}`, hostPath: '/dev/zero' }],
          },
        })),
      }
      await writeFile(join(cdi, 'test.json'), JSON.stringify(spec))
      const script = `echo "[$GPU_0] [$GPU_1]"; cat /driver; head -c 3 /dev/gpu1 | od -An -tx1; ls /dev/gpu0 2>&1; ${REST}`
      const web = { script, gpus: 1 }
      const gpus = { web: [['baseload.test/gpu=1']] }
      await start(leaseOf('gpu', { web }, { gpus }))
      const said = await until(() => logsOf(bench, at('gpu', 'web')), /gpu0/)
      assert.match(said, /\[\] \[yes\]\na driver\n 00 00 00\n/)
      assert.match(said, /gpu0: No such file/)
      await assert.rejects(start(leaseOf('gpu', { web })), { code: 'lease_invalid' })
      const unknown = { web: [['baseload.test/gpu=9']] }
      await assert.rejects(
        start(leaseOf('gpu', { web: { ...web, env: ['A=2'] } }, { gpus: unknown })),
        {
          code: 'gpu_unknown',
        },
      )
    })
  })

const job = (lease: string, plan: Parameters<typeof leaseOf>[1][string]) =>
  leaseOf(lease, { job: plan }, { restart: 'never' })

type Destination = Parameters<Bench['runtime']['dial']>[0]

/** Says a line to a port, as soon as somebody listens there, and reads the answer to its end. */
async function talk(bench: Bench, to: Destination, line: string): Promise<string> {
  const socket = await dialSoon(bench, to)
  socket.end(`${line}\n`)
  let answer = ''
  for await (const chunk of socket) answer += chunk.toString()
  return answer
}

async function dialSoon(bench: Bench, to: Destination): Promise<Duplex> {
  for (;;) {
    try {
      return await bench.runtime.dial(to)
    } catch (thrown) {
      if (!(thrown instanceof Fault && thrown.retryable)) throw thrown
      await sleep(50)
    }
  }
}
