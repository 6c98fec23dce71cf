/**
 * Objects in a bucket of any S3-compatible service. What is larger than a part goes up in parts and appears when the
 * last one is there; memory holds one part, whatever the object's size.
 */
import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { Fault, reasonOf } from '../../core/base/refusal.ts'
import { partsOf, tooLarge, type ObjectStore, type StoredObject } from './object-store.ts'
import { S3Client, type S3Place } from './s3-client.ts'
import { elementsIn, escaped, textIn, textsIn } from './s3-xml.ts'

/** Amazon's least is 5 MiB for all but the last, its most 10,000 parts. */
const PART_BYTES = 8 * 2 ** 20
const MAX_PARTS = 10_000
/** Times that a download may break off, one after another, without a byte in between. */
const MAX_BREAKS = 3

export type S3Options = S3Place & {
  /** Before every name; empty: none. */
  readonly prefix: string
  /** Tests do not wait. */
  readonly pauseMs?: number
  readonly partBytes?: number
}

export class S3Store implements ObjectStore {
  readonly place: string
  readonly #client: S3Client
  readonly #prefix: string
  readonly #partBytes: number

  constructor({ prefix, pauseMs, partBytes = PART_BYTES, ...place }: S3Options) {
    this.#client = new S3Client(place, pauseMs)
    this.#prefix = prefix === '' ? '' : `${partsOf(prefix).join('/')}/`
    this.#partBytes = partBytes
    const at = place.endpoint === null ? place.region : new URL(place.endpoint).host
    this.place = `s3://${place.bucket}/${this.#prefix} at ${at}`
  }

  async check(): Promise<void> {
    const probe = `probe-${randomBytes(6).toString('hex')}`
    await this.put(probe, Readable.from([Buffer.from(probe)]), probe.length)
    const back = await this.get(probe)
    back?.resume()
    const [listed] = await this.list(probe)
    await this.remove(probe)
    if (back === null || listed?.bytes !== probe.length)
      throw new Fault(
        'objects_refused',
        `${this.place} does not keep what it is given. Is it an S3 service? Check --s3-endpoint.`,
      )
  }

