/**
 * The head of a GGUF file: what the model is, and whether the file is whole. Reads only the head, however
 * large the file. https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 */
import { open, type FileHandle } from 'node:fs/promises'
import { Fault } from '../../core/base/refusal.ts'
import { fileTypeName, tensorBytes, tensorTypeName } from './gguf-types.ts'

export type GgufHeader = {
  readonly version: number
  readonly name: string | null
  /** `llama`, `qwen3`, … */
  readonly architecture: string
  /** What the model was trained for; null when the file does not say. */
  readonly contextTokens: number | null
  /** `Q4_K_M`, `F16`, …: as the file says, else the type of most of its weights. */
  readonly quantization: string | null
  readonly parameters: number
  readonly tensors: number
  readonly hasChatTemplate: boolean
  readonly fileBytes: number
  /** The end of the last tensor: a whole file is at least this long. */
  readonly neededBytes: number
}

/** Vocabularies are the long part: 256,000 tokens with merges and scores take about 20 MiB. */
const MAX_HEADER_BYTES = 256 * 1024 * 1024
const CHUNK_BYTES = 1024 * 1024
const MAX_ENTRIES = 1_000_000
const DEFAULT_ALIGNMENT = 32

/** Throws a Fault `gguf_invalid` or `gguf_truncated` that says where the file stops making sense. */
export async function readGgufHeader(path: string): Promise<GgufHeader> {
  const file = await open(path, 'r')
  try {
    const { size } = await file.stat()
    return await read(new Cursor(file, size), size)
  } finally {
    await file.close()
  }
}

async function read(cursor: Cursor, fileBytes: number): Promise<GgufHeader> {
  if ((await cursor.bytes(4)).toString('latin1') !== 'GGUF') throw invalid('it is not a GGUF file')
  const version = await cursor.u32()
  if (version !== 2 && version !== 3) throw invalid(`GGUF version ${version} is not known`)
  const tensorCount = limited(await cursor.u64(), 'tensors')
  const metadataCount = limited(await cursor.u64(), 'metadata entries')
  const metadata = new Map<string, Scalar>()
  for (let i = 0; i < metadataCount; i++) {
    const key = await cursor.text()
    metadata.set(key, await readValue(cursor, await cursor.u32()))
  }
  const tensors: Tensor[] = []
  for (let i = 0; i < tensorCount; i++) tensors.push(await readTensor(cursor))
  return describe(version, metadata, tensors, cursor.position, fileBytes)
}

/** Arrays are skipped: only their length is kept. */
type Scalar = string | number | boolean
type Tensor = { readonly elements: number; readonly type: number; readonly offset: number }

function describe(
  version: number,
  metadata: ReadonlyMap<string, Scalar>,
  tensors: readonly Tensor[],
  headerBytes: number,
  fileBytes: number,
): GgufHeader {
  const architecture = metadata.get('general.architecture')
  if (typeof architecture !== 'string') throw invalid('it names no architecture')
  const alignment = Number(metadata.get('general.alignment') ?? DEFAULT_ALIGNMENT)
  if (!(alignment > 0)) throw invalid('its alignment is not a positive number')
  const dataStart = Math.ceil(headerBytes / alignment) * alignment
  const ends = tensors.map((tensor) => tensor.offset + tensorBytes(tensor.type, tensor.elements))
  const name = metadata.get('general.name')
  const context = metadata.get(`${architecture}.context_length`)
  return {
    version,
    name: typeof name === 'string' ? name : null,
    architecture,
    contextTokens: typeof context === 'number' ? context : null,
    quantization: fileTypeName(metadata.get('general.file_type')) ?? mostCommonType(tensors),
    parameters: tensors.reduce((sum, tensor) => sum + tensor.elements, 0),
    tensors: tensors.length,
    hasChatTemplate: metadata.has('tokenizer.chat_template'),
    fileBytes,
    neededBytes: ends.reduce((most, end) => Math.max(most, dataStart + end), headerBytes),
  }
}

function mostCommonType(tensors: readonly Tensor[]): string | null {
  const weights = new Map<number, number>()
  for (const { type, elements } of tensors) weights.set(type, (weights.get(type) ?? 0) + elements)
  const [most] = [...weights].toSorted((a, b) => b[1] - a[1])
  return most ? tensorTypeName(most[0]) : null
}

