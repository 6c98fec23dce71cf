/**
 * What hostile traffic is thrown at: the built gateway as a process of its own, whose memory can be seen, an
 * honest node with words that are foreseen and a river of text, and a tenant whose requests must all succeed.
 */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { Engine } from '../../src/io/engine/engine.ts'
import { createPostgresStore } from '../../src/io/store/postgres-store.ts'
import { NO_LIMITS } from '../../src/io/store/store.ts'
import { testDatabaseUrl, testId, testTenant } from '../../src/io/store/testing.ts'
import { silentLogger } from '../../src/io/telemetry/logger.ts'
import { mintSecret } from '../../src/programs/gateway/control/key-secret.ts'
import { nodeConfig } from '../../src/programs/node/config.ts'
import { createFakeEngine, fakeModel } from '../../src/programs/node/fake-engine.ts'
import { startNode } from '../../src/programs/node/main.ts'
import { freePort, gatewayProgram } from './program.ts'
import { hello, words } from './small-network.ts'
import { memoryMiB } from './memory.ts'
import type { Occasion } from './occasion.ts'

/** A model that says more than the kernel's buffers between the gateway and a tenant hold: some megabytes. */
export const RIVER = {
  model: 'river',
  slots: 512,
  /** Tokens that come at once. */
  wave: 64,
  ask: {
    model: 'river',
    messages: [{ role: 'user', content: 'flow' }],
    max_tokens: 40_000,
  },
}

export type HostileSite = {
  readonly port: number
  readonly url: string
  /** Of the hostile tenant. */
  readonly key: string
  memoryMiB(): number
  /** The most it ever was. */
  peakMiB(): number
  /** Good requests, one every 50 ms, until stopped. */
  trickle(): { stop(): Promise<Trickle> }
  /** The gateway is the same process, serves, and wrote nothing of a failure. */
  healthy(): Promise<void>
}

export type Trickle = {
  readonly n: number
  readonly medianMs: number
  readonly slowestMs: number
  readonly failures: readonly string[]
}

export async function hostileSite(t: Occasion): Promise<HostileSite> {
  const folder = mkdtempSync(join(tmpdir(), 'baseload-hostile-'))
  const databaseUrl = await testDatabaseUrl()
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const program = gatewayProgram({
    name: 'gateway',
    home: join(folder, 'gateway'),
    port,
    databaseUrl,
  })
  await program.start()
  const pid = program.pid
  assert.ok(pid !== null)
  const store = await createPostgresStore({ url: databaseUrl, logger: silentLogger })
  const newKey = async () => {
    const { secret, hash, hint } = mintSecret(randomBytes)
    const account = await testTenant(store, 5_000_000_000n)
    const unlimited = { limits: NO_LIMITS, budgetNanoUsd: null, expiresAt: null }
    const scopes = ['inference', 'account', 'keys'] as const
    await store.createKey({
      id: testId('key'),
      account,
      name: 'e2e',
      hash,
      hint,
      scopes,
      ...unlimited,
    })
    return secret
  }
  const nodes = await Promise.all(
    [createFakeEngine(), riverEngine()].map((engine, i) =>
      startNode(
        nodeConfig.parse({
          gateways: [url],
          home: join(folder, `node-${i}`),
          models: engine.models().map(({ model }) => ({ name: model, source: 'none.gguf' })),
          drainSeconds: 0,
        }),
        { logger: silentLogger, say: () => {}, engine, settleMs: 500 },
      ),
    ),
  )
  t.after(async () => {
    await Promise.all(nodes.map((node) => node.stop()))
    await program.kill('SIGKILL')
    await store.close()
    rmSync(folder, { recursive: true, force: true })
  })
  const [goodKey, key] = [await newKey(), await newKey()]
  while (!(await modelsAt(url, goodKey)).includes(RIVER.model)) await pause(50)
  return {
    port,
    url,
    key,
    memoryMiB: () => memoryMiB(pid, 'VmRSS'),
    peakMiB: () => memoryMiB(pid, 'VmHWM'),
    trickle: () => startTrickle(url, goodKey),
    async healthy() {
      assert.equal(program.pid, pid, program.said)
      assert.equal((await fetch(`${url}/readyz`)).status, 200)
      assert.deepEqual(await goodRequest(url, goodKey, 0), null)
      const metrics = await (await fetch(`${url}/metrics`)).text()
      assert.doesNotMatch(metrics, /^baseload_requests_total\{.*status="5/m)
      assert.doesNotMatch(program.said, /"level":"?(error|fatal|50|60)/)
    },
  }
}

async function modelsAt(url: string, key: string): Promise<string> {
  return (await fetch(`${url}/v1/models`, { headers: { authorization: `Bearer ${key}` } })).text()
}

function startTrickle(url: string, key: string): { stop(): Promise<Trickle> } {
  const times: number[] = []
  const failures: string[] = []
  const running: Promise<void>[] = []
  const timer = setInterval(() => running.push(one(running.length)), 50)
  const one = async (i: number): Promise<void> => {
    const begun = performance.now()
    const failure = await goodRequest(url, key, i).catch((error: unknown) => String(error))
    times.push(Math.round(performance.now() - begun))
    if (failure !== null) failures.push(failure)
  }
  return {
    async stop() {
      clearInterval(timer)
      await Promise.all(running)
      const sorted = times.toSorted((a, b) => a - b)
      const medianMs = sorted[Math.floor(sorted.length / 2)] ?? 0
      return { n: sorted.length, medianMs, slowestMs: sorted.at(-1) ?? 0, failures }
    },
  }
}

/** Every other one streams. Null when the answer is right. */
async function goodRequest(url: string, key: string, i: number): Promise<string | null> {
  const stream = i % 2 === 1
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ ...hello, stream }),
  })
  const text = await response.text()
  const said = [...text.matchAll(/"content":"([^"]*)"/g)].map(([, word]) => word).join('')
  return response.status === 200 && said === words()
    ? null
    : `${response.status} ${text.slice(-500)}`
}

function riverEngine(): Engine {
  const { model, slots, wave } = RIVER
  let running = 0
  return {
    models: () => [{ ...fakeModel, model, slots, contextTokens: 1_000_000 }],
    load: () => ({ free: slots - running, queued: 0 }),
    async *generate({ maxTokens }, signal) {
      running += 1
      try {
        let given = 0
        for (; given + wave <= maxTokens && !signal.aborted; given += wave)
          yield Array.from({ length: wave }, (_, i) => ({ id: i, text: ' drop', logprob: '' }))
        const finish = signal.aborted ? 'cancelled' : 'length'
        return { finish, inputTokens: 1, outputTokens: given }
      } finally {
        running -= 1
      }
    },
    embed: () => Promise.reject(new Error('a river has no vectors')),
    close: () => Promise.resolve(),
  }
}
