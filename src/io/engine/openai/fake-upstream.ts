/**
 * A test double: an HTTP server that behaves like vLLM, Ollama, llama-server, a Baseload gateway or a bare
 * OpenAI-compatible one, with a toy "model" whose words follow from prompt, position and seed. Can be told to
 * break in the ways real ones do.
 */
import assert from 'node:assert/strict'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { once } from 'node:events'
import { drawKey } from '../../../core/base/random.ts'
import { isRecord, type Fields } from '../../../core/protocol/read-fields.ts'
import {
  answerLikeServer,
  refuseLikeServer,
  sendJson,
  type Likeness,
  type Mood,
} from './fake-upstream-dialects.ts'

export type FakeUpstream = {
  readonly url: string
  readonly seen: { readonly path: string; readonly headers: Fields; readonly body: Fields }[]
  /** Answers that are being written now. */
  readonly running: () => number
  readonly connections: () => number
  mood: Mood
  close(): Promise<void>
}

const WORDS = [
  ' grey boats rest beside still water while gulls wake and circle slowly over the old café',
  ' 🌊 a bell rings once then silence; nets dry on the pier, ropes creak, somebody whistles naïvely',
].flatMap((line) => line.split(/(?= )/))

export async function startFakeUpstream(like: Likeness): Promise<FakeUpstream> {
  const seen: FakeUpstream['seen'] = []
  const served = new WeakSet<object>()
  let running = 0
  let connections = 0
  const server = createServer((request, response) => {
    void handle(request, response).catch(() => response.destroy())
  })
  server.on('connection', () => (connections += 1))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  assert(address !== null && typeof address === 'object')
  const fake: FakeUpstream = {
    url: `http://127.0.0.1:${address.port}/v1`,
    seen,
    mood: 'well',
    running: () => running,
    connections: () => connections,
    async close() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const stale = served.has(request.socket)
    served.add(request.socket)
    if (stale && fake.mood === 'stale') return void request.socket.destroy()
    const body = await readBody(request)
    const path = request.url ?? ''
    if (request.method === 'GET' || path === '/v1/embeddings')
      return answerLikeServer(like, path, body, response)
    seen.push({ path, headers: request.headers, body })
    const chat = path === '/v1/chat/completions'
    const refused = refuseLikeServer(like, fake.mood, body, promptTokens(body))
    if (refused) return sendJson(response, refused.status, refused.body)
    running += 1
    response.once('close', () => (running -= 1))
    if (fake.mood === 'silent') return void (await once(response, 'close'))
    const ids = idsOf(like, body, request.headers)
    await stream(fake.mood, response, answer(like, body), { chat, ids, body })
  }

  return fake
}

type Token = { readonly id: number; readonly word: string }
type Answer = { readonly tokens: readonly Token[]; readonly finish: string; readonly limit: number }

