/** A gateway that pays on chain, as a process; nodes of a provider in this one; an anvil with the real contracts. */
import { fork, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { z } from 'zod'
import type { Address } from '../../src/core/base/hex.ts'
import { readToken } from '../../src/io/chain/payouts-contract.ts'
import { testChain, type TestChain, type TestWallet } from '../../src/io/chain/local/test-chain.ts'
import { createPostgresStore } from '../../src/io/store/postgres-store.ts'
import type { Store } from '../../src/io/store/store.ts'
import { testDatabaseUrl, testId, testTenant } from '../../src/io/store/testing.ts'
import { silentLogger } from '../../src/io/telemetry/logger.ts'
import { setup as setupCli } from '../../src/programs/cli/fake-shell.ts'
import { mintSecret } from '../../src/programs/gateway/control/key-secret.ts'
import { nodeConfig } from '../../src/programs/node/config.ts'
import { createFakeEngine } from '../../src/programs/node/fake-engine.ts'
import { readIouFiles, type IouFile } from '../../src/programs/node/iou-file.ts'
import { startNode } from '../../src/programs/node/main.ts'
import { NO_LIMITS } from '../../src/io/store/store.ts'
import { hello } from './small-network.ts'

const PATIENCE_MS = 30_000
export const HOUR_S = 3_600

export type PayingNode = {
  readonly id: string
  readonly home: string
  readonly said: readonly string[]
  ious(): IouFile[]
  stop(): Promise<void>
}

export type PayingNetwork = {
  readonly chain: TestChain
  readonly store: Store
  readonly url: string
  readonly operator: TestWallet
  readonly operatorKey: string
  /** Ends it with SIGKILL; resolves when it is gone. */
  killGateway(): Promise<void>
  /** Under the same settings and port, or with others. */
  startGateway(more?: Readonly<Record<string, unknown>>): Promise<void>
  addNode(payoutAddress: Address | null): Promise<PayingNode>
  /** One answer; the node earns some thousand units for it. */
  ask(): Promise<void>
  /** `baseload …` over a node's home; gas by a stranger's key. */
  cli(
    node: PayingNode | null,
    ...args: string[]
  ): Promise<{ code: number; out: string; err: string; json: unknown }>
  units(of: Address): Promise<bigint>
  until(what: string, holds: () => boolean | Promise<boolean>): Promise<void>
}

const living = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of living) child.kill('SIGKILL')
})

