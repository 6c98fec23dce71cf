/** `baseload up` as a person runs it: the built program, real processes, real PostgreSQL, the real model. */
import assert from 'node:assert/strict'
import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { describe, it, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { readNetworkFile } from '../../src/programs/cli/shell/network-file.ts'
import { identify } from '../../src/programs/cli/up/process-identity.ts'

const TIMEOUT = { timeout: 180_000 }

describe('baseload up', TIMEOUT, () => {
  it('runs what it prints, keeps it running, and leaves nothing behind', TIMEOUT, async (t) => {
    const { home, start, network, until } = setup(t)
    const first = await start()
    const { apiKey, url, gateway, nodes } = network()
    assert.equal(nodes.length, 2)

    await t.test('the printed curl line and openai program work', async () => {
      assert.match(await first.shell(/^ {2}curl .*$/m), /data: \[DONE\]/)
      assert.ok((await first.shell(/^ {2}node --input-type.*$/m)).length > 0)
      await until(() => first.text().split('bard-3m  node_').length >= 3, 'a line a request')
    })

    const chain = await chainOf(url, apiKey)
    await t.test('a chain of its own with test money comes along', async () => {
      assert.deepEqual([chain.chain_id, chain.test_money], [31_337, true])
      assert.match(first.text(), /local chain at .* TEST MONEY/)
      await until(() => answers(chain.rpc_url), 'the chain answers')
    })

    await t.test('a second one is told who runs', async () => {
      const { code, text } = await spawnUp(home, t).ended
      assert.equal(code, 1)
      assert.match(text, new RegExp(`already runs from .*pid ${first.pid}`))
    })

    await t.test('a killed node comes back under its name', async () => {
      const [killed] = nodes
      process.kill(killed?.pid ?? 0, 'SIGKILL')
      const back = () =>
        network().nodes.find((one) => one.id === killed?.id && one.pid !== killed.pid)
      await until(() => back() !== undefined, 'the node runs again')
    })

    await t.test('a killed gateway comes back at its address', async () => {
      process.kill(gateway.pid ?? 0, 'SIGKILL')
      await until(() => ![null, gateway.pid].includes(network().gateway.pid), 'a new gateway')
      await until(async () => (await linked(url)) === 2, 'both nodes link again')
    })

    await t.test('SIGTERM stops everything', async () => {
      const pids = allPids(network())
      process.kill(first.pid, 'SIGTERM')
      assert.equal((await first.ended).code, 0)
      assert.deepEqual(
        pids.filter((pid) => identify(pid)),
        [],
      )
      assert.equal(existsSync(join(home, 'postgres', 'data', 'postmaster.pid')), false)
      assert.deepEqual([network().nodes, network().gateway.pid], [[], null])
      assert.equal(await answers(chain.rpc_url), false, 'nor does the chain')
    })

    const second = await start()
    await t.test('the next start has the same key, address and money', async () => {
      assert.deepEqual([network().apiKey, network().url], [apiKey, url])
      const headers = { authorization: `Bearer ${apiKey}` }
      const answer = await fetch(`${url}/v1/account`, { headers })
      const { balance }: { balance: { usd: string } } = JSON.parse(await answer.text())
      assert.ok(Number(balance.usd) > 4.9 && Number(balance.usd) < 5, balance.usd)
      assert.deepEqual(await chainOf(url, apiKey), chain, 'and the same chain')
    })

    await t.test('children of a killed supervisor end, and the next start is clean', async () => {
      const pids = allPids(network()).filter((pid) => pid !== second.pid)
      process.kill(second.pid, 'SIGKILL')
      await until(() => pids.every((pid) => !identify(pid)), 'the children end')
      await until(async () => !(await answers(chain.rpc_url)), 'the chain ends')
      const third = await start()
      process.kill(network().gateway.pid ?? 0, 'SIGTERM')
      assert.equal((await third.ended).code, 0, 'a gateway that leaves takes the network down')
    })
  })
})

type ChainFacts = { chain_id: number; test_money: boolean; rpc_url: string; operator: string }

async function chainOf(url: string, apiKey: string): Promise<ChainFacts> {
  const answer = await fetch(`${url}/v1/chain`, { headers: { authorization: `Bearer ${apiKey}` } })
  assert.equal(answer.status, 200)
  return JSON.parse(await answer.text())
}

/** Whether a chain is there. */
const answers = (rpcUrl: string): Promise<boolean> =>
  fetch(rpcUrl, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'eth_chainId' }),
  }).then(
    async (answer) => (await answer.text()).includes('0x7a69'),
    () => false,
  )

const main = fileURLToPath(new URL('../../dist/src/programs/cli/main.js', import.meta.url))
const root = fileURLToPath(new URL('../..', import.meta.url))

function setup(t: TestContext) {
  const home = mkdtempSync(join(tmpdir(), 'baseload-up-'))
  t.after(() => rmSync(home, { recursive: true, force: true }))
  const network = () => {
    const found = readNetworkFile(home)
    assert.ok(found, 'network.json is there')
    return found
  }
  return {
    home,
    network,
    start: async () => {
      const up = spawnUp(home, t)
      await Promise.race([up.printed(/Ctrl-C stops everything/), up.ended])
      assert.match(up.text(), /Ctrl-C stops everything/, up.text())
      return up
    },
    until: async (holds: () => boolean | Promise<boolean>, what: string) => {
      const deadline = performance.now() + 30_000
      while (!(await holds())) {
        assert.ok(performance.now() < deadline, `${what}, within 30 s`)
        await sleep(25)
      }
    },
  }
}

function spawnUp(home: string, t: TestContext) {
  const child = spawn(process.execPath, [main, 'up', '--home', home, '--nodes', '2'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  t.after(() => child.kill('SIGTERM'))
  const lines: string[] = []
  const printed = followLines(child, lines)
  return {
    pid: child.pid ?? 0,
    text: () => lines.join('\n'),
    printed,
    ended: once(child, 'close').then(([code]) => ({ code: Number(code), text: lines.join('\n') })),
    /** Runs one printed line as it stands, in the repository's folder. */
    shell: async (line: RegExp): Promise<string> => {
      const [command = ''] = line.exec(lines.join('\n')) ?? []
      assert.notEqual(command, '', `${line} is printed`)
      const { stdout } = await promisify(execFile)('sh', ['-c', command], { cwd: root })
      return stdout
    },
  }
}

/** Gathers what the process prints; the answer resolves when a line matches. */
function followLines(child: ChildProcess, lines: string[]) {
  const readers = [child.stdout, child.stderr].flatMap((stream) =>
    stream ? [createInterface({ input: stream })] : [],
  )
  for (const reader of readers) reader.on('line', (line) => lines.push(line))
  return (wanted: RegExp) =>
    new Promise<void>((resolve) => {
      for (const reader of readers) reader.on('line', (line) => wanted.test(line) && resolve())
    })
}

async function linked(url: string): Promise<number> {
  const answer = await fetch(`${url}/v1/network`).catch(() => null)
  if (!answer?.ok) return 0
  const { nodes }: { nodes: number } = JSON.parse(await answer.text())
  return nodes
}

type Network = NonNullable<ReturnType<typeof readNetworkFile>>

const allPids = ({ gateway, nodes, supervisor }: Network): number[] =>
  [gateway.pid, supervisor.pid, ...nodes.map(({ pid }) => pid)].filter((pid) => pid !== null)
