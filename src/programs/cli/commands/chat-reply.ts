/** One streamed answer: its text as it comes, then who gave it, how fast, and for how much. */
import { z } from 'zod'
import { formatUsd, parseNanoUsd } from '../../../core/base/money.ts'
import type { ChatMessage } from '../../../core/protocol/chat-message.ts'
import type { GatewayClient } from '../shell/gateway-client.ts'

export type ChatOptions = {
  readonly model: string
  /** Passed on as they are: `temperature`, `seed`, `max_tokens`, … */
  readonly sampling: Readonly<Record<string, unknown>>
}

export type ChatReply = {
  readonly text: string
  readonly model: string
  readonly nodes: readonly string[]
  readonly receipts: readonly string[]
  readonly outputTokens: number
  /** From question to end, as a person waits for it: with the reading of the prompt. */
  readonly tokensPerS: number
  readonly nanoUsd: bigint | null
}

const attempt = z.looseObject({
  node: z.string(),
  tokens: z.number().default(0),
  receipt: z.string().nullish(),
})
type Attempt = z.infer<typeof attempt>

const event = z.looseObject({
  model: z.string().default(''),
  choices: z
    .array(z.looseObject({ delta: z.looseObject({ content: z.string().nullish() }).optional() }))
    .default([]),
  usage: z.looseObject({ completion_tokens: z.number() }).nullish(),
  baseload: z
    .looseObject({
      attempts: z.array(attempt),
      price_nano_usd: z.string().nullish(),
    })
    .optional(),
})

/** Asks, gives each piece of text to `onText`, and sums up. Throws Failure. */
export async function askForReply(
  client: GatewayClient,
  messages: readonly ChatMessage[],
  options: ChatOptions,
  onText: (text: string) => void,
  signal: AbortSignal,
): Promise<ChatReply> {
  const body = {
    model: options.model,
    messages,
    ...options.sampling,
    stream: true,
    stream_options: { include_usage: true },
  }
  const reply = { text: '', model: options.model, outputTokens: 0, nanoUsd: null as bigint | null }
  let attempts: Attempt[] = []
  const askedAt = performance.now()
  for await (const json of client.stream('/v1/chat/completions', body, signal)) {
    const { model, choices, usage, baseload } = event.parse(json)
    const piece = choices[0]?.delta?.content ?? ''
    if (piece !== '') {
      reply.text += piece
      onText(piece)
    }
    if (model !== '') reply.model = model
    if (usage) reply.outputTokens = usage.completion_tokens
    if (baseload) {
      attempts = baseload.attempts
      reply.nanoUsd = parseNanoUsd(baseload.price_nano_usd)
    }
  }
  return {
    ...reply,
    nodes: [...new Set(attempts.filter(({ tokens }) => tokens > 0).map(({ node }) => node))],
    receipts: attempts.flatMap(({ receipt }) => (receipt ? [receipt] : [])),
    tokensPerS: reply.outputTokens / ((performance.now() - askedAt) / 1000),
  }
}

/** `node_7f3k… · 42 tokens · 61 tokens/s · $0.0000021`. */
export function replyLine(reply: ChatReply): string {
  const nodes = reply.nodes.join(' → ') || 'unknown node'
  const speed = `${reply.tokensPerS.toFixed(0)} tokens/s`
  const parts = [nodes, `${reply.outputTokens} tokens`, speed]
  if (reply.nanoUsd !== null) parts.push(`$${formatUsd(reply.nanoUsd)}`)
  return parts.join(' · ')
}

/** The same for programs. */
export const replyJson = (reply: ChatReply) => ({
  text: reply.text,
  model: reply.model,
  nodes: reply.nodes,
  receipts: reply.receipts,
  output_tokens: reply.outputTokens,
  tokens_per_s: reply.tokensPerS,
  price_nano_usd: reply.nanoUsd === null ? null : String(reply.nanoUsd),
})
