import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { obtainModelFile, type ObtainOptions } from './obtain-model-file.ts'

const timeout = 20_000

/** Large enough to arrive in several packets. */
const FILE = Buffer.concat([Buffer.from('GGUF'), Buffer.alloc(900_000, 'weights')])
const SHA256 = createHash('sha256').update(FILE).digest('hex')

describe('obtainModelFile, from a web server', () => {
  it('downloads, checks and pins', { timeout }, async (t) => {
    const { url, folder, options, seen } = await setup(t)
    const progress: (number | null)[] = []
    const file = await obtainModelFile(url, {
      ...options,
      expectedSha256: SHA256.toUpperCase(),
      progress: ({ bytes, totalBytes, etaS }) => progress.push(bytes, totalBytes, etaS),
    })
    assert.deepEqual([file.sha256, file.bytes], [SHA256, FILE.length])
    assert.deepEqual(await readFile(file.path), FILE)
    assert.deepEqual(progress.slice(-3), [FILE.length, FILE.length, 0])
    assert.deepEqual(await leftovers(folder), ['model.gguf', 'model.gguf.pin.json'])

    assert.deepEqual(await obtainModelFile(url, options), file, 'the second call finds it')
    assert.equal(seen.length, 1)
  })

  it('goes on where the connection was cut, wherever that is', { timeout }, async (t) => {
    const { url, options, seen, server } = await setup(t)
    const cuts = [1, 3, 4, 65_536, 700_001, FILE.length - 1]
    server.sends = () => cuts.shift() ?? Infinity
    const file = await obtainModelFile(url, options)
    assert.equal(file.sha256, SHA256)
    assert.ok(seen.length > 4)
    for (const { headers } of seen.slice(1).filter((one) => one.headers.range))
      assert.equal(headers['if-range'], '"v1"')
  })

  it('goes on after a restart of the node', { timeout }, async (t) => {
    const { url, options, seen, server } = await setup(t)
    server.sends = () => 500_000
    await assert.rejects(obtainModelFile(url, { ...options, attempts: 1 }), {
      code: 'model_download',
      retryable: true,
    })
    server.sends = () => Infinity
    assert.equal((await obtainModelFile(url, options)).sha256, SHA256)
    assert.match(String(seen.at(-1)?.headers.range), /^bytes=[1-9]\d{4,5}-$/)
  })

  it('finishes a part that was whole already', { timeout }, async (t) => {
    const { url, options, server, folder } = await setup(t)
    server.sends = () => 500_000
    await assert.rejects(obtainModelFile(url, { ...options, attempts: 1 }))
    const [place = ''] = await readdir(folder)
    await writeFile(join(folder, place, 'model.gguf.part'), FILE)
    server.sends = () => Infinity
    assert.equal((await obtainModelFile(url, options)).sha256, SHA256)
  })

  it('starts again at a server that ignores ranges', { timeout }, async (t) => {
    const { url, options, server, said } = await setup(t)
    server.ranges = false
    const cuts = [400_000]
    server.sends = () => cuts.shift() ?? Infinity
    assert.equal((await obtainModelFile(url, options)).sha256, SHA256)
    assert.ok(said.some((line) => line.includes('starting again')))
  })

  it('starts again when the file changed meanwhile', { timeout }, async (t) => {
    const { url, options, server } = await setup(t)
    server.file = Buffer.concat([FILE, Buffer.from('old')])
    server.sends = () => {
      server.file = FILE
      server.etag = '"v2"'
      server.sends = () => Infinity
      return 400_000
    }
    assert.equal((await obtainModelFile(url, options)).sha256, SHA256)
  })

  it('refuses another hash, and leaves nothing of it', { timeout }, async (t) => {
    const { url, options, folder } = await setup(t)
    const wanted = { ...options, expectedSha256: 'a'.repeat(64) }
    await assert.rejects(obtainModelFile(url, wanted), { code: 'model_file_wrong_hash' })
    assert.deepEqual(await leftovers(folder), [])
  })

  it('stops a login page at its first bytes', { timeout }, async (t) => {
    const { url, options, server } = await setup(t)
    server.file = Buffer.from('<!doctype html><title>Please log in</title>')
    await assert.rejects(obtainModelFile(url, options), { code: 'model_file_not_gguf' })
  })

  it('asks for room on the disk first, and keeps to the limit', { timeout }, async (t) => {
    const { url, options } = await setup(t)
    const full = { ...options, freeBytes: () => Promise.resolve(FILE.length) }
    await assert.rejects(obtainModelFile(url, full), { code: 'disk_full', message: /257 MiB/ })
    await assert.rejects(obtainModelFile(url, { ...options, maxBytes: 1000 }), {
      code: 'model_file_too_large',
    })
  })

  it('tells a missing file, a closed door and a broken server apart', { timeout }, async (t) => {
    const { url, options, server, seen } = await setup(t)
    server.status = 404
    await assert.rejects(obtainModelFile(url, options), { code: 'model_file_missing' })
    server.status = 403
    await assert.rejects(obtainModelFile(url, options), { code: 'model_download_denied' })
    assert.equal(seen.length, 2)
    server.status = 502
    await assert.rejects(obtainModelFile(url, { ...options, attempts: 3 }), { retryable: true })
    assert.equal(seen.length, 5)
  })

  it('lets two nodes ask at once and downloads once', { timeout }, async (t) => {
    const { url, options, seen } = await setup(t)
    const files = await Promise.all([obtainModelFile(url, options), obtainModelFile(url, options)])
    assert.deepEqual(files[0], files[1])
    assert.equal(seen.length, 1)
  })

  it('stops when told to, and keeps the part', { timeout }, async (t) => {
    const { url, options, folder, server } = await setup(t)
    const abort = new AbortController()
    server.sends = () => {
      setImmediate(() => abort.abort(new Error('told to')))
      return 0
    }
    await assert.rejects(obtainModelFile(url, { ...options, signal: abort.signal }), /told to/)
    assert.deepEqual(await leftovers(folder), ['model.gguf.part'])
  })
})

