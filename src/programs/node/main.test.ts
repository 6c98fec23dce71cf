/** The whole node over real links, real spools and a fake engine. */
import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { leafHash, merkleRoot } from '../../core/protocol/merkle.ts'
import {
  batchText,
  checkReceiptPrice,
  NO_PREVIOUS,
  RECEIPT_DOMAIN,
  receiptSchema,
  type Receipt,
  type ReceiptBatch,
} from '../../core/protocol/receipt.ts'
import { sha256, verifySignature } from '../../io/keys/identity.ts'
import type { NodeLink } from '../../io/link/node-link.ts'
import { Hearing, Journal, startGateway, type TestGateway } from '../../io/link/test-kit.ts'
import { silentLogger } from '../../io/telemetry/logger.ts'
import { nodeConfig } from './config.ts'
import { chatBody } from './fake-attempt.ts'
import { createFakeEngine, fakeModel, WORDS } from './fake-engine.ts'
import { startNode } from './main.ts'

describe('node', { timeout: 60_000 }, () => {
  it('links, offers, answers, is paid, and leaves', async (t) => {
    const { gateway, join: joinNetwork } = await setup(t)
    const { node, said, engine, home } = await joinNetwork()
    const link = await gateway.linked(node.id)
    const [model] = link.offer.models
    assert.deepEqual(model, {
      ...fakeModel,
      inputNanoUsdPerMTok: '20000000',
      outputNanoUsdPerMTok: '50000000',
    })
    const heard = ask(link, 'att_1')
    assert.equal(await heard.over(), 'end stop 11')
    assert.equal(heard.text, WORDS.map((word) => `${word} `).join(''))
    const [receipt] = await receiptsOf(gateway, 1)
    assert.equal(receipt?.nanoUsd, '590')
    link.acknowledge(['rcpt_1'])
    await said.find((line) => line.includes('first paid job'))
    await node.drain()
    assert.deepEqual(
      said.all,
      [
        `this node is ${node.id}`,
        'offering words at $0.02 in and $0.05 out per million tokens, 4 at a time',
        `linked to gateway ${gateway.identity.id} at ${gateway.url}/`,
        'first paid job: $0.00000059; earned $0.00000059 with 1 answer since start',
        'earned $0.00000059 with 1 answer since start',
      ].map((line) => line.replace(`${gateway.url}/`, gateway.url)),
    )
    assert.equal(engine.closed, true)
    assert.equal(existsSync(join(home, 'node.lock')), false)
    assert.equal(gateway.server.links().size, 0)
  })

  it('keeps one unbroken chain for each gateway while many answers run at once', async (t) => {
    const { gateway, join: joinNetwork } = await setup(t)
    const other = await startGateway()
    t.after(() => other.close())
    const { node, engine } = await joinNetwork({ gateways: [gateway.url, other.url] })
    engine.pace = (position) =>
      new Promise((resolve) => void setTimeout(resolve, (position * 7) % 3))
    for (const each of [gateway, other]) {
      const link = await each.linked(node.id)
      const heard = Array.from({ length: 40 }, (_, i) => ask(link, `att_${i}`))
      for (const one of heard) assert.equal(await one.over(), 'end stop 11')
    }
    for (const each of [gateway, other]) {
      const receipts = await receiptsOf(each, 40)
      assert.equal(new Set(receipts.map(({ id }) => id)).size, 40)
      checkChain(each, receipts)
    }
    await node.stop()
  })

  it('hands in after a restart what the gateway never acknowledged, and the chain goes on', async (t) => {
    const { gateway, join: joinNetwork } = await setup(t)
    const first = await joinNetwork({}, { settleMs: 1 })
    const link = await gateway.linked(first.node.id)
    await ask(link, 'att_1').over()
    await ask(link, 'att_2').over()
    await receiptsOf(gateway, 2)
    await first.node.drain()
    assert.match(first.said.all.at(-1) ?? '', /2 receipts are kept on disk/)

    gateway.events.all.length = 0
    const second = await joinNetwork()
    assert.equal(second.node.id, first.node.id)
    await ask(await gateway.linked(second.node.id), 'att_3').over()
    checkChain(gateway, await receiptsOf(gateway, 3))
    await second.node.stop()
  })

  it('hands in again when the link is back, and links again by itself', async (t) => {
    const { gateway, join: joinNetwork } = await setup(t)
    const { node, said } = await joinNetwork()
    const link = await gateway.linked(node.id)
    await ask(link, 'att_1').over()
    await receiptsOf(gateway, 1)
    gateway.events.all.length = 0
    link.close('a test')
    await said.find((line) => line.startsWith('no link to'))
    const [receipt] = await receiptsOf(gateway, 1)
    assert.equal(receipt?.id, 'rcpt_1')
    await node.stop()
  })

  it('drains: what runs ends, nothing new begins, receipts are in before the link closes', async (t) => {
    const { gateway, join: joinNetwork } = await setup(t)
    const { node, engine, said } = await joinNetwork()
    const link = await gateway.linked(node.id)
    const gate = new EventEmitter()
    engine.pace = async (position) => {
      if (position === 5) await once(gate, 'open')
    }
    const heard = ask(link, 'att_1')
    while (heard.text.split(' ').length < 6) await heard.journal.count(heard.journal.all.length + 1)
    const drained = node.drain()
    await gateway.events.find(({ kind }) => kind === 'draining')
    assert.match(await ask(link, 'att_2').over(), /^busy/)
    gate.emit('open')
    assert.equal(await heard.over(), 'end stop 11')
    const [receipt] = await receiptsOf(gateway, 1)
    assert.equal(receipt?.finish, 'stop')
    assert.equal(gateway.server.links().size, 1)
    link.acknowledge(['rcpt_1'])
    await drained
    assert.equal(gateway.server.links().size, 0)
    assert.ok(said.all.includes('draining: 1 running, at most 30 s'))
  })

  it('hands over what does not end in time, and is paid for what it gave', async (t) => {
    for (const how of ['drain', 'stop'] as const) {
      const { gateway, join: joinNetwork } = await setup(t)
      const { node, engine } = await joinNetwork({ drainSeconds: how === 'drain' ? 0 : 30 })
      const link = await gateway.linked(node.id)
      engine.pace = async (position, signal) => {
        if (position === 3 && !signal.aborted) await once(signal, 'abort')
      }
      const heard = ask(link, 'att_1')
      while (heard.text.split(' ').length < 4)
        await heard.journal.count(heard.journal.all.length + 1)
      const left = how === 'drain' ? node.drain() : node.stop()
      assert.match(await heard.over(), /^error node_draining|^lost/)
      if (how === 'stop') {
        await left
        const again = await joinNetwork()
        await gateway.linked(again.node.id)
        t.after(() => again.node.stop())
      }
      const [receipt] = await receiptsOf(gateway, 1)
      assert.deepEqual([receipt?.finish, receipt?.outputTokens], ['cancelled', 3])
      gateway.server.links().get(node.id)?.acknowledge(['rcpt_1'])
      await left
    }
  })

  it('offers anew when the engine loses a model', async (t) => {
    const { gateway, join: joinNetwork } = await setup(t)
    const { node, engine, said } = await joinNetwork({
      models: [],
      engine: 'openai',
      upstream: 'http://127.0.0.1:1',
    })
    engine.served = [fakeModel, { ...fakeModel, model: 'second' }]
    await gateway.events.find(
      ({ kind, link }) => kind === 'offerChanged' && link.offer.models.length === 2,
    )
    const sequence = gateway.server.links().get(node.id)?.offer.sequence ?? 0
    engine.served = [fakeModel]
    await gateway.events.find(
      ({ kind, link }) => kind === 'offerChanged' && link.offer.sequence > sequence,
    )
    assert.equal(said.all.at(-1), 'the engine changed: offering words now')
    await node.stop()
  })

  it('takes no work whose receipt would have nowhere to go', async (t) => {
    const { gateway, join: joinNetwork, home } = await setup(t)
    writeFileSync(join(home, 'spool'), 'in the way')
    const { node, said } = await joinNetwork()
    assert.equal(await ask(await gateway.linked(node.id), 'att_1').over(), 'busy node_busy')
    assert.ok(said.all.some((line) => line.startsWith('cannot keep receipts for gw_')))
    await node.stop()
  })

  it('is the only one in its home, also after a crash left its lock', async (t) => {
    const { join: joinNetwork, home } = await setup(t)
    const { node } = await joinNetwork()
    await assert.rejects(joinNetwork(), {
      code: 'home_in_use',
      message: new RegExp(`pid ${process.pid}`),
    })
    const lock = readFileSync(join(home, 'node.lock'), 'utf8')
    await node.stop()
    // Another process has got the pid of the one that crashed.
    writeFileSync(join(home, 'node.lock'), lock.replace(/ .*/, ' another-boot/1'))
    const again = await joinNetwork()
    await again.node.stop()
  })

  it('stops when its signal aborts, and keeps its offer’s sequence growing', async (t) => {
    const { gateway, join: joinNetwork, home } = await setup(t)
    writeFileSync(join(home, 'offer-sequence'), '9000000000000000\n')
    const abort = new AbortController()
    const { node } = await joinNetwork({}, { signal: abort.signal })
    const link = await gateway.linked(node.id)
    assert.equal(link.offer.sequence, 9_000_000_000_000_001)
    abort.abort()
    await node.drained
    await assert.rejects(joinNetwork({}, { signal: abort.signal }), { name: 'AbortError' })
  })
})

