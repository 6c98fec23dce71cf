/** Streamed answers as a tenant reads them, byte by byte, with what they say of their own making. */
import assert from 'node:assert/strict'
import { DEMO_MODEL } from './program.ts'

export type Attempt = {
  readonly node: string
  readonly tokens: number
  readonly outcome: string
  readonly receipt?: string
  readonly reason?: string
}

export type Answer = {
  readonly text: string
  readonly attempts: readonly Attempt[]
  readonly nanoUsd: bigint
}

/** What to ask: of one number always the same, of different numbers different, at temperature 0. */
export type Question = { readonly path: string; readonly body: object }

const WHO = [
  'Romeo',
  'Juliet',
  'Hamlet',
  'Macbeth',
  'Brutus',
  'Othello',
  'Lear',
  'Henry',
  'Lady Anne',
]

/** Three of four are completions that run to their limit of 60 to 120 tokens; the fourth is a chat that ends by itself. */
export function question(number: number): Question {
  const who = WHO[number % WHO.length]
  const common = {
    model: DEMO_MODEL,
    temperature: 0,
    stream: true,
    stream_options: { include_usage: true },
    max_tokens: 60 + ((number * 7) % 61),
  }
  if (number % 4 === 3) {
    const content = `Speak, ${who}, of ${number} ships and the sea, and then of the king, and then of love.`
    return {
      path: '/v1/chat/completions',
      body: { ...common, messages: [{ role: 'user', content }] },
    }
  }
  const prompt = `${who} speaks of ${number} ships, and of the king, and of the sea,\nAnd of the`
  return { path: '/v1/completions', body: { ...common, prompt } }
}

/** Throws when the connection breaks; the error of a request that failed names its code. */
export async function ask(
  url: string,
  key: string,
  { path, body }: Question,
  signal?: AbortSignal,
): Promise<Answer> {
  const response = await fetch(url + path, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
    ...(signal && { signal }),
  })
  const raw = await response.text()
  if (response.status !== 200) throw new RequestFailed(response.status, raw)
  return readAnswer(raw)
}

/** The gateway said no: not a matter of the connection. */
export class RequestFailed extends Error {
  readonly status: number

  constructor(status: number, body: string) {
    super(`${status} ${body}`)
    this.status = status
  }
}

type Chunk = {
  error?: { code: string; message: string }
  choices?: { text?: string; delta?: { content?: string } }[]
  baseload?: { attempts: Attempt[]; price_nano_usd: string }
}

export function readAnswer(raw: string): Answer {
  let text = ''
  let bill: Chunk['baseload'] | undefined
  let done = false
  for (const event of raw.split('\n\n').filter((one) => one !== '')) {
    const data = event.replace(/^data: /, '')
    done = data === '[DONE]'
    if (done) break
    const chunk: Chunk = JSON.parse(data)
    if (chunk.error) throw new RequestFailed(200, data)
    const [choice] = chunk.choices ?? []
    text += choice?.text ?? choice?.delta?.content ?? ''
    bill = chunk.baseload ?? bill
  }
  assert.ok(done, 'the stream has an end')
  assert.ok(bill, 'the last chunk has the bill')
  return { text, attempts: bill.attempts, nanoUsd: BigInt(bill.price_nano_usd) }
}

/** Runs `work` for 0 … count − 1, so many at a time, and gathers the results in order. */
export async function inLanes<T>(
  count: number,
  lanes: number,
  work: (number: number) => Promise<T>,
): Promise<T[]> {
  const results: T[] = []
  let next = 0
  const lane = async (): Promise<void> => {
    for (let number = next++; number < count; number = next++) results[number] = await work(number)
  }
  await Promise.all(Array.from({ length: lanes }, lane))
  return results
}
