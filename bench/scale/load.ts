/** Tenants that come at a steady rate, whether the answers before are over or not. Each answer is streamed and read to its end. */
import { Agent, request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { benchModel } from '../gateway/bench-node.ts'

const TOKENS = 16
const BODY = JSON.stringify({
  model: benchModel.model,
  stream: true,
  max_tokens: TOKENS,
  messages: [{ role: 'user', content: 'What can be counted on?' }],
})

/** Milliseconds from asking to the first byte of each answer. Throws when one is not whole. */
export async function streamSteadily(plan: {
  port: number
  key: string
  perSecond: number
  seconds: number
}): Promise<number[]> {
  const { port, key, perSecond, seconds } = plan
  const agent = new Agent({ keepAlive: true })
  const begin = performance.now()
  const all: Promise<number>[] = []
  for (let i = 0; i < perSecond * seconds; i++) {
    const due = begin + (i * 1000) / perSecond
    await sleep(Math.max(0, due - performance.now()))
    all.push(askOnce({ port, key, agent }))
  }
  const latencies = await Promise.all(all)
  agent.destroy()
  return latencies
}

function askOnce({
  port,
  key,
  agent,
}: {
  port: number
  key: string
  agent: Agent
}): Promise<number> {
  return new Promise((resolve, reject) => {
    const asked = performance.now()
    const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' }
    const path = '/v1/chat/completions'
    const call = request({ host: '127.0.0.1', port, path, method: 'POST', agent, headers })
    call.on('error', reject)
    call.on('response', (response) => {
      let first = NaN
      let text = ''
      response.setEncoding('utf8').on('data', (part: string) => {
        if (text === '') first = performance.now() - asked
        text += part
      })
      response.on('end', () => {
        const tokens = text.split('"content":" token"').length - 1
        if (text.includes('data: [DONE]') && tokens === TOKENS) resolve(first)
        else
          reject(
            new Error(
              `${response.statusCode}, ${tokens} of ${TOKENS} tokens: ${text.slice(0, 300)}`,
            ),
          )
      })
      response.on('error', reject)
    })
    call.end(BODY)
  })
}