const body = Buffer.from(JSON.stringify(chatBody('one two')))

function ask(link: NodeLink, attempt: string): Hearing {
  const heard = new Hearing()
  const header = {
    attempt,
    request: 'req_1',
    api: 'chat' as const,
    model: 'words',
    bodyBytes: body.length,
    choice: 0,
    seed: 1,
    maxTokens: 100,
    billInput: true,
    resume: null,
  }
  link.open(header, body, heard)
  return heard
}

/** All receipts so far, at least so many, each batch checked against its node's signature. */
async function receiptsOf(gateway: TestGateway, atLeast: number): Promise<Receipt[]> {
  for (;;) {
    const receipts = gateway.events.all.flatMap(({ kind, link, detail }) =>
      kind === 'receipts' ? readBatch(link, detail as ReceiptBatch) : [],
    )
    if (receipts.length >= atLeast) return receipts
    await gateway.events.count(gateway.events.all.length + 1)
  }
}

function readBatch(link: NodeLink, { receipts, signature, signedAtMs }: ReceiptBatch): Receipt[] {
  const leaves = receipts.map((text) => leafHash(Buffer.from(text), sha256))
  const root = Buffer.from(merkleRoot(leaves, sha256)).toString('hex')
  const text = batchText(root, leaves.length, signedAtMs)
  assert.ok(verifySignature(link.nodeKey, RECEIPT_DOMAIN, text, signature))
  return receipts.map((one) => receiptSchema.parse(JSON.parse(one)))
}

