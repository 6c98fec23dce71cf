/** What each token stands for, in bytes: one token is often only a part of a character. */
import type { LlamaModel } from './llama-binding.ts'

type Source = Pick<LlamaModel, 'fileInfo' | 'getTokenAttributes' | 'detokenize'>

export class Vocabulary {
  readonly #model: Source
  readonly #tokens: readonly string[]
  readonly #kind: string
  readonly #known = new Map<number, Uint8Array>()

  constructor(model: Source) {
    this.#model = model
    const { tokens, model: kind } = model.fileInfo.metadata.tokenizer.ggml
    this.#tokens = tokens
    this.#kind = kind
  }

  get size(): number {
    return this.#tokens.length
  }

  /** The bytes that a token adds to the text; none for control tokens such as the end of the text. */
  bytesOf(id: number): Uint8Array {
    const known = this.#known.get(id)
    if (known) return known
    const bytes = this.#read(id)
    this.#known.set(id, bytes)
    return bytes
  }

  /** The texts that become control tokens when a prompt is tokenised with them allowed, and their ids. */
  controlTokens(): Map<string, number> {
    const found = new Map<string, number>()
    for (const [id, text] of this.#tokens.entries()) {
      if (text !== '' && this.#isControl(id)) found.set(text, id)
    }
    return found
  }

  #isControl(id: number): boolean {
    const { control, unknown } = this.#model.getTokenAttributes(id)
    return control || unknown
  }

  #read(id: number): Uint8Array {
    const text = this.#tokens[id]
    if (text === undefined || this.#isControl(id)) return new Uint8Array()
    if (this.#model.getTokenAttributes(id).userDefined) return encoder.encode(text)
    switch (this.#kind) {
      case 'gpt2':
        return byteLevel(text)
      case 'llama':
        return sentencePiece(text)
      default:
        return encoder.encode(this.#model.detokenize([id], false))
    }
  }
}

const encoder = new TextEncoder()

/** GPT-2 writes every byte as one printable character: https://github.com/openai/gpt-2/blob/master/src/encoder.py */
function byteLevel(text: string): Uint8Array {
  const bytes: number[] = []
  for (const character of text) {
    const byte = BYTE_OF.get(character)
    if (byte === undefined) return encoder.encode(text)
    bytes.push(byte)
  }
  return Uint8Array.from(bytes)
}

const BYTE_OF = new Map<string, number>()
for (let byte = 0, extra = 0; byte < 256; byte++) {
  const printable = (byte > 32 && byte < 127) || (byte > 160 && byte !== 173)
  BYTE_OF.set(String.fromCodePoint(printable ? byte : 256 + extra++), byte)
}

/** SentencePiece: `▁` is a space, and `<0x0A>` a byte that is no piece of its own. */
function sentencePiece(text: string): Uint8Array {
  const byte = /^<0x([0-9A-F]{2})>$/.exec(text)?.[1]
  if (byte !== undefined) return Uint8Array.of(Number.parseInt(byte, 16))
  return encoder.encode(text.replaceAll('▁', ' '))
}