async function readTensor(cursor: Cursor): Promise<Tensor> {
  await cursor.text()
  const dimensions = await cursor.u32()
  if (dimensions > 8) throw invalid(`a tensor has ${dimensions} dimensions`)
  let elements = 1
  for (let i = 0; i < dimensions; i++) elements *= await cursor.u64()
  return { elements, type: await cursor.u32(), offset: await cursor.u64() }
}

const STRING = 8
const ARRAY = 9
const BOOLEAN = 7
/** Bytes of each scalar type, by its number in the format. */
const SCALAR_BYTES = [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8]

async function readValue(cursor: Cursor, type: number): Promise<Scalar> {
  if (type === STRING) return cursor.text()
  if (type === ARRAY) return skipArray(cursor)
  const size = SCALAR_BYTES[type]
  if (!size) throw invalid(`metadata type ${type} is not known`)
  const bytes = await cursor.bytes(size)
  if (type === BOOLEAN) return bytes[0] !== 0
  if (type === 6) return bytes.readFloatLE()
  if (type === 12) return bytes.readDoubleLE()
  const signed = type === 1 || type === 3 || type === 5
  if (size === 8) return Number(type === 11 ? bytes.readBigInt64LE() : bytes.readBigUInt64LE())
  return signed ? bytes.readIntLE(0, size) : bytes.readUIntLE(0, size)
}

async function skipArray(cursor: Cursor): Promise<number> {
  const type = await cursor.u32()
  const length = limited(await cursor.u64(), 'entries in one list')
  const size = SCALAR_BYTES[type]
  if (size) cursor.skip(length * size)
  else if (type === STRING) for (let i = 0; i < length; i++) cursor.skip(await cursor.u64())
  else if (type === ARRAY) for (let i = 0; i < length; i++) await skipArray(cursor)
  else throw invalid(`metadata type ${type} is not known`)
  return length
}

function limited(count: number, what: string): number {
  if (count > MAX_ENTRIES) throw invalid(`${count} ${what} cannot be true`)
  return count
}

/** Walks through the head of the file in large reads. */
class Cursor {
  readonly #file: FileHandle
  readonly #size: number
  #chunk: Buffer = Buffer.alloc(0)
  #chunkStart = 0
  position = 0

  constructor(file: FileHandle, size: number) {
    this.#file = file
    this.#size = size
  }

  async bytes(length: number): Promise<Buffer> {
    this.#check(length)
    const start = this.position - this.#chunkStart
    if (start < 0 || start + length > this.#chunk.length) await this.#load(length)
    const from = this.position - this.#chunkStart
    this.position += length
    return this.#chunk.subarray(from, from + length)
  }

  skip(length: number): void {
    this.#check(length)
    this.position += length
  }

  async u32(): Promise<number> {
    return (await this.bytes(4)).readUInt32LE()
  }

  async u64(): Promise<number> {
    const value = Number((await this.bytes(8)).readBigUInt64LE())
    if (!Number.isSafeInteger(value)) throw invalid(`${value} cannot be a count or a place`)
    return value
  }

  async text(): Promise<string> {
    return (await this.bytes(await this.u64())).toString('utf8')
  }

  #check(length: number): void {
    const end = this.position + length
    if (end > this.#size)
      throw new Fault('gguf_truncated', `the file ends at byte ${this.#size}, inside its header`)
    if (end > MAX_HEADER_BYTES) throw invalid(`its header is over ${MAX_HEADER_BYTES} bytes`)
  }

  async #load(length: number): Promise<void> {
    const chunk = Buffer.alloc(Math.min(Math.max(CHUNK_BYTES, length), this.#size - this.position))
    const { bytesRead } = await this.#file.read(chunk, 0, chunk.length, this.position)
    if (bytesRead < length) throw new Fault('gguf_truncated', 'the file became shorter')
    this.#chunk = chunk.subarray(0, bytesRead)
    this.#chunkStart = this.position
  }
}

const invalid = (what: string): Fault => new Fault('gguf_invalid', what)
