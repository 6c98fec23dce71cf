/**
 * Messages → prompt tokens, as llama.cpp does it: the GGUF's own Jinja template, rendered and tokenised with
 * control tokens allowed. A tenant's text is data: where it spells a control token (`<|im_end|>`), it stays text.
 */
import type { ChatMessage } from '../../../core/protocol/chat-message.ts'
import { reasonOf, refuse } from '../../../core/base/refusal.ts'
import { EngineRefusal } from '../engine-refusal.ts'
import type { JinjaLibrary, JinjaTemplate, LlamaModel } from './llama-binding.ts'
import type { Vocabulary } from './vocabulary.ts'

type Source = Pick<LlamaModel, 'tokenize' | 'tokens'>

export class ChatTemplate {
  readonly #model: Source
  readonly #template: JinjaTemplate
  readonly #controlTokens: ReadonlyMap<string, number>
  readonly #anyControlToken: RegExp
  readonly #anyToEscape: RegExp

  constructor(
    template: string,
    jinja: JinjaLibrary,
    model: Source,
    vocabulary: Pick<Vocabulary, 'controlTokens'>,
  ) {
    this.#model = model
    this.#template = new jinja.Template(template)
    this.#controlTokens = vocabulary.controlTokens()
    // The longest first, as llama.cpp looks for them.
    const texts = [...this.#controlTokens.keys()].toSorted((a, b) => b.length - a.length)
    const any = texts.length === 0 ? '(?!)' : texts.map(escapeRegExp).join('|')
    this.#anyControlToken = new RegExp(`(${any})`)
    this.#anyToEscape = new RegExp(`${any}|${MARK}`, 'g') // the mark too, so that nobody can forge one
  }

  /** The prompt's tokens, up to where the assistant's answer begins. */
  tokensOf(messages: readonly ChatMessage[]): number[] {
    const escaped: string[] = []
    const escape = (text: string) =>
      text.replace(this.#anyToEscape, (match) => `${MARK}${escaped.push(match) - 1}${MARK_END}`)
    const prompt = this.#render(
      messages.map(({ role, content, name }) => ({
        role: role === 'developer' ? 'system' : role,
        content: escape(content),
        ...(name === undefined ? {} : { name: escape(name) }),
      })),
    )
    if (escaped.length === 0) return this.#model.tokenize(prompt, true)
    const restore = (text: string) =>
      text.replace(MARKED, (_, index: string) => escaped[Number(index)] ?? '')
    return prompt.split(this.#anyControlToken).flatMap((part) => {
      const control = this.#controlTokens.get(part)
      return control === undefined ? this.#model.tokenize(restore(part), false) : [control]
    })
  }

  #render(messages: readonly Record<string, string>[]): string {
    const { bosString, eosString } = this.#model.tokens
    try {
      return this.#template.render({
        messages,
        add_generation_prompt: true,
        bos_token: bosString ?? '',
        eos_token: eosString ?? '',
      })
    } catch (error) {
      // Templates raise exceptions to say what they do not take, e.g. roles that do not alternate.
      throw new EngineRefusal(
        refuse(
          'invalid_value',
          `The model's chat template refuses the messages: ${reasonOf(error)}`,
          {
            param: 'messages',
          },
        ),
      )
    }
  }
}

/** Private-use characters, which no template looks at. */
const MARK = '\ue000'
const MARK_END = '\ue001'
const MARKED = new RegExp(`${MARK}(\\d+)${MARK_END}`, 'g')

const escapeRegExp = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
