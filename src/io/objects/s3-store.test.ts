import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import dns from 'node:dns'
import { Readable } from 'node:stream'
import { buffer, text } from 'node:stream/consumers'
import { describe, it, type TestContext } from 'node:test'
import { fakeS3, whyNotSigned, type FakeS3Options } from './fake-s3.ts'
import { S3Store, type S3Options } from './s3-store.ts'

const timeout = 30_000
const MIB = 2 ** 20

describe('a bucket as object store', () => {
  it('has each name behind its prefix, and none without one', { timeout }, async (t) => {
    const { store, s3 } = await setup(t)
    await store.put('a', Readable.from(['x']), 9)
    assert.deepEqual([...s3.objects.keys()], ['net/a'])
    const bare = await setup(t, {}, { prefix: '' })
    await bare.store.put('a', Readable.from(['x']), 9)
    assert.deepEqual([...bare.s3.objects.keys()], ['a'])
    assert.match(bare.store.place, /^s3:\/\/snapshots\/ at 127\.0\.0\.1:\d+$/)
  })

  it('holds one part in memory, however large the object', { timeout }, async (t) => {
    const { store, s3 } = await setup(t)
    const count = 400
    const chunk = randomBytes(MIB / 8)
    let ahead = 0
    async function* slowly() {
      for (let i = 0; i < count; i++) {
        // What the store has taken of the source is at most two parts ahead of what has gone up.
        const up = [...s3.uploads.values()].flatMap(({ parts }) => [...parts.values()])
        const sent = up.reduce((sum, { length }) => sum + length, 0)
        ahead = Math.max(ahead, i * chunk.length - sent)
        yield chunk
        await Promise.resolve()
      }
    }
    const total = count * chunk.length
    assert.equal(
      await store.put('large', Readable.from(slowly(), { highWaterMark: 1 }), total),
      total,
    )
    assert.ok(ahead <= 17 * MIB, `${ahead} bytes were held`)
    assert.equal(s3.largest(), 8 * MIB)
  })

  it(
    'makes parts large enough that ten thousand of them hold the limit',
    { timeout },
    async (t) => {
      const { store, s3 } = await setup(t, {}, { partBytes: 10 })
      await store.put('a', Readable.from([randomBytes(1_234)]), 500_000)
      assert.equal(s3.largest(), 50)
    },
  )

  it('tries again what passes, and goes on where a download broke off', { timeout }, async (t) => {
    const { store, s3 } = await setup(t)
    const bytes = randomBytes(20 * MIB)
    s3.fail(503, 'SlowDown')
    s3.fail(null)
    s3.fail(500)
    await store.put('a', Readable.from([bytes]), bytes.length)
    s3.fail(null)
    s3.cut(3 * MIB, 1000, 7 * MIB)
    const back = await store.get('a')
    assert.ok(back && (await buffer(back)).equals(bytes))
  })

  it('gives up after four tries, and says that it may pass', { timeout }, async (t) => {
    const { store, s3 } = await setup(t)
    for (let i = 0; i < 4; i++) s3.fail(503, 'SlowDown')
    await assert.rejects(store.put('a', Readable.from(['x']), 9), {
      code: 'objects_unavailable',
      retryable: true,
      message: /bucket snapshots at 127.* 503 SlowDown/,
    })
    assert.equal(s3.asked.length, 4)
  })

  it('breaks the stream when the object is replaced under a download', { timeout }, async (t) => {
    const { store, s3 } = await setup(t)
    await store.put('a', Readable.from([randomBytes(MIB)]), MIB)
    s3.cut(1000)
    const back = await store.get('a')
    await store.put('a', Readable.from([randomBytes(MIB)]), MIB)
    assert.ok(back)
    await assert.rejects(buffer(back), /PreconditionFailed/)
  })

  it('knows an upload whose answer was lost for complete', { timeout }, async (t) => {
    const { store, s3 } = await setup(t, {}, { partBytes: 10 })
    s3.loseAnswer(/^POST .*uploadId/)
    await store.put('a', Readable.from([Buffer.alloc(25, 'x')]), 99)
    assert.equal(s3.objects.get('net/a')?.length, 25)
    assert.equal(s3.asked.filter((call) => /^POST .*uploadId/.test(call)).length, 2)
    s3.fail(404, 'NoSuchUpload', /^POST .*uploadId/)
    await assert.rejects(store.put('b', Readable.from([Buffer.alloc(25)]), 99), /not completed/)
    assert.deepEqual([...s3.objects.keys()], ['net/a'])
    assert.equal(s3.uploads.size, 0)
  })

  it('removes what a crash left of an upload', { timeout }, async (t) => {
    const { store, s3 } = await setup(t)
    s3.uploads.set('dead', { key: 'net/a', parts: new Map() })
    s3.uploads.set('alive', { key: 'net/ab', parts: new Map() })
    await store.remove('a')
    assert.deepEqual([...s3.uploads.keys()], ['alive'])
  })

  it('speaks virtual-host style too', { timeout }, async (t) => {
    const s3 = await fakeS3()
    t.after(s3.close)
    t.mock.method(dns, 'lookup', (name: string, _options: unknown, done: LookedUp) => {
      assert.equal(name, 'snapshots.s3.example')
      done(null, [{ address: '127.0.0.1', family: 4 }])
    })
    const endpoint = `http://s3.example:${s3.port}`
    const store = new S3Store({ ...optionsOf(s3), endpoint, pathStyle: false })
    await store.put('a', Readable.from([randomBytes(9 * MIB)]), 9 * MIB)
    assert.equal((await store.list('a')).length, 1)
    assert.ok(s3.asked.every((call) => !call.includes('/snapshots/')))
  })
})

