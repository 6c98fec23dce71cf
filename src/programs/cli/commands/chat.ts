/** `baseload chat`: a conversation in the terminal, or one question through a pipe. */
import { createInterface, type Interface } from 'node:readline'
import { text as readAll } from 'node:stream/consumers'
import type { Command } from 'commander'
import { z } from 'zod'
import type { ChatMessage } from '../../../core/protocol/chat-message.ts'
import { EXIT, Failure, failureOf, failureText } from '../shell/failure.ts'
import type { GatewayClient } from '../shell/gateway-client.ts'
import type { Terminal } from '../shell/terminal.ts'
import {
  askForReply,
  replyJson,
  replyLine,
  type ChatOptions,
  type ChatReply,
} from './chat-reply.ts'
import { clientOf, describeClient, type Flags, type Shell } from './command.ts'

export function chatCommand(command: Command, shell: Shell): Command {
  return describeClient(
    command.argument('[question]', 'ask this and leave; without it, talk'),
    'Talk with a model; each answer says which node gave it, how fast, and for how much',
    'baseload chat --model bard-3m --temperature 0.8',
    'echo "ROMEO:" | baseload chat --seed 7',
  )
    .option('--model <model>', 'what to ask; without it, the first that the network serves')
    .option('--system <text>', 'a system message before everything else')
    .option('--temperature <number>', 'randomness, 0 to 2', number('--temperature'))
    .option('--top-p <number>', 'sample from the likeliest tokens of this total', number('--top-p'))
    .option('--seed <number>', 'same seed, same answer', number('--seed'))
    .option('--max-tokens <number>', 'longest answer', number('--max-tokens'))
    .action(async (question: string | undefined, flags: Flags) => {
      const client = clientOf(flags, shell)
      const options = { model: await chooseModel(client, flags), sampling: samplingOf(flags) }
      const opening: ChatMessage[] =
        typeof flags['system'] === 'string' ? [{ role: 'system', content: flags['system'] }] : []
      const typed = question ?? (shell.terminal.canAsk ? null : await readAll(process.stdin))
      if (typed !== null) return askOnce(client, options, opening, typed.trim(), flags, shell)
      await new Conversation(client, options, opening, shell.terminal).run()
    })
}

async function askOnce(
  client: GatewayClient,
  options: ChatOptions,
  opening: readonly ChatMessage[],
  question: string,
  flags: Flags,
  { terminal, stops }: Shell,
): Promise<void> {
  if (question === '')
    throw new Failure(EXIT.usage, 'there is nothing to ask', {
      next: 'echo "your question" | baseload chat',
    })
  const json = flags['json'] === true
  const messages: ChatMessage[] = [...opening, { role: 'user', content: question }]
  const show = (text: string) => (json ? undefined : void terminal.out(text))
  const reply = await askForReply(client, messages, options, show, stops.stop)
  if (json) return terminal.out(`${JSON.stringify(replyJson(reply))}\n`)
  await terminal.out('\n')
  terminal.err(`${terminal.dim(replyLine(reply))}\n`)
}

const HELP = `/model <name>  ask another model      /reset  forget the conversation
/help          this                   /quit   leave (also Ctrl-D)
Ctrl-C stops the running answer, and leaves when none runs.
`

/** What was said so far, and the terminal it is said in. */
class Conversation {
  readonly #client: GatewayClient
  readonly #opening: readonly ChatMessage[]
  readonly #terminal: Terminal
  #options: ChatOptions
  #messages: ChatMessage[]
  #running: AbortController | null = null

  constructor(
    client: GatewayClient,
    options: ChatOptions,
    opening: readonly ChatMessage[],
    terminal: Terminal,
  ) {
    this.#client = client
    this.#options = options
    this.#opening = opening
    this.#messages = [...opening]
    this.#terminal = terminal
  }

