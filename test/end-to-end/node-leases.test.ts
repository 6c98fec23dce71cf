/** A node leases out containers of a real Docker and a real Podman: asked, run, reached, restarted, moved and stopped over a real link. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { after, before, describe, it, type TestContext } from 'node:test'
import { Fault } from '../../src/core/base/refusal.ts'
import type { Group } from '../../src/core/protocol/group.ts'
import type { LeaseReport } from '../../src/core/protocol/lease-control.ts'
import { leaseText, type Lease } from '../../src/core/protocol/lease.ts'
import {
  encodeExecFrame,
  EXEC_CHANNEL,
  ExecDecoder,
  type TunnelPurpose,
} from '../../src/core/protocol/tunnel.ts'
import { sha256Hex } from '../../src/io/keys/identity.ts'
import type { NodeLink } from '../../src/io/link/node-link.ts'
import { Journal, startGateway, type TestGateway } from '../../src/io/link/test-kit.ts'
import { silentLogger } from '../../src/io/telemetry/logger.ts'
import { nodeConfig } from '../../src/programs/node/config.ts'
import { createFakeEngine } from '../../src/programs/node/fake-engine.ts'
import { startNode } from '../../src/programs/node/main.ts'
import { canonicalJson } from '../../src/core/base/canonical-json.ts'
import { containersUnavailable, type EngineName } from '../support/container-engines.ts'
import { leaseOf, MIB, openBench, REST, type Bench } from '../support/container-lease.ts'

const skip = containersUnavailable()
const brief = { timeout: 60_000 }

for (const name of ['docker', 'podman'] satisfies EngineName[])
  describe(`a node with a real ${name}`, { skip, timeout: 200_000 }, () => {
    let bench: Bench
    before(async () => (bench = await openBench(name)), { timeout: 300_000 })
    after(() => bench.close(), { timeout: 60_000 })

    it('runs a lease, and lets in what comes through tunnels', brief, async (t) => {
      const { lease, open } = await setup(t, bench)
      const at = await lease('lease-reach', 'web', {})
      const page = await open({ kind: 'tcp', ...at, port: 80 })
      page.end('GET / HTTP/1.0\r\n\r\n')
      assert.match((await bytesOf(page)).toString(), /200 OK[^]*hello from a lease/)

      const command = ['sh', '-c', 'read word; echo "got $word"; echo bad >&2; exit 3']
      const shell = await open({
        kind: 'exec',
        ...at,
        command,
        stdin: true,
        terminal: null,
        session: null,
      })
      shell.write(encodeExecFrame(EXEC_CHANNEL.STDIN, Buffer.from('this\n')))
      assert.deepEqual(streamsOf(await bytesOf(shell)), {
        out: 'got this\n',
        err: 'bad\n',
        exit: '{"code":3,"reason":null}',
      })
    })

    it('ends a command whose tunnel breaks off', brief, async (t) => {
      const { lease, open } = await setup(t, bench)
      const at = await lease('lease-hangup', 'web', {})
      const command = ['sh', '-c', 'echo here; sleep 4321']
      const shell = await open({
        kind: 'exec',
        ...at,
        command,
        stdin: true,
        terminal: null,
        session: null,
      })
      await new Promise((resolve) => shell.once('data', resolve))
      const sleeping = async (): Promise<boolean> => {
        const look = ['sh', '-c', 'ps | grep -c "[s]leep 4321"']
        const list = await open({
          kind: 'exec',
          ...at,
          command: look,
          stdin: false,
          terminal: null,
          session: null,
        })
        return streamsOf(await bytesOf(list)).out.trim() !== '0'
      }
      assert.equal(await sleeping(), true)
      shell.destroy()
      while (await sleeping());
    })

    it(
      'goes on over a restart of its agent, and stops what is no longer its own',
      brief,
      async (t) => {
        const { lease, open, restart, gateway, reported } = await setup(t, bench)
        const at = await lease('lease-stay', 'web', {
          script: `cat /proc/sys/kernel/random/uuid >/www/born; httpd -p 80 -h /www; ${REST}`,
        })
        const born = async () => {
          const page = await open({ kind: 'tcp', ...at, port: 80 })
          page.end('GET /born HTTP/1.0\r\n\r\n')
          return /\r\n\r\n(\S+)/.exec((await bytesOf(page)).toString())?.[1]
        }
        const first = await born()
        assert.match(first ?? '', /^[0-9a-f-]{36}$/)
        gateway.events.all.length = 0
        const link = await restart()
        await reported('lease-stay', (one) => one.kind === 'status' && one.phase === 'running')
        assert.equal(await born(), first)
        link.lease({ kind: 'keep', leases: [] })
        await reported('lease-stay', (one) => one.kind === 'stopped')
      },
    )

    it(
      'takes a snapshot, and has it in the volume before the next owner starts',
      brief,
      async (t) => {
        const { lease, open } = await setup(t, bench)
        const volumes = { data: { path: '/data', class: 'default' as const } }
        const write = `echo precious >/data/file; httpd -p 80 -h /www; ${REST}`
        const first = await lease('lease-from', 'web', { volumes, script: write })
        const snapshot = await bytesOf(await open({ kind: 'snapshot', ...first, volume: 'data' }))
        const show = `cp /data/file /www/file; httpd -p 80 -h /www; ${REST}`
        const second = await lease('lease-to', 'web', { volumes, script: show }, async (to) => {
          const stream = await open({ kind: 'restore', ...to, volume: 'data' })
          stream.end(snapshot)
          await bytesOf(stream)
        })
        const page = await open({ kind: 'tcp', ...second, port: 80 })
        page.end('GET /file HTTP/1.0\r\n\r\n')
        assert.match((await bytesOf(page)).toString(), /precious/)
      },
    )
  })

type At = {
  readonly lease: string
  readonly epoch: number
  readonly service: string
  readonly replica: number
}

async function setup(t: TestContext, bench: Bench) {
  const gateway = await startGateway()
  const home = mkdtempSync(join(tmpdir(), 'baseload-node-'))
  const said = new Journal<string>()
  const config = nodeConfig.parse({
    gateways: [gateway.url],
    home,
    models: [{ source: 'words.gguf' }],
    runtimeSocket: bench.engine.socket,
  })
  const start = () =>
    startNode(config, {
      logger: silentLogger,
      say: (line) => said.add(line),
      engine: createFakeEngine(),
    })
  let node = await start()
  t.after(async () => {
    const link = gateway.server.links().get(node.id)
    link?.lease({ kind: 'keep', leases: [] })
    await node.stop()
    await gateway.close()
    rmSync(home, { recursive: true, force: true })
  })
  const reported = async (lease: string, fits: (report: LeaseReport) => boolean) => {
    const { detail } = await gateway.events.find(
      ({ kind, detail: report }) =>
        kind === 'leaseReport' &&
        isReport(report) &&
        'lease' in report &&
        report.lease === lease &&
        fits(report),
    )
    return detail
  }
  const linked = () => offering(gateway, node.id)
  await linked()
  return {
    gateway,
    reported,
    restart: async (): Promise<NodeLink> => {
      await node.drain()
      node = await start()
      return await linked()
    },
    /** A service that has just started may not listen yet. */
    open: async (purpose: TunnelPurpose): Promise<Duplex> => {
      for (;;) {
        try {
          const stream = await (await linked()).openTunnel(purpose)
          return stream.on('error', () => {})
        } catch (error) {
          if (!(error instanceof Fault) || error.code !== 'port_refused') throw error
        }
      }
    },
    /** As a gateway does it; `between` acceptance and start. */
    lease: async (
      lease: string,
      service: string,
      plan: Parameters<typeof leaseOf>[1][string],
      between: (at: At) => Promise<void> = async () => {},
    ): Promise<At> => {
      const { manifest, units } = leaseOf(lease, {
        [service]: { memoryBytes: 32 * MIB, cpuMilli: 100, ...plan },
      })
      const maxRate = '1000000000000000'
      const group: Group = {
        name: 'test',
        attributes: {},
        signedBy: { anyOf: [], allOf: [] },
        units: units.map((unit) => ({ ...unit, maxRate })),
        minNoticeS: null,
      }
      const link = await linked()
      const ref = { lease, epoch: 1 }
      link.lease({ kind: 'ask', ...ref, group, terms: termsOf(group, lease, link, gateway) })
      const answer = await reported(lease, ({ kind }) => kind === 'accepted' || kind === 'refused')
      assert.ok(isReport(answer) && answer.kind === 'accepted', JSON.stringify(answer))
      const at = { ...ref, service, replica: 0 }
      await between(at)
      link.lease({ kind: 'run', ...ref, group, manifest, secrets: null })
      const state = await reported(
        lease,
        (one) => one.kind === 'status' && /running|failed/.test(one.phase),
      )
      assert.ok(
        isReport(state) && state.kind === 'status' && state.phase === 'running',
        JSON.stringify(state),
      )
      return at
    },
  }
}