describe('obtainModelFile, from Hugging Face', () => {
  it('sends the token to its own server and to no other', { timeout }, async (t) => {
    const { options, seen, server } = await setup(t)
    const other = await setup(t)
    server.redirect = `${other.url}?signature=x`
    server.linkedSha256 = SHA256
    const env = { HF_ENDPOINT: `${server.origin}/`, HF_TOKEN: 'hf_secret' }
    const file = await obtainModelFile('hf:org/repo/sub/model.gguf', { ...options, env })
    assert.equal(file.sha256, SHA256)
    assert.equal(seen[0]?.url, '/org/repo/resolve/main/sub/model.gguf')
    assert.equal(seen[0]?.headers.authorization, 'Bearer hf_secret')
    assert.equal(other.seen[0]?.headers.authorization, undefined)
  })

  it('checks the hash that the source tells', { timeout }, async (t) => {
    const { options, server } = await setup(t)
    server.linkedSha256 = 'b'.repeat(64)
    const env = { HF_ENDPOINT: server.origin }
    await assert.rejects(obtainModelFile('hf:org/repo/model.gguf', { ...options, env }), {
      code: 'model_file_wrong_hash',
    })
  })

  it('gives up on redirects in a circle', { timeout }, async (t) => {
    const { url, options, server, seen } = await setup(t)
    server.redirect = url
    await assert.rejects(obtainModelFile(url, options), { code: 'model_redirect' })
    assert.equal(seen.length, 6)
  })
})

