/** For tests: a GGUF file of one tensor, as small as the format allows. */

export function makeGguf(
  changes: { readonly fileType?: number; readonly chatTemplate?: string | null } = {},
): Buffer {
  const { fileType = 7, chatTemplate = '{{ messages }}' } = changes
  const entries = [
    entry('general.architecture', 8, text('llama')),
    entry('general.name', 8, text('Toy')),
    entry('general.file_type', 4, u32(fileType)),
    entry('llama.context_length', 4, u32(512)),
    entry('llama.rope.freq_base', 6, f32(10_000)),
    entry('tokenizer.ggml.add_bos_token', 7, Buffer.from([1])),
    entry('tokenizer.ggml.tokens', 9, u32(8), u64(3), text('a'), text('bc'), text('')),
    entry('tokenizer.ggml.scores', 9, u32(6), u64(2), f32(0), f32(1)),
    ...(chatTemplate === null ? [] : [entry('tokenizer.chat_template', 8, text(chatTemplate))]),
  ]
  // 64 weights as Q8_0: two blocks of 34 bytes.
  const tensor = [text('weight'), u32(2), u64(32), u64(2), u32(8), u64(0)]
  const head = [Buffer.from('GGUF'), u32(3), u64(1), u64(entries.length), ...entries, ...tensor]
  const header = Buffer.concat(head)
  const padding = Buffer.alloc((32 - (header.length % 32)) % 32)
  return Buffer.concat([header, padding, Buffer.alloc(68, 1)])
}

const entry = (key: string, type: number, ...value: Buffer[]): Buffer =>
  Buffer.concat([text(key), u32(type), ...value])

function text(value: string): Buffer {
  const bytes = Buffer.from(value)
  return Buffer.concat([u64(bytes.length), bytes])
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}

function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(BigInt(value))
  return bytes
}

function f32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeFloatLE(value)
  return bytes
}