function termsOf(group: Group, lease: string, link: NodeLink, gateway: TestGateway): string {
  const terms: Lease = {
    v: 1,
    id: lease,
    epoch: 1,
    deployment: 'dep_1',
    tenant: 'acct_1',
    node: link.node,
    gateway: gateway.identity.id,
    groupHash: sha256Hex(canonicalJson(group)),
    units: group.units.map(({ id, maxRate }) => ({ unit: id, gpu: null, rate: maxRate })),
    rate: '1000000000000000',
    noticeS: 0,
    issuedAtMs: Date.now(),
    acceptByMs: Date.now() + 60_000,
  }
  return leaseText(terms)
}

async function offering(gateway: TestGateway, node: string): Promise<NodeLink> {
  const link = await gateway.linked(node)
  if (link.offer.leases === null)
    await gateway.events.find(({ kind, link: one }) => kind === 'offerChanged' && one === link)
  return link
}

const isReport = (value: unknown): value is LeaseReport =>
  typeof value === 'object' && value !== null && 'lease' in value && 'kind' in value

function bytesOf(stream: Duplex): Promise<Buffer> {
  const chunks: Buffer[] = []
  return new Promise((resolve, reject) => {
    stream.on('data', (chunk: Buffer) => chunks.push(chunk))
    stream.on('end', () => resolve(Buffer.concat(chunks)))
    stream.on('error', reject)
  })
}

function streamsOf(bytes: Buffer): { out: string; err: string; exit: string } {
  const streams = { out: '', err: '', exit: '' }
  const names = {
    [EXEC_CHANNEL.STDOUT]: 'out',
    [EXEC_CHANNEL.STDERR]: 'err',
    [EXEC_CHANNEL.EXIT]: 'exit',
  } as const
  const decoder = new ExecDecoder((channel, payload) => {
    if (
      channel === EXEC_CHANNEL.STDOUT ||
      channel === EXEC_CHANNEL.STDERR ||
      channel === EXEC_CHANNEL.EXIT
    )
      streams[names[channel]] += Buffer.from(payload).toString()
  })
  assert.equal(decoder.push(bytes), null)
  return streams
}