describe('what a bucket refuses', () => {
  const cases: [string, FakeS3Options, Partial<S3Options>, RegExp][] = [
    ['another bucket', {}, { bucket: 'other' }, /bucket other at .*NoSuchBucket.*--snapshots/],
    ['an unknown key', {}, { accessKeyId: 'AKOTHER' }, /InvalidAccessKeyId.*AWS_ACCESS_KEY_ID/],
    ['another secret', {}, { secretAccessKey: 's3cr3t' }, /SignatureDoesNotMatch.*AWS_SECRET/],
    ['another region', {}, { region: 'mars-1' }, /AuthorizationHeaderMalformed.*--s3-region/],
    ['no token', { sessionToken: 'tok' }, {}, /InvalidToken.*AWS_SESSION_TOKEN/],
  ]
  for (const [what, server, client, message] of cases)
    it(
      `${what}: names the setting, is not tried again, tells no secret`,
      { timeout },
      async (t) => {
        const { store, s3, options } = await setup(t, server, client)
        const error: unknown = await store.check().then(
          () => null,
          (thrown: unknown) => thrown,
        )
        assert.ok(error instanceof Error)
        assert.match(error.message, message)
        assert.equal(s3.asked.length, 1)
        for (const secret of [options.secretAccessKey, 'tok', s3.settings.secretAccessKey])
          assert.ok(!JSON.stringify([error.message, error.stack]).includes(secret), secret)
        assert.ok(!JSON.stringify(store).includes(options.secretAccessKey))
      },
    )

  it('a server that is not there: names the setting', { timeout }, async (t) => {
    const { store, s3 } = await setup(t)
    s3.close()
    await assert.rejects(store.check(), {
      retryable: true,
      message: /cannot be reached: .*ECONNREFUSED.*--s3-endpoint/,
    })
  })

  it('temporary credentials are signed with their token', { timeout }, async (t) => {
    const { store } = await setup(t, { sessionToken: 'tok/en+=' }, { sessionToken: 'tok/en+=' })
    await store.check()
  })

  it('a part that was changed on its way', { timeout }, async (t) => {
    const { s3 } = await setup(t)
    const wrong = await fetch(`${s3.endpoint}/snapshots/a`, { method: 'PUT', body: 'x' })
    assert.match(await text(Readable.from([await wrong.text()])), /AccessDenied/)
  })
})

describe('the fake S3', () => {
  it("agrees with Amazon's published example of a signature", () => {
    const headers = {
      authorization:
        'AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41',
      host: 'examplebucket.s3.amazonaws.com',
      range: 'bytes=0-9',
      'x-amz-content-sha256': 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
      'x-amz-date': '20130524T000000Z',
    }
    const settings = {
      accessKeyId: 'AKIAIOSFODNN7EXAMPLE',
      secretAccessKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
      region: 'us-east-1',
    }
    const request = { method: 'GET', url: '/test.txt', headers }
    assert.equal(whyNotSigned(request, Buffer.alloc(0), settings), null)
    const other = { ...request, url: '/test2.txt' }
    assert.equal(whyNotSigned(other, Buffer.alloc(0), settings), 'SignatureDoesNotMatch')
    assert.equal(whyNotSigned(request, Buffer.from('x'), settings), 'XAmzContentSHA256Mismatch')
  })
})

type LookedUp = (error: null, found: readonly dns.LookupAddress[]) => void

const optionsOf = ({ settings, endpoint }: Awaited<ReturnType<typeof fakeS3>>): S3Options => ({
  bucket: settings.bucket,
  prefix: 'net',
  endpoint,
  region: settings.region,
  pathStyle: true,
  accessKeyId: settings.accessKeyId,
  secretAccessKey: settings.secretAccessKey,
  sessionToken: null,
  pauseMs: 1,
})

async function setup(t: TestContext, server: FakeS3Options = {}, client: Partial<S3Options> = {}) {
  const s3 = await fakeS3(server)
  t.after(s3.close)
  const options = { ...optionsOf(s3), ...client }
  return { s3, options, store: new S3Store(options) }
}
