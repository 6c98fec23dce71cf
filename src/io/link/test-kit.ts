/** For tests of the link: a real gateway end on a free port, nodes that dial it, and a hand-driven peer. */
import { randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { WebSocket } from 'ws'
import { seededRandom } from '../../core/base/random.ts'
import { encodeFrame, FRAME, readFrames, type FrameType } from '../../core/protocol/frame.ts'
import {
  HELLO_DOMAIN,
  helloText,
  LINK_PATH,
  type AttemptEnd,
  type AttemptError,
  type AttemptHeader,
  type Challenge,
  type Hello,
} from '../../core/protocol/link.ts'
import { OFFER_DOMAIN, type Offer, type SignedOffer } from '../../core/protocol/offer.ts'
import { decodeTokenChunks } from '../../core/protocol/token-chunk.ts'
import { ephemeralIdentity, type Identity } from '../keys/identity.ts'
import { silentLogger } from '../telemetry/logger.ts'
import type { IncomingAttempt } from './incoming-attempt.ts'
import { connectToGateway, type LinkClient, type LinkClientOptions } from './link-client.ts'
import { createLinkServer, type LinkServer, type LinkServerOptions } from './link-server.ts'
import type { AttemptHandler, LinkEvents, NodeLink } from './node-link.ts'

/** Collects what happens, and lets a test wait for the next thing without polling. */
export class Journal<T> {
  readonly all: T[] = []
  #waiters: (() => void)[] = []

  add(entry: T): void {
    this.all.push(entry)
    for (const wake of this.#waiters.splice(0)) wake()
  }

  /** The first entry, already there or still to come, that fits. */
  async find(fits: (entry: T) => boolean): Promise<T> {
    for (;;) {
      const found = this.all.find(fits)
      if (found !== undefined) return found
      await new Promise<void>((resolve) => this.#waiters.push(resolve))
    }
  }

  async count(n: number): Promise<readonly T[]> {
    while (this.all.length < n) await new Promise<void>((resolve) => this.#waiters.push(resolve))
    return this.all
  }
}

export type LinkEvent = {
  readonly kind: keyof LinkEvents
  readonly link: NodeLink
  readonly detail?: unknown
}

export type TestGateway = {
  readonly identity: Identity
  readonly server: LinkServer
  readonly events: Journal<LinkEvent>
  readonly port: number
  readonly url: string
  /** The next link of this node, or the one there is. */
  linked(node: string): Promise<NodeLink>
  close(): Promise<void>
}

export async function startGateway(
  more: Partial<LinkServerOptions> & { port?: number } = {},
): Promise<TestGateway> {
  const events = new Journal<LinkEvent>()
  const note = (kind: keyof LinkEvents) => (link: NodeLink, detail?: unknown) =>
    events.add({ kind, link, detail })
  const identity = more.identity ?? ephemeralIdentity('gw')
  const server = createLinkServer({
    now: Date.now,
    logger: silentLogger,
    ...more,
    identity,
    events: {
      linked: note('linked'),
      offerChanged: note('offerChanged'),
      heartbeat: note('heartbeat'),
      draining: note('draining'),
      receipts: note('receipts'),
      leaseReport: note('leaseReport'),
      unlinked: note('unlinked'),
    },
  })
  const http = createServer()
  http.on('upgrade', (request, socket, head) => server.upgrade(request, socket, head))
  await new Promise<void>((resolve) => {
    http.listen(more.port ?? 0, '127.0.0.1', () => resolve())
  })
  const port = portOf(http.address())
  return {
    identity,
    server,
    events,
    port,
    url: `http://127.0.0.1:${port}`,
    linked: async (node) => {
      const { link } = await events.find(
        (e) => e.kind === 'linked' && server.links().get(node) === e.link,
      )
      return link
    },
    close: async () => {
      await server.close()
      http.closeAllConnections()
      await new Promise<void>((resolve) => {
        http.close(() => resolve())
      })
    },
  }
}

/** Of a server that listens on TCP. */
export function portOf(address: AddressInfo | string | null): number {
  if (address === null || typeof address === 'string') throw new Error('no TCP port')
  return address.port
}

export type TestNode = {
  readonly identity: Identity
  readonly client: LinkClient
  readonly attempts: Journal<IncomingAttempt>
  readonly acknowledged: Journal<readonly string[]>
  readonly linked: Journal<{ gateway: string }>
  readonly unlinked: Journal<{ reason: string; retryInMs: number }>
  readonly refused: Journal<{ code: string; message: string }>
}

export function startNode(url: string, more: Partial<LinkClientOptions> = {}): TestNode {
  const identity = more.identity ?? ephemeralIdentity('node')
  const attempts = new Journal<IncomingAttempt>()
  const acknowledged = new Journal<readonly string[]>()
  const linked = new Journal<{ gateway: string }>()
  const unlinked = new Journal<{ reason: string; retryInMs: number }>()
  const refused = new Journal<{ code: string; message: string }>()
  let sequence = 0
  const client = connectToGateway({
    url,
    offer: () => signOffer(identity, offerOf(identity, (sequence += 1))),
    load: () => ({ free: [4], queued: [0] }),
    onAttempt: (attempt) => attempts.add(attempt),
    onReceiptsAcknowledged: (ids) => acknowledged.add(ids),
    onLinked: (link) => linked.add(link),
    onUnlinked: (reason, retryInMs) => unlinked.add({ reason, retryInMs }),
    onRefused: (code, message) => refused.add({ code, message }),
    now: Date.now,
    random: seededRandom(1),
    logger: silentLogger,
    ...more,
    identity,
  })
  return { identity, client, attempts, acknowledged, linked, unlinked, refused }
}

export const offerOf = (identity: Identity, sequence: number): Offer => ({
  v: 1,
  node: identity.id,
  sequence,
  issuedAtMs: 1,
  software: 'baseload/test',
  providerName: null,
  region: null,
  dataCollection: 'deny',
  leases: null,
  models: [
    {
      model: 'bard-3m',
      digest: `sha256:${'a'.repeat(64)}`,
      engine: 'test/1',
      quantization: null,
      contextTokens: 4096,
      slots: 4,
      capabilities: ['chat', 'token_ids'],
      inputNanoUsdPerMTok: '100',
      outputNanoUsdPerMTok: '200',
    },
  ],
})

export function signOffer(identity: Identity, offer: object): SignedOffer {
  const text = JSON.stringify(offer)
  return { offer: text, signature: identity.sign(OFFER_DOMAIN, text) }
}

export const headerOf = (attempt: string, body: Uint8Array): AttemptHeader => ({
  attempt,
  request: 'req_1',
  api: 'chat',
  model: 'bard-3m',
  bodyBytes: body.length,
  choice: 0,
  seed: 1,
  maxTokens: 100,
  billInput: true,
  resume: null,
})

/** An `AttemptHandler` that writes down what it hears. */
export class Hearing implements AttemptHandler {
  readonly journal = new Journal<string>()
  text = ''
  readonly vectors: { index: number; vector: Float32Array }[] = []
  tokenBytes = 0

  accepted(): void {
    this.journal.add('accepted')
  }
  busy(error: AttemptError): void {
    this.journal.add(`busy ${error.code}`)
  }
  tokens(payload: Uint8Array): void {
    const chunks = decodeTokenChunks(payload)
    if (typeof chunks === 'string') throw new Error(chunks)
    this.tokenBytes += payload.length
    for (const chunk of chunks) this.text += chunk.text
    this.journal.add('tokens')
  }
  vector(index: number, vector: Float32Array): void {
    this.vectors.push({ index, vector })
    this.journal.add('vector')
  }
  end(end: AttemptEnd): void {
    this.journal.add(`end ${end.finish} ${end.outputTokens}`)
  }
  error(error: AttemptError): void {
    this.journal.add(`error ${error.code}`)
  }
  lost(reason: string): void {
    this.journal.add(`lost ${reason}`)
  }

  /** What ends the attempt. */
  over(): Promise<string> {
    return this.journal.find((entry) => /^(busy|end|error|lost)/.test(entry))
  }
}

/** A peer moved by hand: sends any bytes, sees every frame and the close. */
export type RawPeer = {
  readonly ws: WebSocket
  readonly frames: Journal<{ type: number; stream: number; payload: Buffer }>
  readonly closed: Promise<{ status: number; text: string }>
  send(type: FrameType, stream: number, payload?: Uint8Array | object): void
}

export function rawPeer(ws: WebSocket): RawPeer {
  const frames = new Journal<{ type: number; stream: number; payload: Buffer }>()
  ws.on('message', (data: Buffer) => {
    const problem = readFrames(data, (type, stream, payload) =>
      frames.add({ type, stream, payload: Buffer.from(payload) }),
    )
    if (problem !== null) throw new Error(problem)
  })
  ws.on('error', () => {})
  const closed = new Promise<{ status: number; text: string }>((resolve) => {
    ws.on('close', (status, text) => resolve({ status, text: text.toString() }))
  })
  return {
    ws,
    frames,
    closed,
    send: (type, stream, payload = new Uint8Array(0)) =>
      ws.send(
        encodeFrame(
          type,
          stream,
          payload instanceof Uint8Array ? payload : Buffer.from(JSON.stringify(payload)),
        ),
      ),
  }
}

/** Any gateway that listens here, this kit's or a whole one. */
type Listening = Pick<TestGateway, 'port'>

export const dialRaw = (gateway: Listening): RawPeer =>
  rawPeer(new WebSocket(`ws://127.0.0.1:${gateway.port}${LINK_PATH}`, { perMessageDeflate: false }))

/** Dials by hand and says HELLO; `change` may spoil it. */
export async function helloRaw(
  gateway: Listening,
  identity: Identity,
  change: (hello: Hello) => object = (hello) => hello,
): Promise<RawPeer> {
  const peer = dialRaw(gateway)
  const { payload } = await peer.frames.find(({ type }) => type === FRAME.CHALLENGE)
  const challenge: Challenge = JSON.parse(payload.toString())
  peer.send(FRAME.HELLO, 0, change(helloOf(identity, challenge, `127.0.0.1:${gateway.port}`)))
  return peer
}

/** What an honest node says to this challenge when it has dialled this address. */
export function helloOf(identity: Identity, challenge: Challenge, address: string): Hello {
  const nonce = randomBytes(32).toString('base64url')
  const greeting = { version: 1, nowMs: Date.now(), nonce, address }
  return {
    ...greeting,
    node: identity.id,
    nodeKey: identity.publicKey,
    signature: identity.sign(HELLO_DOMAIN, helloText(challenge, greeting)),
    offer: signOffer(identity, offerOf(identity, 1)),
  }
}

/** Dials by hand up to the WELCOME. */
export async function linkRaw(
  gateway: TestGateway,
  identity: Identity = ephemeralIdentity('node'),
): Promise<RawPeer & { link: NodeLink }> {
  const peer = await helloRaw(gateway, identity)
  await peer.frames.find(({ type }) => type === FRAME.WELCOME)
  return { ...peer, link: await gateway.linked(identity.id) }
}
