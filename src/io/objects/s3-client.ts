/**
 * Signed requests to one bucket of an S3-compatible service: AWS Signature V4 by `aws4fetch`, with the payload's hash,
 * so that no byte changes on the way unseen. What may pass is tried again; what will not is said with its setting.
 * https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
 */
import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { AwsV4Signer } from 'aws4fetch'
import { Fault, reasonOf } from '../../core/base/refusal.ts'
import { textIn } from './s3-xml.ts'

export type S3Place = {
  readonly bucket: string
  /** `http(s)://host[:port]`; null: Amazon's own for the region. */
  readonly endpoint: string | null
  readonly region: string
  /** `endpoint/bucket/name` when true, `bucket.endpoint/name` when false. */
  readonly pathStyle: boolean
  readonly accessKeyId: string
  readonly secretAccessKey: string
  /** Of temporary credentials. */
  readonly sessionToken: string | null
}

export type S3Request = {
  readonly method: 'GET' | 'PUT' | 'POST' | 'DELETE' | 'HEAD'
  /** Empty: the bucket itself. */
  readonly key: string
  readonly query?: Readonly<Record<string, string>>
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Uint8Array<ArrayBuffer>
  /** Statuses that are answers as good as 2xx. */
  readonly also?: readonly number[]
}

const TRIES = 4
/** Doubled with each try. */
const PAUSE_MS = 250
/** Until the answer begins: a part of the largest size, over a slow line. */
const ANSWER_MS = 5 * 60_000
/** What passes by itself. */
const PASSING: ReadonlySet<string> = new Set([
  'InternalError',
  'OperationAborted',
  'RequestTimeout',
  'ServiceUnavailable',
  'SlowDown',
])

export class S3Client {
  readonly #place: S3Place
  readonly #base: URL
  readonly #pauseMs: number

  constructor(place: S3Place, pauseMs = PAUSE_MS) {
    this.#place = place
    this.#pauseMs = pauseMs
    const { bucket, endpoint, region, pathStyle } = place
    const base = new URL(endpoint ?? `https://s3.${region}.amazonaws.com`)
    if (pathStyle) base.pathname = `${base.pathname.replace(/\/$/, '')}/${bucket}`
    else base.hostname = `${bucket}.${base.hostname}`
    this.#base = base
  }

  /** Throws Fault `objects_unavailable` (retryable) or `objects_refused`; both name bucket and setting. */
  async ask(request: S3Request): Promise<Response> {
    for (let tries = 1; ; tries++) {
      const answer = await this.#try(request)
      // Not `instanceof Response`: an HTTP framework may have put another class in its place.
      if (!(answer instanceof Fault)) return answer
      if (!answer.retryable || tries === TRIES) throw answer
      await sleep(this.#pauseMs * 2 ** (tries - 1) * (0.5 + Math.random()))
    }
  }

  /** The same, where the answer's body says nothing: its connection is free again. */
  async tell(request: S3Request): Promise<Pick<Response, 'ok' | 'headers'>> {
    const answer = await this.ask(request)
    await answer.body?.cancel()
    return answer
  }

  async #try(request: S3Request): Promise<Response | Fault> {
    let response: Response
    try {
      response = await this.#send(request)
      if (response.ok || request.also?.includes(response.status)) return response
      // A server that is told to look elsewhere says where in words.
      const text = await response.text()
      return this.#refusal(request, response.status, text)
    } catch (error) {
      return new Fault(
        'objects_unavailable',
        `${this.#name} cannot be reached: ${rootReason(error)}. Check --s3-endpoint.`,
        { cause: error, retryable: true },
      )
    }
  }

  async #send({ method, key, query, headers, body }: S3Request): Promise<Response> {
    const url = new URL(this.#base)
    url.pathname = `${url.pathname.replace(/\/$/, '')}/${key}`
    for (const [name, value] of Object.entries(query ?? {})) url.searchParams.set(name, value)
    const { accessKeyId, secretAccessKey, sessionToken, region } = this.#place
    const hash = createHash('sha256').update(body ?? '')
    const signer = new AwsV4Signer({
      method,
      url: url.href,
      headers: { ...headers, 'x-amz-content-sha256': hash.digest('hex') },
      accessKeyId,
      secretAccessKey,
      ...(sessionToken !== null && { sessionToken }),
      service: 's3',
      region,
    })
    const signed = await signer.sign()
    const limit = new AbortController()
    const timer = setTimeout(() => limit.abort(new Error('no answer in time')), ANSWER_MS)
    try {
      return await fetch(signed.url, {
        method,
        headers: signed.headers,
        body: body ?? null,
        // Signatures are for one host: another one's answer would be refused anyway, with less to read.
        redirect: 'manual',
        signal: limit.signal,
      })
    } finally {
      clearTimeout(timer)
    }
  }

  #refusal({ method }: S3Request, status: number, text: string): Fault {
    const code = textIn(text, 'Code') ?? `status ${status}`
    const said = clipped(textIn(text, 'Message') ?? '')
    const passes = status >= 500 || status === 429 || PASSING.has(code)
    const what = `${this.#name} answered ${method} with ${status} ${code}${said && `: ${said}`}.`
    return new Fault(
      passes ? 'objects_unavailable' : 'objects_refused',
      passes ? what : `${what} ${helpFor(code, status)}`,
      { retryable: passes },
    )
  }

  get #name(): string {
    return `bucket ${this.#place.bucket} at ${this.#base.host}`
  }
}

const RIGHTS =
  's3:ListBucket, s3:GetObject, s3:PutObject, s3:DeleteObject, s3:AbortMultipartUpload and s3:ListBucketMultipartUploads'

const HELP: Readonly<Record<string, string>> = {
  NoSuchBucket: 'Make the bucket, or name another with --snapshots.',
  InvalidAccessKeyId: 'Check AWS_ACCESS_KEY_ID (or BASELOAD_S3_ACCESS_KEY_ID).',
  SignatureDoesNotMatch:
    'Check AWS_SECRET_ACCESS_KEY (or BASELOAD_S3_SECRET_ACCESS_KEY) and --s3-region.',
  ExpiredToken: 'Renew AWS_SESSION_TOKEN with its keys.',
  InvalidToken: 'Check AWS_SESSION_TOKEN: it belongs to temporary keys only.',
  AccessDenied: `The key needs ${RIGHTS}.`,
  RequestTimeTooSkewed: "Set this machine's clock.",
  AuthorizationHeaderMalformed: 'Check --s3-region.',
  PermanentRedirect: 'Check --s3-region and --s3-endpoint.',
}

const helpFor = (code: string, status: number): string =>
  HELP[code] ??
  (status >= 300 && status < 400
    ? 'Check --s3-region and --s3-endpoint.'
    : 'Check --s3-endpoint, and the bucket in --snapshots.')

const clipped = (text: string): string =>
  text.replace(/\s+/g, ' ').trim().replace(/\.$/, '').slice(0, 200)

/** fetch says "fetch failed"; its cause says why. */
function rootReason(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  if (error.cause !== undefined) return rootReason(error.cause)
  return reasonOf(error) || error.name
}
