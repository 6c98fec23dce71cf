/**
 * OpenAI's wire shapes for generations: chat and old completions, streamed and whole. Hot: a streamed token
 * is one string concatenation around a prefix that is made once per choice.
 * https://platform.openai.com/docs/api-reference/chat/streaming
 */
export type Finish = 'stop' | 'length'
export type Usage = { readonly inputTokens: number; readonly outputTokens: number }

/** What is the same for all events of one response. */
export type ResponseHead = {
  readonly api: 'chat' | 'completion'
  readonly id: string
  readonly createdS: number
  readonly model: string
  readonly fingerprint: string
  /** Put token ids into each event, for a Baseload that has this one as its upstream. */
  readonly tokenIds: boolean
}

/** A finished choice, for a response that is not streamed. */
export type WholeChoice = {
  readonly index: number
  readonly text: string
  readonly finish: Finish
  /** Logprob entries as JSON, in order; null when not asked for. */
  readonly logprobs: readonly string[] | null
  readonly tokenIds: readonly number[]
}

export const SSE_DONE = 'data: [DONE]\n\n'

function head(of: ResponseHead, object: string): string {
  return `{"id":"${of.id}","object":"${object}","created":${of.createdS},"model":${JSON.stringify(of.model)},"system_fingerprint":"${of.fingerprint}"`
}

const eventObject = (api: ResponseHead['api']) =>
  api === 'chat' ? 'chat.completion.chunk' : 'text_completion'

/** Renders the events of one choice. `begin` comes once, before the first token. */
export class ChoiceEvents {
  readonly #api: 'chat' | 'completion'
  readonly #tokenIds: boolean
  readonly #open: string
  /** Everything up to the text of a plain token. */
  readonly #plain: string
  /** Characters so far: where the next token of an old completion begins. */
  #offset = 0

  constructor(of: ResponseHead, index: number) {
    this.#api = of.api
    this.#tokenIds = of.tokenIds
    this.#open = `data: ${head(of, eventObject(of.api))},"choices":[{"index":${index},`
    this.#plain = this.#open + (of.api === 'chat' ? '"delta":{"content":' : '"text":')
  }

  begin(): string {
    if (this.#api === 'completion') return ''
    return `${this.#open}"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}\n\n`
  }

  /** Text that may span several tokens; `logprobs` are their entries, `ids` their ids where known. */
  text(text: string, logprobs: string, ids: readonly number[]): string {
    const content = this.#plain + JSON.stringify(text) + (this.#api === 'chat' ? '}' : '')
    const tokenIds = this.#tokenIds ? `,"token_ids":[${ids.join(',')}]` : ''
    const said = this.#logprobs(logprobs)
    this.#offset += text.length
    return `${content},"logprobs":${said},"finish_reason":null${tokenIds}}]}\n\n`
  }

  /** The choice's last event; `extra` is JSON members that go beside `choices`, or empty. */
  finish(finish: Finish, extra: string): string {
    const empty = this.#api === 'chat' ? '"delta":{}' : '"text":""'
    return `${this.#open}${empty},"logprobs":null,"finish_reason":"${finish}"}]${extra}}\n\n`
  }

  #logprobs(entries: string): string {
    if (entries === '') return 'null'
    return this.#api === 'chat'
      ? `{"content":[${entries}],"refusal":null}`
      : completionLogprobs(`[${entries}]`, this.#offset)
  }
}

/** The event with `usage`, after all choices have ended. */
export function usageEvent(of: ResponseHead, usage: Usage, extra: string): string {
  return `data: ${head(of, eventObject(of.api))},"choices":[],"usage":${usageJson(usage)}${extra}}\n\n`
}

/** The whole response of a request that was not streamed. */
export function wholeResponse(
  of: ResponseHead,
  choices: readonly WholeChoice[],
  usage: Usage,
  extra: string,
): string {
  const object = of.api === 'chat' ? 'chat.completion' : 'text_completion'
  const list = choices.map((choice) => wholeChoice(of, choice)).join(',')
  return `${head(of, object)},"choices":[${list}],"usage":${usageJson(usage)}${extra}}`
}

function wholeChoice(of: ResponseHead, choice: WholeChoice): string {
  const { index, text, finish, logprobs } = choice
  const tokenIds = of.tokenIds ? `,"token_ids":[${choice.tokenIds.join(',')}]` : ''
  if (of.api === 'completion') {
    const entries = logprobs === null ? 'null' : completionLogprobs(`[${logprobs.join(',')}]`, 0)
    return `{"index":${index},"text":${JSON.stringify(text)},"logprobs":${entries},"finish_reason":"${finish}"${tokenIds}}`
  }
  const entries = logprobs === null ? 'null' : `{"content":[${logprobs.join(',')}],"refusal":null}`
  const message = `{"role":"assistant","content":${JSON.stringify(text)},"refusal":null}`
  return `{"index":${index},"message":${message},"logprobs":${entries},"finish_reason":"${finish}"${tokenIds}}`
}

function usageJson({ inputTokens, outputTokens }: Usage): string {
  return `{"prompt_tokens":${inputTokens},"completion_tokens":${outputTokens},"total_tokens":${inputTokens + outputTokens}}`
}

type LogprobEntry = {
  token: string
  logprob: number
  top_logprobs?: { token: string; logprob: number }[]
}

/** Chat entries → the older parallel arrays of /v1/completions. */
function completionLogprobs(entriesJson: string, from: number): string {
  const entries: LogprobEntry[] = JSON.parse(entriesJson)
  let offset = from
  const offsets = entries.map(({ token }) => (offset += token.length) - token.length)
  return JSON.stringify({
    tokens: entries.map(({ token }) => token),
    token_logprobs: entries.map(({ logprob }) => logprob),
    top_logprobs: entries.map(({ top_logprobs: top = [] }) =>
      Object.fromEntries(top.map(({ token, logprob }) => [token, logprob])),
    ),
    text_offset: offsets,
  })
}