describe('obtainModelFile, from a path', () => {
  it('pins a file, and refuses it by name when it changed', { timeout }, async (t) => {
    const { folder, options } = await setup(t)
    const path = join(folder, 'own.gguf')
    await writeFile(path, FILE)
    const file = await obtainModelFile(path, options)
    assert.deepEqual(file, { path, sha256: SHA256, bytes: FILE.length })
    assert.equal((await stat(join(folder, 'pins'))).mode & 0o777, 0o700)

    await utimes(path, 1, 1)
    assert.deepEqual(await obtainModelFile(path, options), file, 'a new date is not a new file')

    await writeFile(path, Buffer.concat([FILE, FILE]))
    await assert.rejects(obtainModelFile(path, options), {
      code: 'model_file_changed',
      message: /own\.gguf is not the file it was.*remove .*own\.gguf-[0-9a-f]{8}\.json/,
    })
  })

  it(
    'refuses what is missing, a folder, no GGUF, or not what was expected',
    { timeout },
    async (t) => {
      const { folder, options } = await setup(t)
      const path = join(folder, 'own.gguf')
      await assert.rejects(obtainModelFile(path, options), { code: 'model_file_missing' })
      await writeFile(path, 'GGML')
      await assert.rejects(obtainModelFile(path, options), { code: 'model_file_not_gguf' })
      await writeFile(path, FILE)
      const wanted = { ...options, expectedSha256: 'a'.repeat(64) }
      await assert.rejects(obtainModelFile(path, wanted), { code: 'model_file_wrong_hash' })
    },
  )
})

/** A web server with one file, and a folder to download into. */
async function setup(t: TestContext) {
  const folder = await mkdtemp(join(tmpdir(), 'baseload-model-'))
  const seen: IncomingMessage[] = []
  const said: string[] = []
  const behaviour = {
    origin: '',
    file: FILE,
    etag: '"v1"',
    status: 200,
    ranges: true,
    redirect: null as string | null,
    linkedSha256: null as string | null,
    /** Bytes of this connection before it is cut. */
    sends: (): number => Infinity,
  }
  const server = createServer((request, response) => {
    seen.push(request)
    answer(behaviour, request, response)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  assert(address !== null && typeof address === 'object')
  behaviour.origin = `http://127.0.0.1:${address.port}`
  t.after(async () => {
    server.closeAllConnections()
    server.close()
    await rm(folder, { recursive: true })
  })
  const options: ObtainOptions = {
    folder,
    signal: new AbortController().signal,
    env: {},
    retryMs: 1,
    say: (line) => said.push(line),
  }
  return { url: `${behaviour.origin}/model.gguf`, folder, options, seen, said, server: behaviour }
}

type Behaviour = Awaited<ReturnType<typeof setup>>['server']

function answer(server: Behaviour, request: IncomingMessage, response: ServerResponse): void {
  const { file, etag, linkedSha256, redirect } = server
  if (linkedSha256 !== null) response.setHeader('x-linked-etag', `"${linkedSha256}"`)
  if (redirect !== null) return void response.writeHead(302, { location: redirect }).end()
  if (server.status !== 200) return void response.writeHead(server.status).end()
  const asked = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0)
  const from = server.ranges && request.headers['if-range'] === etag ? asked : 0
  if (from >= file.length)
    return void response.writeHead(416, { 'content-range': `bytes */${file.length}` }).end()
  const end = from + server.sends()
  const range = { 'content-range': `bytes ${from}-${file.length - 1}/${file.length}` }
  response.writeHead(from > 0 ? 206 : 200, {
    etag,
    'content-length': file.length - from,
    ...(from > 0 && range),
  })
  response.write(file.subarray(from, end), () => {
    if (end < file.length) response.destroy()
    else response.end()
  })
}

/** Files below the folder's one place, without the part's own note. */
async function leftovers(folder: string): Promise<string[]> {
  const paths = await readdir(folder, { recursive: true })
  return paths
    .filter((path) => path.includes('/') && !path.endsWith('.part.json'))
    .map((path) => path.slice(path.indexOf('/') + 1))
    .toSorted()
}