  async run(): Promise<void> {
    this.#say(`${this.#options.model} at ${this.#client.url} · /help · Ctrl-C leaves`)
    const lines = createInterface({ input: process.stdin, output: process.stdout, prompt: '› ' })
    // readline owns the terminal, so Ctrl-C arrives here and not as a signal.
    lines.on('SIGINT', () => (this.#running ? this.#running.abort() : lines.close()))
    lines.prompt()
    for await (const line of lines) {
      if (line.trim() === '/quit') break
      await this.#take(line.trim(), lines)
      lines.prompt()
    }
    lines.close()
  }

  async #take(line: string, lines: Interface): Promise<void> {
    if (line === '') return
    if (!line.startsWith('/')) return this.#ask(line, lines)
    const [word, name] = line.split(/\s+/)
    if (word === '/reset') {
      this.#messages = [...this.#opening]
      this.#say('forgotten')
    } else if (word === '/model' && name !== undefined) {
      this.#options = { ...this.#options, model: name }
      this.#say(`asking ${name} from now on`)
    } else if (word === '/model') {
      this.#say(
        `asking ${this.#options.model}; served here: ${(await modelNames(this.#client)).join(', ')}`,
      )
    } else this.#terminal.err(this.#terminal.dim(HELP))
  }

  async #ask(question: string, lines: Interface): Promise<void> {
    this.#messages.push({ role: 'user', content: question })
    const running = new AbortController()
    this.#running = running
    // A paused readline would not see Ctrl-C; typing ahead is kept for the next prompt.
    lines.resume()
    try {
      const reply = await this.#reply(running.signal)
      this.#messages.push({ role: 'assistant', content: reply.text })
      await this.#terminal.out('\n')
      this.#say(replyLine(reply))
    } catch (error) {
      this.#messages.pop()
      const stopped = failureOf(error).exitCode === EXIT.interrupted
      this.#terminal.err(
        stopped ? `\n${this.#terminal.dim('stopped')}\n` : `\n${failureText(error, false)}`,
      )
    } finally {
      this.#running = null
    }
  }

  /** A conversation outgrows a small model's context: then its oldest part is forgotten, and said to be. */
  async #reply(signal: AbortSignal): Promise<ChatReply> {
    const show = (text: string) => void this.#terminal.out(text)
    for (;;) {
      try {
        return await askForReply(this.#client, this.#messages, this.#options, show, signal)
      } catch (error) {
        const full = failureOf(error).code === 'context_length_exceeded'
        if (!full || this.#messages.length <= this.#opening.length + 1) throw error
        this.#messages.splice(this.#opening.length, 2)
        this.#say('(the context is full: forgot the oldest question and answer)')
      }
    }
  }

  #say(text: string): void {
    this.#terminal.err(`${this.#terminal.dim(text)}\n`)
  }
}

const modelList = z.looseObject({ data: z.array(z.looseObject({ id: z.string() })) })

const modelNames = async (client: GatewayClient): Promise<string[]> =>
  modelList.parse(await client.get('/v1/models')).data.map(({ id }) => id)

async function chooseModel(client: GatewayClient, flags: Flags): Promise<string> {
  if (typeof flags['model'] === 'string') return flags['model']
  const [first] = await modelNames(client)
  if (first !== undefined) return first
  throw new Failure(EXIT.refused, 'no node of this network serves a model now', {
    code: 'no_models',
    next: '`baseload network` shows its nodes; `baseload join` adds one',
  })
}

const samplingOf = (flags: Flags): Record<string, unknown> => ({
  ...(flags['temperature'] === undefined ? {} : { temperature: flags['temperature'] }),
  ...(flags['topP'] === undefined ? {} : { top_p: flags['topP'] }),
  ...(flags['seed'] === undefined ? {} : { seed: flags['seed'] }),
  ...(flags['maxTokens'] === undefined ? {} : { max_tokens: flags['maxTokens'] }),
})

const number = (flag: string) => (text: string) => {
  if (/^-?\d+(\.\d+)?$/.test(text)) return Number(text)
  throw new Failure(EXIT.usage, `${flag} must be a number, not '${text}'`)
}
