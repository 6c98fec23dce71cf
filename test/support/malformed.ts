/** What a hostile or broken client sends: bodies and requests, drawn by fast-check from one seed. */
import fc from 'fast-check'

const valid = {
  model: 'words',
  messages: [{ role: 'user', content: 'hello' }],
  max_tokens: 4,
  temperature: 0,
  top_p: 1,
  n: 1,
  seed: 1,
  stop: ['x'],
  stream: false,
  stream_options: null,
  logprobs: false,
  top_logprobs: null,
  response_format: { type: 'text' },
  provider: { sort: 'price' },
  models: [],
  user: 'u',
  tools: [],
}
const FIELDS = Object.keys(valid)
const validBytes = Buffer.from(JSON.stringify(valid))

/** A value that fits no field. */
const misfit = fc.oneof(
  fc.constantFrom<unknown>(-1, 1.5, 1e300, {}, [[]], [null], [{}], { type: 'x' }, '\u0000', true),
  fc.array(fc.constantFrom<unknown>(null, 0, '', {}), { minLength: 1, maxLength: 30 }),
  fc
    .record({ role: fc.string(), content: fc.constantFrom<unknown>(1, {}, [1]) })
    .map((one) => [one]),
)

const deep = fc
  .record({ depth: fc.integer({ min: 100, max: 5_000 }), open: fc.constantFrom('[', '{"a":') })
  .map(({ depth, open }) => `{"model":"words","messages":${open.repeat(depth)}`)
const deepAndWhole = fc
  .integer({ min: 100, max: 5_000 })
  .map((depth) => `{"model":"words","messages":${'['.repeat(depth)}${']'.repeat(depth)}}`)

/** Bodies of the model routes, nearly all of them wrong. */
export const body: fc.Arbitrary<Buffer> = fc.oneof(
  fc.json({ maxDepth: 3 }).map((text) => Buffer.from(text)),
  fc
    .tuple(fc.constantFrom(...FIELDS), misfit)
    .map(([field, value]) => Buffer.from(JSON.stringify({ ...valid, [field]: value }))),
  fc
    .string({ maxLength: 20 })
    .map((field) => Buffer.from(JSON.stringify({ ...valid, [`_${field}`]: 1 }))),
  fc.nat(validBytes.length - 1).map((length) => validBytes.subarray(0, length)),
  fc
    .tuple(fc.nat(validBytes.length - 1), fc.integer({ min: 0x80, max: 0xff }))
    .map(([at, byte]) => {
      const broken = Buffer.from(validBytes)
      broken[at] = byte
      return broken
    }),
  fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes)),
  { weight: 1, arbitrary: fc.oneof(deep, deepAndWhole).map((text) => Buffer.from(text)) },
)

const PATHS = ['/v1/chat/completions', '/v1/completions', '/v1/embeddings'] as const

/** Whole HTTP requests with such a body: each is answered, and the connection stays open. */
export const requestOf = (key: string): fc.Arbitrary<Buffer> =>
  fc
    .record({
      path: fc.oneof(
        { weight: 20, arbitrary: fc.constantFrom<string>(...PATHS) },
        { weight: 1, arbitrary: fc.constantFrom('/v1/keys', '/v1/keys/key_1', '/v1/nothing') },
      ),
      body,
      wrongKey: fc.nat(9).map((one) => one === 0),
      chunked: fc.boolean(),
    })
    .map(({ path, body: whole, wrongKey, chunked: wanted }) => {
      // What is refused before its body is read closes the connection, unless so little is left.
      const early = wrongKey || path === '/v1/nothing'
      const bytes = early || path.startsWith('/v1/keys') ? whole.subarray(0, 1_000) : whole
      const chunked = wanted && !early
      const head = `POST ${path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${wrongKey ? 'wrong' : key}\r\ncontent-type: application/json\r\n`
      return chunked && bytes.length > 0
        ? Buffer.concat([
            Buffer.from(
              `${head}transfer-encoding: chunked\r\n\r\n${bytes.length.toString(16)}\r\n`,
            ),
            bytes,
            Buffer.from('\r\n0\r\n\r\n'),
          ])
        : Buffer.concat([Buffer.from(`${head}content-length: ${bytes.length}\r\n\r\n`), bytes])
    })

const post = 'POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n'

/** An empty line before a request is no request yet. */
const saysSomething = (bytes: Uint8Array): boolean =>
  bytes.some((byte) => byte !== 0x0a && byte !== 0x0d)

/** Bytes that are hardly HTTP; the sender says no more after them. */
export const garbage: fc.Arbitrary<Buffer> = fc.oneof(
  fc
    .uint8Array({ minLength: 1, maxLength: 300 })
    .filter(saysSomething)
    .map((bytes) => Buffer.from(bytes)),
  fc.nat(post.length - 1).map((length) => Buffer.from(post.slice(0, length + 1))),
  fc
    .constantFrom(
      `${post}content-length: -1\r\n\r\n`,
      `${post}content-length: 1e3\r\n\r\n`,
      `${post}content-length: 99999999999999999999\r\n\r\n`,
      `${post}content-length: 3\r\ncontent-length: 4\r\n\r\nabcd`,
      `${post}content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`,
      `${post}transfer-encoding: gzip, chunked\r\n\r\nxyz`,
      `${post}transfer-encoding: chunked\r\n\r\nxyz\r\n`,
      `${post}transfer-encoding: chunked\r\n\r\n5;${'e'.repeat(20_000)}\r\nhello\r\n0\r\n\r\n`,
      `${post}transfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n`,
      `${post}content-length: 1000\r\n\r\n{"model":`,
      `${post}x: ${'y'.repeat(20_000)}\r\n\r\n`,
      `${post}${'x: y\r\n'.repeat(4_000)}\r\n`,
      `${post}bad header\r\n\r\n`,
      `${post}bad\u0000name: x\r\n\r\n`,
      'GET / HTTP/9.9\r\n\r\n',
      'GET /\r\n\r\n',
      'GET / HTTP/1.1\r\n\r\n',
      'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
      'CONNECT example.com:443 HTTP/1.1\r\nhost: x\r\n\r\n',
      'GET http://example.com/v1/models HTTP/1.1\r\nhost: x\r\n\r\n',
      'GET /v1/models/%ff%fe HTTP/1.1\r\nhost: x\r\n\r\n',
      'GET /v1/models/%E0%A4%A HTTP/1.1\r\nhost: x\r\n\r\n',
      'GET //example.com/..%2f HTTP/1.1\r\nhost: x\r\n\r\n',
      'GET /v1/usage?since=%ff HTTP/1.1\r\nhost: [::1\r\n\r\n',
      'DELETE * HTTP/1.1\r\nhost: x\r\n\r\n',
      `${post}expect: the-unexpected\r\ncontent-length: 2\r\n\r\n{}`,
      `${post}connection: upgrade\r\nupgrade: h2c\r\ncontent-length: 2\r\n\r\n{}`,
      'GET /v1/nodes/link HTTP/1.1\r\nhost: x\r\n\r\n',
      'GET /v1/nodes/link HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n',
      'GET /v1/nodes/link HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 1\r\nsec-websocket-key: x\r\n\r\n',
      '\u0016\u0003\u0001\u0002\u0000\u0001\u0000\u0001\u00fc\u0003\u0003',
    )
    .map((text) => Buffer.from(text, 'latin1')),
)