/** The toy model: the words it says, and why it stops. */
function answer(like: Likeness, body: Fields): Answer {
  const format = body['response_format']
  const limit = typeof body['max_tokens'] === 'number' ? body['max_tokens'] : 16
  if (like !== 'bare' && isRecord(format) && format['type'] !== 'text') {
    const text = JSON.stringify(instanceOf(format['json_schema']))
    const words = text.split(/(?<=[":,])/)
    return { tokens: words.map((word, id) => ({ id, word })), finish: 'stop', limit }
  }
  const { prompt, prefix } = split(like, body)
  const obeysSeed = like !== 'bare' && Number(body['temperature'] ?? 1) > 0
  const seed = obeysSeed ? Number(body['seed'] ?? Math.floor(Math.random() * 1e9)) : 0
  const start = prefix.split(' ').length - 1
  const tokens = Array.from({ length: Math.min(limit, 400) }, (_, index) => {
    const id = drawKey(hash(prompt) ^ seed, start + index) % WORDS.length
    return { id, word: WORDS[id] ?? '' }
  })
  return like === 'bare' ? { tokens, finish: 'length', limit } : stopped(tokens, body, limit)
}

/** The smallest value of a schema, for the little of JSON schema that tests ask for. */
function instanceOf(named: unknown): unknown {
  const schema = isRecord(named) && isRecord(named['schema']) ? named['schema'] : named
  if (!isRecord(schema)) return {}
  if (Array.isArray(schema['enum'])) return schema['enum'][0]
  const { properties } = schema
  if (isRecord(properties))
    return Object.fromEntries(
      Object.entries(properties).map(([key, value]) => [key, instanceOf(value)]),
    )
  return schema['type'] === 'boolean' ? true : ''
}

/** What was asked, and how much of the answer is there already. */
function split(like: Likeness, body: Fields): { prompt: string; prefix: string } {
  if (typeof body['prompt'] === 'string') {
    const [question = '', ...words] = body['prompt'].split(/(?<=[.?])/)
    return { prompt: question, prefix: words.join('') }
  }
  const messages = Array.isArray(body['messages']) ? body['messages'].filter(isRecord) : []
  const last = messages.at(-1)
  const flagged = body['continue_final_message'] === true && body['add_generation_prompt'] === false
  const goesOn = like === 'vllm' ? flagged : like === 'ollama' || like === 'llama.cpp'
  if (goesOn && last?.['role'] === 'assistant')
    return { prompt: JSON.stringify(messages.slice(0, -1)), prefix: String(last['content']) }
  return { prompt: JSON.stringify(body['prompt'] ?? messages), prefix: '' }
}

function stopped(tokens: readonly Token[], body: Fields, limit: number): Answer {
  const text = tokens.map((token) => token.word).join('')
  const stops = Array.isArray(body['stop']) ? body['stop'].map(String) : []
  const at = Math.min(...stops.map((stop) => text.indexOf(stop)).filter((index) => index >= 0))
  if (at === Infinity) return { tokens, finish: 'length', limit }
  const kept: Token[] = []
  let length = 0
  for (const token of tokens) {
    if (length >= at) break
    kept.push({ ...token, word: token.word.slice(0, at - length) })
    length += token.word.length
  }
  return { tokens: kept, finish: 'stop', limit }
}

type Shape = { readonly chat: boolean; readonly ids: boolean; readonly body: Fields }

async function stream(
  mood: Mood,
  response: ServerResponse,
  { tokens, finish, limit }: Answer,
  shape: Shape,
): Promise<void> {
  if (mood === 'whole') return sendJson(response, 200, { choices: [{ message: { content: 'a' } }] })
  response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' })
  const send = (event: unknown) => write(response, mood, `data: ${JSON.stringify(event)}\r\n\r\n`)
  await write(response, mood, ': welcome\r\n\r\n')
  if (shape.chat) await send({ choices: [{ index: 0, delta: { role: 'assistant', content: '' } }] })
  const said = mood === 'no limit' ? [...tokens, ...tokens] : tokens
  for (const [index, token] of said.entries()) {
    if (index === 4 && (await goesWrong(mood, response))) return
    await send({ choices: [choiceOf(token, shape)], usage: null })
    if (mood === 'slow') await new Promise((resolve) => setTimeout(resolve, 20))
  }
  if (mood === 'no finish') return void response.end('data: [DONE]\n\n')
  await send({
    choices: [{ index: 0, ...(shape.chat ? { delta: {} } : { text: '' }), finish_reason: finish }],
  })
  const completion_tokens = mood === 'insane usage' ? limit + 1_000_000 : said.length
  const usage = { prompt_tokens: promptTokens(shape.body), completion_tokens }
  if (mood !== 'no usage') await send({ choices: [], usage })
  response.end('data: [DONE]\n\n')
}

/** Whether the answer is over. */
async function goesWrong(mood: Mood, response: ServerResponse): Promise<boolean> {
  if (mood === 'cut') response.destroy()
  else if (mood === 'stall') await once(response, 'close')
  else if (mood === 'malformed') response.end('data: {"choices": [{"del\n\n')
  else if (mood === 'error')
    response.end('data: {"error": {"message": "CUDA out of memory", "code": 500}}\n\n')
  else return false
  return true
}

async function write(response: ServerResponse, mood: Mood, text: string): Promise<void> {
  const bytes = Buffer.from(text)
  const step = mood === 'drip' ? 7 : bytes.length
  for (let at = 0; at < bytes.length; at += step) {
    await new Promise((written) => response.write(bytes.subarray(at, at + step), written))
  }
}

function choiceOf({ id, word }: Token, { chat, ids, body }: Shape): Fields {
  const wanted = Number(chat ? (body['top_logprobs'] ?? 0) : (body['logprobs'] ?? 0))
  const own = logprobOf(word, -0.25)
  const top = [own, logprobOf(' or', -2), logprobOf(' not', -3)].slice(0, wanted)
  const chatLogprobs = { content: [{ ...own, top_logprobs: top }] }
  const textLogprobs = {
    tokens: [word],
    token_logprobs: [own.logprob],
    top_logprobs: [Object.fromEntries(top.map(({ token, logprob }) => [token, logprob]))],
  }
  const asked = body['logprobs'] === true || typeof body['logprobs'] === 'number'
  return {
    index: 0,
    ...(chat ? { delta: { content: word } } : { text: word }),
    ...(asked && { logprobs: chat ? chatLogprobs : textLogprobs }),
    ...(ids && { token_ids: [id] }),
    finish_reason: null,
  }
}

const logprobOf = (token: string, logprob: number) => ({
  token,
  logprob,
  bytes: [...Buffer.from(token)],
})

const idsOf = (like: Likeness, body: Fields, headers: IncomingMessage['headers']): boolean =>
  like === 'vllm'
    ? body['return_token_ids'] === true
    : like === 'baseload' && headers['x-baseload-token-ids'] === '1'

const promptTokens = (body: Fields): number =>
  Array.isArray(body['prompt'])
    ? body['prompt'].length
    : JSON.stringify(body['messages'] ?? body['prompt'] ?? '').split(' ').length

const hash = (text: string): number =>
  [...Buffer.from(text)].reduce((sum, byte) => (Math.imul(sum, 31) + byte) >>> 0, 7)

async function readBody(request: IncomingMessage): Promise<Fields> {
  const parts: Buffer[] = []
  for await (const part of request as AsyncIterable<Buffer>) parts.push(part)
  const body: unknown = parts.length === 0 ? {} : JSON.parse(Buffer.concat(parts).toString())
  return isRecord(body) ? body : {}
}
