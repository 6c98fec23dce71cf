/** A registry with one image behind a password, as far as engines need it to pull: the distribution protocol over HTTP. */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { promisify } from 'node:util'

const run = promisify(execFile)

const MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json'
const CONFIG = 'application/vnd.docker.container.image.v1+json'
const LAYER = 'application/vnd.docker.image.rootfs.diff.tar'

/** What `archive` holds as its only image is served under any name. https://distribution.github.io/distribution/spec/api */
export async function startRegistry(
  archive: Readable,
  { username, password }: { username: string; password: string },
): Promise<{ host: string; close(): Promise<void> }> {
  const { manifest, blobs } = await unpack(archive)
  const wanted = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`
  const answer = (request: IncomingMessage, response: ServerResponse): void => {
    const { url = '' } = request
    if (request.headers.authorization !== wanted)
      return void response.writeHead(401, { 'www-authenticate': 'Basic realm="test"' }).end()
    const [, digest] = /\/(?:blobs|manifests)\/(.+)$/.exec(url) ?? []
    if (digest === undefined) return void response.writeHead(200).end()
    const isManifest = url.includes('/manifests/')
    const body = isManifest ? manifest : blobs.get(digest)
    if (body === undefined) return void response.writeHead(404).end()
    response.writeHead(200, {
      'content-type': isManifest ? MANIFEST : 'application/octet-stream',
      'content-length': body.length,
      'docker-content-digest': isManifest ? digestOf(manifest) : digest,
    })
    response.end(request.method === 'HEAD' ? undefined : body)
  }
  const server = createServer(answer).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    host: `127.0.0.1:${port}`,
    close: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

async function unpack(
  archive: Readable,
): Promise<{ manifest: Buffer; blobs: Map<string, Buffer> }> {
  const folder = await mkdtemp(join(tmpdir(), 'baseload-registry-'))
  try {
    await pipeline(archive, createWriteStream(join(folder, 'image.tar')))
    await run('tar', ['-C', folder, '-xf', join(folder, 'image.tar')])
    const about: { Config: string; Layers: string[] }[] = JSON.parse(
      await readFile(join(folder, 'manifest.json'), 'utf8'),
    )
    const config = await readFile(join(folder, about[0]?.Config ?? ''))
    const layer = await readFile(join(folder, about[0]?.Layers[0] ?? ''))
    const blob = (mediaType: string, body: Buffer) => ({
      mediaType,
      size: body.length,
      digest: digestOf(body),
    })
    const manifest = {
      schemaVersion: 2,
      mediaType: MANIFEST,
      config: blob(CONFIG, config),
      layers: [blob(LAYER, layer)],
    }
    return {
      manifest: Buffer.from(JSON.stringify(manifest)),
      blobs: new Map([config, layer].map((body) => [digestOf(body), body])),
    }
  } finally {
    await rm(folder, { recursive: true })
  }
}

const digestOf = (body: Buffer): string =>
  `sha256:${createHash('sha256').update(body).digest('hex')}`
