/** For tests: a server between us and a chain that can lie, stall, lag, fail and limit, as servers do. */
import { createServer, type ServerResponse } from 'node:http'
import { once } from 'node:events'
import type { TestContext } from 'node:test'
import { text } from 'node:stream/consumers'
import { z } from 'zod'

/**
 * `lag`: its blocks end so far below the chain's. `future`: it claims a head far above. `fork`: its blocks have other hashes.
 * `other chain`: another chain id. `back`: its head goes back by a few blocks each time.
 */
export type Mood =
  | 'honest'
  | 'stall'
  | 'cut'
  | 'HTTP 500'
  | 'garbage'
  | 'limit'
  | 'lag'
  | 'future'
  | 'fork'
  | 'other chain'
  | 'back'

export type FakeRpc = { readonly url: string; mood: Mood; readonly asked: () => number }

const callSchema = z.object({
  id: z.number(),
  method: z.string(),
  params: z.array(z.unknown()).optional(),
})
const LAG = 5n

export async function fakeRpc(t: TestContext, upstream: string): Promise<FakeRpc> {
  let count = 0
  const fake = { url: '', mood: 'honest' as Mood, asked: () => count }
  const server = createServer((request, response) => {
    count += 1
    void text(request)
      .then((body) => answer(fake.mood, upstream, body, response))
      .catch(() => response.destroy())
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  const address = server.address()
  if (typeof address === 'object' && address !== null) fake.url = `http://127.0.0.1:${address.port}`
  return fake
}

async function answer(
  mood: Mood,
  upstream: string,
  body: string,
  response: ServerResponse,
): Promise<void> {
  if (mood === 'stall') return
  if (mood === 'cut') response.destroy()
  else if (mood === 'HTTP 500') response.writeHead(500).end('oops')
  else if (mood === 'garbage') response.end('<html>not what you asked for</html>')
  else if (mood === 'limit') response.writeHead(429, { 'retry-after': '1' }).end('slow down')
  else response.end(await lie(mood, upstream, body))
}

async function lie(mood: Mood, upstream: string, body: string): Promise<string> {
  const { id, method, params = [] } = callSchema.parse(JSON.parse(body))
  const reply = (result: unknown): string => JSON.stringify({ jsonrpc: '2.0', id, result })
  if (mood === 'other chain' && method === 'eth_chainId') return reply('0x1')
  const response = await fetch(upstream, { method: 'POST', body, headers: JSON_TYPE })
  const honest = await response.text()
  const { result } = z.object({ result: z.unknown() }).parse(JSON.parse(honest))
  if (method === 'eth_blockNumber') {
    const height = BigInt(String(result))
    if (mood === 'lag') return reply(hex(height > LAG ? height - LAG : 0n))
    if (mood === 'future') return reply(hex(height + 1_000_000n))
    if (mood === 'back')
      return reply(hex(height > 4n ? height - BigInt(Math.floor(Math.random() * 4)) : height))
  }
  const block = z.record(z.string(), z.unknown()).safeParse(result)
  if (mood === 'fork' && method === 'eth_getBlockByNumber' && block.success)
    return reply({
      ...block.data,
      hash: forked(block.data['hash']),
      parentHash: forked(block.data['parentHash']),
    })
  if (mood === 'lag' && method === 'eth_getBlockByNumber' && params[0] === 'latest')
    return reply(null)
  return honest
}

const JSON_TYPE = { 'content-type': 'application/json' }
const hex = (value: bigint): string => `0x${value.toString(16)}`
const forked = (hash: unknown): string => `0x${'f0'.repeat(4)}${String(hash).slice(10)}`
