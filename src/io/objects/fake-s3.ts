/**
 * For tests: an S3 service in this process, strict where a real one is. It verifies each Signature V4 by itself (its
 * own code, from Amazon's description, not the client's), the payload's hash, part sizes and ETags; it pages its lists.
 */
import { createHash, createHmac } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { buffer } from 'node:stream/consumers'

export type FakeS3Options = {
  readonly bucket?: string
  readonly region?: string
  readonly accessKeyId?: string
  readonly secretAccessKey?: string
  readonly sessionToken?: string | null
  /** Of every part but the last. */
  readonly minPartBytes?: number
  /** Keys in one page of a list. */
  readonly page?: number
}

/** True: that was the answer. */
type Trouble = { readonly when: RegExp; happens(response: ServerResponse): boolean }
type Upload = { readonly key: string; readonly parts: Map<number, Buffer> }
type Call = {
  method: string
  key: string
  query: URLSearchParams
  body: Buffer
  headers: IncomingMessage['headers']
}

export async function fakeS3(options: FakeS3Options = {}) {
  const settings = { ...DEFAULTS, ...options }
  const objects = new Map<string, Buffer>()
  const uploads = new Map<string, Upload>()
  const asked: string[] = []
  const troubles: Trouble[] = []
  let cutAfter: number[] = []
  let largest = 0

  async function take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await buffer(request)
    if (request.method === 'PUT') largest = Math.max(largest, body.length)
    const url = new URL(request.url ?? '/', `http://${request.headers.host}`)
    asked.push(`${request.method} ${request.url}`)
    const next = troubles.findIndex(({ when }) => when.test(asked.at(-1) ?? ''))
    const [trouble] = next < 0 ? [] : troubles.splice(next, 1)
    if (trouble?.happens(response) === true) return
    const wrong = whyNotSigned(request, body, settings)
    if (wrong !== null) return refuse(response, 403, wrong, 'the fake does not agree')
    const [bucket, path] = addressed(url, settings.bucket)
    if (bucket !== settings.bucket) return refuse(response, 404, 'NoSuchBucket', 'no such bucket')
    const key = decodeURIComponent(path)
    const call = {
      method: request.method ?? '',
      key,
      query: url.searchParams,
      body,
      headers: request.headers,
    }
    answer(call, response)
  }

  function answer(call: Call, response: ServerResponse): void {
    const { method, key, query } = call
    if (query.has('uploads'))
      return method === 'POST' ? begin(call, response) : listUploads(call, response)
    if (query.has('uploadId')) return inUpload(call, response)
    if (key === '') return list(call, response)
    if (method === 'PUT') return put(call, response)
    if (method === 'DELETE') {
      objects.delete(key)
      return void response.writeHead(204).end()
    }
    return get(call, response)
  }

  function put({ key, body }: Call, response: ServerResponse): void {
    objects.set(key, body)
    response.writeHead(200, { etag: etagOf(body) }).end()
  }

  function get({ method, key, headers }: Call, response: ServerResponse): void {
    const object = objects.get(key)
    if (!object) return refuse(response, 404, 'NoSuchKey', 'no such key')
    const etag = etags.get(key) ?? etagOf(object)
    if (headers['if-match'] !== undefined && headers['if-match'] !== etag)
      return refuse(response, 412, 'PreconditionFailed', 'it is another one by now')
    const from = Number(/^bytes=(\d+)-$/.exec(headers.range ?? '')?.[1] ?? 0)
    const body = object.subarray(from)
    const length = { etag, 'content-length': body.length }
    response.writeHead(headers.range === undefined ? 200 : 206, length)
    const cut = method === 'GET' ? cutAfter.shift() : undefined
    if (method === 'HEAD') response.end()
    else if (cut === undefined) response.end(body)
    else response.write(body.subarray(0, cut), () => response.destroy())
  }

  function list({ query }: Call, response: ServerResponse): void {
    const prefix = query.get('prefix') ?? ''
    const after = query.get('continuation-token') ?? ''
    const keys = [...objects.keys()]
      .filter((key) => key.startsWith(prefix) && key > after)
      .toSorted()
    const page = keys.slice(0, settings.page)
    const rows = page.map(
      (key) =>
        `<Contents><Key>${xml(key)}</Key><Size>${objects.get(key)?.length}</Size></Contents>`,
    )
    const more = keys.length > page.length
    const next = more
      ? `<NextContinuationToken>${xml(page.at(-1) ?? '')}</NextContinuationToken>`
      : ''
    const text = `<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><IsTruncated>${more}</IsTruncated>${next}${rows.join('')}</ListBucketResult>`
    response.writeHead(200, { 'content-type': 'application/xml' }).end(text)
  }

  function begin({ key }: Call, response: ServerResponse): void {
    const id = `upload+${uploads.size + 1}/=`
    uploads.set(id, { key, parts: new Map() })
    const text = `<InitiateMultipartUploadResult><Key>${xml(key)}</Key><UploadId>${id}</UploadId></InitiateMultipartUploadResult>`
    response.writeHead(200).end(text)
  }

  function listUploads({ query }: Call, response: ServerResponse): void {
    const rows = [...uploads]
      .filter(([, { key }]) => key.startsWith(query.get('prefix') ?? ''))
      .map(([id, { key }]) => `<Upload><Key>${xml(key)}</Key><UploadId>${id}</UploadId></Upload>`)
    response
      .writeHead(200)
      .end(`<ListMultipartUploadsResult>${rows.join('')}</ListMultipartUploadsResult>`)
  }

  function inUpload(call: Call, response: ServerResponse): void {
    const { method, key, query, body } = call
    const id = query.get('uploadId') ?? ''
    const upload = uploads.get(id)
    if (upload?.key !== key) return refuse(response, 404, 'NoSuchUpload', 'no such upload')
    if (method === 'PUT') {
      upload.parts.set(Number(query.get('partNumber')), body)
      response.writeHead(200, { etag: etagOf(body) }).end()
    } else if (method === 'DELETE') {
      uploads.delete(id)
      response.writeHead(204).end()
    } else complete({ ...call, id, upload }, response)
  }

  function complete(
    { key, id, upload, body }: Call & { id: string; upload: Upload },
    response: ServerResponse,
  ): void {
    const told = [...String(body).matchAll(/<PartNumber>(\d+)<\/PartNumber><ETag>(.*?)<\/ETag>/g)]
    const parts = told.map(([, number]) => upload.parts.get(Number(number)) ?? Buffer.alloc(0))
    const same = told.every(
      ([, , etag], i) => etag?.replaceAll('&#34;', '"') === etagOf(parts[i] ?? Buffer.alloc(0)),
    )
    if (told.length === 0 || !same) return refuse(response, 400, 'InvalidPart', 'another part')
    if (
      parts
        .slice(0, -1)
        .some(({ length }) => length < settings.minPartBytes || length !== parts[0]?.length)
    )
      return refuse(response, 400, 'EntityTooSmall', 'a part is too small, or unlike the others')
    const whole = Buffer.concat(parts)
    objects.set(key, whole)
    etags.set(key, `"${createHash('md5').update(whole).digest('hex')}-${parts.length}"`)
    uploads.delete(id)
    response
      .writeHead(200)
      .end(
        `<CompleteMultipartUploadResult><ETag>${xml(etags.get(key) ?? '')}</ETag></CompleteMultipartUploadResult>`,
      )
  }

  const etags = new Map<string, string>()
  const server = createServer((request, response) => {
    take(request, response).catch(() => response.destroy())
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const port = typeof address === 'object' ? address?.port : 0
  return {
    port,
    endpoint: `http://127.0.0.1:${port}`,
    settings,
    objects,
    uploads,
    /** Method and path of each request, in order. */
    asked,
    /** Bytes of the largest object or part that came. */
    largest: () => largest,
    /** The next request like that is answered so, or by a broken connection (null). */
    fail: (status: number | null, code = 'InternalError', when = /^/) =>
      void troubles.push({
        when,
        happens(response) {
          if (status === null) response.destroy()
          else refuse(response, status, code, 'as the test wants it')
          return true
        },
      }),
    /** The next request like that is carried out, and its answer lost. */
    loseAnswer: (when: RegExp) =>
      void troubles.push({
        when,
        happens(response) {
          response.end = () => response.destroy()
          return false
        },
      }),
    /** The next downloads break off after so many bytes. */
    cut: (...bytes: number[]) => void (cutAfter = bytes),
    close: () => {
      server.closeAllConnections()
      server.close()
    },
  }
}

const DEFAULTS = {
  bucket: 'snapshots',
  region: 'eu-test-1',
  accessKeyId: 'AKIDEXAMPLE',
  secretAccessKey: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY',
  sessionToken: null as string | null,
  minPartBytes: 0,
  page: 1000,
}

/** Virtual-host style by the host, path style otherwise. */
function addressed({ hostname, pathname }: URL, bucket: string): [string, string] {
  if (hostname.startsWith(`${bucket}.`)) return [bucket, pathname.slice(1)]
  const [, first = '', ...rest] = pathname.split('/')
  return [first, rest.join('/')]
}

type Signed = Pick<IncomingMessage, 'method' | 'url' | 'headers'>

/** Null, or the code with which S3 would refuse. https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html */
export function whyNotSigned(
  { method, url = '', headers }: Signed,
  body: Uint8Array,
  { accessKeyId, secretAccessKey, region, sessionToken = null }: FakeS3Options,
): string | null {
  const [, id, date, scope, names = '', signature] =
    /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^,]+), ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$/.exec(
      headers.authorization ?? '',
    ) ?? []
  if (id === undefined || date === undefined) return 'AccessDenied'
  if (id !== accessKeyId) return 'InvalidAccessKeyId'
  if (scope !== `${region}/s3/aws4_request`) return 'AuthorizationHeaderMalformed'
  if ((headers['x-amz-security-token'] ?? null) !== sessionToken) return 'InvalidToken'
  const time = String(headers['x-amz-date'])
  const hash = String(headers['x-amz-content-sha256'])
  const signed = names.split(';')
  const must = ['host', ...Object.keys(headers).filter((name) => name.startsWith('x-amz-'))]
  if (!time.startsWith(date) || must.some((name) => !signed.includes(name))) return 'AccessDenied'
  if (hash !== hex(body)) return 'XAmzContentSHA256Mismatch'
  const [path = '', query = ''] = url.split('?')
  const pairs =
    query === '' ? [] : query.split('&').map((pair) => (pair.includes('=') ? pair : `${pair}=`))
  const canonical = [
    method,
    path,
    pairs
      .map((pair) => strictly(pair))
      .toSorted()
      .join('&'),
    ...signed.map((name) => `${name}:${String(headers[name]).trim().replace(/ +/g, ' ')}`),
    '',
    names,
    hash,
  ].join('\n')
  const text = ['AWS4-HMAC-SHA256', time, `${date}/${scope}`, hex(canonical)].join('\n')
  const key = [date, region ?? '', 's3', 'aws4_request'].reduce<Buffer | string>(
    (secret, word) => createHmac('sha256', secret).update(word).digest(),
    `AWS4${secretAccessKey}`,
  )
  const wanted = createHmac('sha256', key).update(text).digest('hex')
  return wanted === signature ? null : 'SignatureDoesNotMatch'
}

/** As RFC 3986 has it, whatever the client wrote: `+` is a space in a query. */
const strictly = (pair: string): string =>
  pair
    .split('=')
    .map((part) =>
      encodeURIComponent(decodeURIComponent(part.replaceAll('+', '%20'))).replace(
        /[!'()*]/g,
        (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
      ),
    )
    .join('=')

const hex = (data: string | Uint8Array): string => createHash('sha256').update(data).digest('hex')
const etagOf = (body: Uint8Array): string => `"${createHash('md5').update(body).digest('hex')}"`
const xml = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')

function refuse(response: ServerResponse, status: number, code: string, message: string): void {
  const text = `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>${message}</Message></Error>`
  response.writeHead(status, { 'content-type': 'application/xml' }).end(text)
}
