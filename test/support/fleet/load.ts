/**
 * An open-loop load: requests begin when they were meant to, whatever became of those before, and latency counts
 * from then. Every answer is checked to the byte; its bill is kept for the books.
 */
import { Agent, request as httpRequest } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { reasonOf } from '../../../src/core/base/refusal.ts'
import { readAnswer, RequestFailed, type Answer } from '../answers.ts'
import { FLEET_MODEL, fleetText } from './fleet-engine.ts'

export type LoadPlan = {
  /** Where requests go; a function is asked before each try, 1 the first. */
  readonly url: string | ((number: number, tried: number) => string)
  readonly key: string | ((number: number) => string)
  readonly perSecond: number
  /** Tokens of an answer, drawn between these. */
  readonly tokens: readonly [least: number, most: number]
  readonly random: () => number
  readonly signal?: AbortSignal
  /** A client gives up after this. */
  readonly deadlineMs?: number
  /** So many tries in all when a connection breaks or the gateway says 503; 1 unless told otherwise. */
  readonly tries?: number
}

export type Failure = {
  readonly number: number
  readonly status: number
  readonly reason: string
  readonly afterMs: number
  readonly retryAfter: string | null
}

export type Sample = {
  readonly startedAtMs: number
  readonly totalMs: number
  readonly firstMs: number
  readonly attempts: number
}

export type LoadResult = {
  n: number
  readonly samples: Sample[]
  readonly answers: Answer[]
  readonly failures: Failure[]
}

export type Load = {
  readonly soFar: LoadResult
  /** No new requests; resolves when those that run have ended. */
  end(): Promise<LoadResult>
}

export function startLoad(plan: LoadPlan): Load {
  const result: LoadResult = { n: 0, samples: [], answers: [], failures: [] }
  const agent = new Agent({ keepAlive: true, maxSockets: Infinity, maxFreeSockets: 1_000 })
  const running = new Set<Promise<void>>()
  const over = new AbortController()
  const stop = (): void => over.abort()
  plan.signal?.addEventListener('abort', stop)
  const everyMs = 1000 / plan.perSecond
  const begin = performance.now()

  const dispatching = (async () => {
    while (!over.signal.aborted) {
      const due = begin + result.n * everyMs
      const waitMs = due - performance.now()
      if (waitMs > 1) await sleep(waitMs, undefined, { signal: over.signal }).catch(() => {})
      if (over.signal.aborted) break
      const one = takeOne(plan, agent, result, result.n++, due)
      running.add(one)
      void one.finally(() => running.delete(one))
    }
  })()
  return {
    soFar: result,
    async end() {
      stop()
      await dispatching
      await Promise.all(running)
      agent.destroy()
      plan.signal?.removeEventListener('abort', stop)
      return result
    },
  }
}

/** The load for so long. */
export async function loadFor(plan: LoadPlan, seconds: number): Promise<LoadResult> {
  const load = startLoad(plan)
  await sleep(seconds * 1000, undefined, plan.signal && { signal: plan.signal }).catch(() => {})
  return load.end()
}

async function takeOne(
  plan: LoadPlan,
  agent: Agent,
  result: LoadResult,
  number: number,
  due: number,
): Promise<void> {
  const [least, most] = plan.tokens
  const tokens = least + Math.floor(plan.random() * (most - least + 1))
  const prompt = `question ${number} of ${tokens} tokens`
  const key = typeof plan.key === 'string' ? plan.key : plan.key(number)
  for (let tried = 1; ; tried++) {
    const url = typeof plan.url === 'string' ? plan.url : plan.url(number, tried)
    try {
      const { raw, firstAt } = await post(url, key, agent, plan.deadlineMs ?? 60_000, {
        model: FLEET_MODEL,
        prompt,
        max_tokens: tokens,
        temperature: 0,
        stream: true,
        stream_options: { include_usage: true },
      })
      const answer = readAnswer(raw)
      if (answer.text !== fleetText(prompt, tokens))
        throw new WrongText(
          `a wrong text: ${JSON.stringify(answer.text.slice(-60))}; ${answer.attempts.map(({ node, tokens: own }) => `${own} of ${node}`).join(', ')}`,
        )
      // The text is what was expected; kept a hundred thousand times it would only fill the heap.
      result.answers.push({ ...answer, text: '' })
      result.samples.push({
        startedAtMs: due,
        totalMs: performance.now() - due,
        firstMs: firstAt - due,
        attempts: answer.attempts.length,
      })
      return
    } catch (error) {
      const status = error instanceof RequestFailed ? error.status : 0
      const again = tried < (plan.tries ?? 1) && (status === 503 || status === 0)
      if (again && !(error instanceof WrongText)) {
        await sleep(100 * tried)
        continue
      }
      result.failures.push({
        number,
        status,
        reason: reasonOf(error),
        afterMs: performance.now() - due,
        retryAfter: error instanceof Refused ? error.retryAfter : null,
      })
      return
    }
  }
}

class WrongText extends Error {}

/** An answer other than 200, with what it said about trying again. */
class Refused extends RequestFailed {
  readonly retryAfter: string | null

  constructor(status: number, body: string, retryAfter: string | null) {
    super(status, body)
    this.retryAfter = retryAfter
  }
}

function post(
  url: string,
  key: string,
  agent: Agent,
  deadlineMs: number,
  body: object,
): Promise<{ raw: string; firstAt: number }> {
  return new Promise((resolve, reject) => {
    const text = JSON.stringify(body)
    const sent = httpRequest(`${url}/v1/completions`, {
      method: 'POST',
      agent,
      headers: {
        authorization: `Bearer ${key}`,
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(text),
      },
    })
    const timer = setTimeout(
      () => sent.destroy(new Error(`not answered within ${deadlineMs} ms`)),
      deadlineMs,
    )
    sent.on('response', (response) => {
      let raw = ''
      let firstAt = 0
      response.setEncoding('utf8')
      response.on('data', (piece: string) => {
        firstAt ||= performance.now()
        raw += piece
      })
      response.on('error', reject)
      response.on('end', () => {
        clearTimeout(timer)
        const { statusCode = 0, headers } = response
        if (statusCode === 200) resolve({ raw, firstAt })
        else reject(new Refused(statusCode, raw, headers['retry-after'] ?? null))
      })
    })
    sent.on('error', (error) => {
      clearTimeout(timer)
      reject(error)
    })
    sent.end(text)
  })
}

/** The value below which this share of all is, 0 to 1. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? NaN
}