  async put(name: string, body: Readable, limitBytes: number): Promise<number> {
    const key = this.#keyOf(name)
    const size = Math.max(this.#partBytes, Math.ceil(limitBytes / MAX_PARTS))
    let bytes = 0
    let upload: Upload | null = null
    try {
      for await (const { part, last } of partsIn(body, size)) {
        bytes += part.length
        if (bytes > limitBytes) throw tooLarge(name, limitBytes)
        if (last && upload === null) {
          await this.#client.tell({ method: 'PUT', key, body: part })
          return bytes
        }
        upload ??= await Upload.begin(this.#client, key)
        await upload.add(part)
      }
      await upload?.complete()
      return bytes
    } catch (error) {
      // Parts of what never became an object cost money until they are removed.
      await upload?.abort().catch(() => {})
      throw error
    }
  }

  async get(name: string): Promise<Readable | null> {
    const key = this.#keyOf(name)
    const first = await this.#client.ask({ method: 'GET', key, also: [404] })
    if (first.status !== 404) return Readable.from(this.#bytesOf(key, first), { objectMode: false })
    const code = textIn(await first.text(), 'Code')
    if (code === null || code === 'NoSuchKey') return null
    throw new Fault('objects_refused', `${this.place} has no such bucket: ${code}`)
  }

  async list(name: string): Promise<StoredObject[]> {
    const key = this.#keyOf(name)
    const found: StoredObject[] = []
    let more: string | null = null
    do {
      const query: Record<string, string> = { 'list-type': '2', prefix: key }
      if (more !== null) query['continuation-token'] = more
      const answer = await this.#client.ask({ method: 'GET', key: '', query })
      const xml = await answer.text()
      for (const entry of elementsIn(xml, 'Contents')) {
        const at = textIn(entry, 'Key') ?? ''
        if (at !== key && !at.startsWith(`${key}/`)) continue
        found.push({ name: at.slice(this.#prefix.length), bytes: Number(textIn(entry, 'Size')) })
      }
      more = textIn(xml, 'IsTruncated') === 'true' ? textIn(xml, 'NextContinuationToken') : null
    } while (more !== null)
    return found
  }

  async remove(name: string): Promise<void> {
    const key = this.#keyOf(name)
    const query = { uploads: '', prefix: key }
    // 403, 501: a service that does not show them; its own rules remove what never was completed.
    const answer = await this.#client.ask({ method: 'GET', key: '', query, also: [403, 501] })
    const uploads = answer.ok ? elementsIn(await answer.text(), 'Upload') : []
    for (const upload of uploads) {
      const id = textIn(upload, 'UploadId')
      if (id !== null && textIn(upload, 'Key') === key)
        await new Upload(this.#client, key, id).abort()
    }
    await this.#client.tell({ method: 'DELETE', key, also: [404] })
  }

  /** Goes on where a download broke off, as long as it still is the same object. */
  async *#bytesOf(key: string, first: Response): AsyncGenerator<Uint8Array, void, void> {
    const total = Number(first.headers.get('content-length') ?? Number.NaN)
    const etag = first.headers.get('etag')
    let at = 0
    let breaks = 0
    for (let response = first; ;) {
      try {
        for await (const piece of response.body ?? []) {
          at += piece.length
          breaks = 0
          yield piece
        }
        if (Number.isNaN(total) || at >= total) return
      } catch (error) {
        if (breaks >= MAX_BREAKS || etag === null) throw brokenOff(this.place, error)
      }
      breaks += 1
      if (breaks > MAX_BREAKS || etag === null) throw brokenOff(this.place, null)
      const headers = { range: `bytes=${at}-`, 'if-match': etag }
      response = await this.#client.ask({ method: 'GET', key, headers })
      if (response.status !== 206) throw brokenOff(this.place, null)
    }
  }

  #keyOf(name: string): string {
    return this.#prefix + partsOf(name).join('/')
  }
}

const brokenOff = (place: string, cause: unknown): Fault =>
  new Fault('objects_unavailable', `a download from ${place} broke off: ${reasonOf(cause)}`, {
    cause,
    retryable: true,
  })

/** https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html */
class Upload {
  readonly #client: S3Client
  readonly #key: string
  readonly #id: string
  readonly #etags: string[] = []

  constructor(client: S3Client, key: string, id: string) {
    this.#client = client
    this.#key = key
    this.#id = id
  }

  static async begin(client: S3Client, key: string): Promise<Upload> {
    const answer = await client.ask({ method: 'POST', key, query: { uploads: '' } })
    const id = textIn(await answer.text(), 'UploadId')
    if (id === null)
      throw new Fault(
        'objects_refused',
        'the S3 service began no multipart upload. Check --s3-endpoint.',
      )
    return new Upload(client, key, id)
  }

  async add(body: Uint8Array<ArrayBuffer>): Promise<void> {
    const query = { partNumber: String(this.#etags.length + 1), uploadId: this.#id }
    const { headers } = await this.#client.tell({ method: 'PUT', key: this.#key, query, body })
    this.#etags.push(headers.get('etag') ?? '')
  }

  /** An answer of 200 may still be an error; and a second try may find that the first had worked. */
  async complete(): Promise<void> {
    const parts = this.#etags.map(
      (etag, i) => `<Part><PartNumber>${i + 1}</PartNumber><ETag>${escaped(etag)}</ETag></Part>`,
    )
    const xml = `<CompleteMultipartUpload>${parts.join('')}</CompleteMultipartUpload>`
    const body = new TextEncoder().encode(xml)
    const query = { uploadId: this.#id }
    const answer = await this.#client.ask({
      method: 'POST',
      key: this.#key,
      query,
      body,
      also: [404],
    })
    const text = await answer.text()
    const isComplete =
      answer.ok && textIn(text, 'ETag') !== null && textsIn(text, 'Error').length === 0
    if (isComplete || (answer.status === 404 && (await this.#isThere()))) return
    const why = textIn(text, 'Message') ?? textIn(text, 'Code') ?? 'without a reason'
    throw new Fault('objects_unavailable', `an upload was not completed: ${why}`, {
      retryable: true,
    })
  }

  async abort(): Promise<void> {
    const query = { uploadId: this.#id }
    await this.#client.tell({ method: 'DELETE', key: this.#key, query, also: [404] })
  }

  /** Made of as many parts: the last figure of its ETag. */
  async #isThere(): Promise<boolean> {
    const { ok, headers } = await this.#client.tell({ method: 'HEAD', key: this.#key, also: [404] })
    const etag = headers.get('etag') ?? ''
    return ok && new RegExp(`-${this.#etags.length}"?$`).test(etag)
  }
}

type Part = { readonly part: Buffer<ArrayBuffer>; readonly last: boolean }

/** Pieces of exactly `size`, but for the last one; one empty part of nothing. Ending early destroys the stream. */
async function* partsIn(body: Readable, size: number): AsyncGenerator<Part, void, void> {
  let part = Buffer.allocUnsafeSlow(size)
  let have = 0
  for await (const piece of body) {
    const bytes: Uint8Array = Buffer.isBuffer(piece) ? piece : Buffer.from(String(piece))
    for (let at = 0; at < bytes.length;) {
      // A full one goes only when more comes: the last is told apart.
      if (have === size) {
        yield { part, last: false }
        part = Buffer.allocUnsafeSlow(size)
        have = 0
      }
      const some = bytes.subarray(at, at + size - have)
      part.set(some, have)
      have += some.length
      at += some.length
    }
  }
  yield { part: part.subarray(0, have), last: true }
}