/** Its operator has a thousand test dollars unless told otherwise. */
export async function payingNetwork(
  t: TestContext,
  more: Readonly<Record<string, unknown>> = {},
  operatorUnits = 1_000_000_000n,
): Promise<PayingNetwork> {
  const chain = await testChain(t)
  const folder = mkdtempSync(join(tmpdir(), 'baseload-paying-'))
  const operator = await chain.wallet('10', operatorUnits)
  const stranger = await chain.wallet('10', 100_000_000n)
  const file = (name: string, text: string) => {
    const path = join(folder, name)
    writeFileSync(path, text, { mode: 0o600 })
    return path
  }
  const databaseUrl = await testDatabaseUrl()
  const store = await createPostgresStore({ url: databaseUrl, logger: silentLogger })
  const settings = {
    home: join(folder, 'gateway'),
    databaseUrl,
    logRequests: 'off',
    settlement: 'none',
    chainRpc: [chain.url],
    chainContracts: file('contracts.json', JSON.stringify(chain.addresses)),
    chainFinality: 1,
    chainPollMs: 20,
    chainKeyFile: file('operator.key', operator.key.slice(2)),
    payoutEpochSeconds: 1,
    ...more,
  }
  const gasKey = file('gas.key', stranger.key.slice(2))
  const nodes: PayingNode[] = []
  let child: ChildProcess | null = null
  let url = ''
  const killGateway = async () => {
    const ending = child
    child = null
    if (!ending) return
    const gone = once(ending, 'exit')
    ending.kill('SIGKILL')
    await gone
  }
  const startGateway: PayingNetwork['startGateway'] = async (others = {}) => {
    const port = url === '' ? 0 : Number(new URL(url).port)
    const program = fileURLToPath(new URL('paying-gateway.ts', import.meta.url))
    const plan = JSON.stringify({ ...settings, port, ...others })
    const started = fork(program, [plan], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
    child = started
    living.add(started)
    started.once('exit', () => living.delete(started))
    const [message] = await once(started, 'message')
    url = z.object({ url: z.string() }).parse(message).url
  }
  t.after(async () => {
    await Promise.all(nodes.map((node) => node.stop()))
    await killGateway()
    await store.close()
    rmSync(folder, { recursive: true, force: true })
  })
  await startGateway()
  const account = await testTenant(store, 10n ** 13n)
  const keyOf = async (scopes: readonly ('inference' | 'operator')[]) => {
    const { secret, hash, hint } = mintSecret(randomBytes)
    const unlimited = { limits: NO_LIMITS, budgetNanoUsd: null, expiresAt: null }
    await store.createKey({
      id: testId('key'),
      account,
      name: 'e2e',
      hint,
      hash,
      scopes,
      ...unlimited,
    })
    return secret
  }
  const [key, operatorKey] = [await keyOf(['inference']), await keyOf(['operator'])]
  return {
    chain,
    store,
    get url() {
      return url
    },
    operator,
    operatorKey,
    killGateway,
    startGateway,
    until: (what, holds) => waitFor(what, holds, url),
    async addNode(payoutAddress) {
      const home = join(folder, `node-${nodes.length}`)
      const said: string[] = []
      const config = nodeConfig.parse({
        gateways: [url],
        home,
        models: [{ source: 'words.gguf', name: 'words', outputUsdPerMTok: '1234.567' }],
        leases: 'off',
        drainSeconds: 1,
        payoutAddress,
      })
      const node = await startNode(config, {
        logger: silentLogger,
        say: (line) => void said.push(line),
        engine: createFakeEngine(),
        settleMs: 500,
      })
      const paying: PayingNode = {
        id: node.id,
        home,
        said,
        ious: () => readIouFiles(join(home, 'ious')),
        stop: () => node.stop(),
      }
      nodes.push(paying)
      const linked = async () => {
        const response = await fetch(`${url}/v1/network/nodes/${node.id}`)
        return response.ok
      }
      await waitFor(`${node.id} is linked`, linked, url)
      return paying
    },
    async ask() {
      const response = await fetch(`${url}/v1/chat/completions`, {
        method: 'POST',
        headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
        body: JSON.stringify(hello),
      })
      const text = await response.text()
      if (!response.ok) throw new Error(text)
    },
    async cli(node, ...args) {
      const cli = setupCli({ BASELOAD_CHAIN_RPC: chain.url, BASELOAD_API_KEY: operatorKey })
      try {
        const home = node === null ? [] : ['--home', node.home]
        const gas = /claim|challenge/.test(args[1] ?? '') ? ['--gas-key', gasKey] : []
        const result = await cli.run(...args, ...home, ...gas, '--json')
        const [line = 'null'] = result.out.trim().split('\n')
        return { ...result, json: result.out.trim() === '' ? null : JSON.parse(line) }
      } finally {
        rmSync(cli.home, { recursive: true, force: true })
      }
    },
    async units(of) {
      const { token, payouts } = chain.addresses
      const { balanceUnits } = await readToken(chain.client, { token, owner: of, spender: payouts })
      return balanceUnits
    },
  }
}

async function waitFor(
  what: string,
  holds: () => boolean | Promise<boolean>,
  url: string,
): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS
  while (!(await holds())) {
    if (performance.now() > deadline) {
      const said = await fetch(`${url}/v1/payouts`).then((answer) => answer.text())
      throw new Error(`waited ${PATIENCE_MS} ms in vain: ${what}; the gateway says ${said}`)
    }
    await sleep(25)
  }
}
