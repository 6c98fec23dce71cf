/** A node that is told of one gateway finds the others of its region over the same store, and serves through each. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { silentLogger } from '../../src/io/telemetry/logger.ts'
import { testDatabaseUrl } from '../../src/io/store/testing.ts'
import { gatewayConfig } from '../../src/programs/gateway/config.ts'
import { startGateway } from '../../src/programs/gateway/main.ts'
import { nodeConfig } from '../../src/programs/node/config.ts'
import { createFakeEngine } from '../../src/programs/node/fake-engine.ts'
import { startNode } from '../../src/programs/node/main.ts'
import { freePort } from '../support/program.ts'

const LIMIT = { timeout: 60_000 }

describe('gateways of one region', LIMIT, () => {
  it('are found by a node that was told of one of them', LIMIT, async (t) => {
    const { gateways, elsewhere, join: joinFirst } = await setup(t)
    await joinFirst({ region: 'eu-de' })
    await until(async () =>
      (await Promise.all(gateways.map(nodesAt))).every((count) => count === 1),
    )
    assert.equal(await nodesAt(elsewhere), 0, 'another region is left alone')
  })

  it('are left alone by a node that should know only what its provider named', LIMIT, async (t) => {
    const { gateways, join: joinFirst } = await setup(t)
    await joinFirst({ gatewayLinks: 0 })
    const [first = '', ...others] = gateways
    await until(async () => (await nodesAt(first)) === 1)
    await sleep(6_000)
    assert.deepEqual(await Promise.all(others.map(nodesAt)), [0, 0])
  })
})

async function setup(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), 'baseload-region-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const databaseUrl = await testDatabaseUrl()
  const gateway = async (region: string): Promise<string> => {
    const port = await freePort()
    const home = join(folder, `gateway-${port}`)
    const publicUrl = `http://127.0.0.1:${port}`
    const config = gatewayConfig.parse({ home, databaseUrl, port, publicUrl, region })
    const running = await startGateway(config, { logger: silentLogger, say: () => {} })
    t.after(() => running.close())
    return running.url
  }
  const gateways = [await gateway('eu'), await gateway('eu'), await gateway('eu')]
  return {
    gateways,
    elsewhere: await gateway('us'),
    join: async (more: object) => {
      const home = join(folder, 'node')
      const models = [{ source: 'words.gguf', name: 'words' }]
      const config = nodeConfig.parse({ gateways: gateways.slice(0, 1), home, models, ...more })
      const engine = createFakeEngine()
      const node = await startNode(config, {
        logger: silentLogger,
        say: () => {},
        engine,
        settleMs: 1,
      })
      t.after(() => node.stop())
    },
  }
}

async function nodesAt(url: string): Promise<number> {
  const { nodes }: { nodes: number } = JSON.parse(await (await fetch(`${url}/v1/network`)).text())
  return nodes
}

async function until(isSo: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 300 && !(await isSo()); tries++) await sleep(50)
  assert.ok(await isSo(), 'it never came to be')
}