function checkChain(gateway: TestGateway, receipts: readonly Receipt[]): void {
  const texts = gateway.events.all.flatMap(({ kind, detail }) =>
    kind === 'receipts' ? (detail as ReceiptBatch).receipts : [],
  )
  receipts.forEach((receipt, i) => {
    const before = leafHash(Buffer.from(texts[i - 1] ?? ''), sha256)
    assert.equal(receipt.previous, i === 0 ? NO_PREVIOUS : Buffer.from(before).toString('hex'))
    assert.equal(receipt.carryIn, receipts[i - 1]?.carryOut ?? 0)
    assert.equal(receipt.gateway, gateway.identity.id)
    assert.equal(checkReceiptPrice(receipt), null)
  })
}

async function setup(t: TestContext) {
  const gateway = await startGateway({ limits: { heartbeatMs: 100 } })
  const home = mkdtempSync(join(tmpdir(), 'baseload-node-'))
  t.after(async () => {
    await gateway.close()
    rmSync(home, { recursive: true, force: true })
  })
  const joinNetwork = async (
    settings: object = {},
    more: { settleMs?: number; signal?: AbortSignal } = {},
  ) => {
    const engine = createFakeEngine()
    const said = new Journal<string>()
    const config = nodeConfig.parse({
      gateways: [gateway.url],
      home,
      models: [{ source: 'words.gguf' }],
      leases: 'off',
      ...settings,
    })
    const options = { logger: silentLogger, say: (line: string) => said.add(line), engine, ...more }
    const node = await startNode(config, options)
    t.after(() => node.stop())
    return { node, engine, said, home }
  }
  return { gateway, home, join: joinNetwork }
}
