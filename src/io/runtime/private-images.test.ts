import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { Fault } from '../../core/base/refusal.ts'
import { openSocket } from './engine-socket.ts'
import { MAX_BROKEN_OFF, PrivateImages } from './private-images.ts'

const timeout = 20_000

describe('images that came with credentials', { timeout }, () => {
  it('are known by their id from the moment the pull begins, and after a restart', async (t) => {
    const { images, path, open } = await setup(t)
    const known = await open()
    assert.equal(await known.has('id-a'), false)
    await drain(
      known.during(
        'a:1',
        (async function* () {
          assert.match(readFileSync(path, 'utf8'), /"a:1"/)
          assert.equal(statSync(path).mode & 0o777, 0o600)
          images.set('a:1', 'sha256:id-a')
          assert.equal(await known.has('id-a'), true)
          yield 'progress'
        })(),
      ),
    )
    assert.deepEqual(JSON.parse(readFileSync(path, 'utf8')), { v: 1, ids: ['id-a'], pulling: [] })
    images.delete('a:1')
    assert.equal(await (await open()).has('id-a'), true)
  })

  it('are found when the agent died, or gave up, before the engine had finished', async (t) => {
    const { images, open } = await setup(t)
    const known = await open()
    const pull = known.during('a:1', endless())
    await pull.next()
    // The next agent, while this one hangs.
    const next = await open()
    images.set('a:1', 'sha256:id-a')
    assert.equal(await next.has('id-a'), true)
    images.clear()
    await pull.return()
    images.set('a:1', 'sha256:id-b')
    assert.equal(await known.has('id-b'), true)
  })

  it('do not come from a pull that a registry refused', async (t) => {
    const { images, open } = await setup(t)
    const known = await open()
    const refused = (async function* (): AsyncGenerator<string, void, void> {
      yield 'progress'
      throw new Fault('image_unavailable', 'no basic auth credentials')
    })()
    await assert.rejects(drain(known.during('a:1', refused)), { code: 'image_unavailable' })
    images.set('a:1', 'sha256:id-public')
    assert.equal(await known.has('id-public'), false)
  })

  it('are looked for under the latest names whose pull broke off', async (t) => {
    const { images, path, open } = await setup(t)
    const known = await open()
    for (let i = 0; i <= MAX_BROKEN_OFF; i++) {
      const pull = known.during(`a:${i}`, endless())
      await pull.next()
      await pull.return()
    }
    const { pulling } = JSON.parse(readFileSync(path, 'utf8'))
    assert.equal(pulling.length, MAX_BROKEN_OFF)
    images.set('a:0', 'sha256:id-0')
    images.set(`a:${MAX_BROKEN_OFF}`, 'sha256:id-last')
    assert.deepEqual([await known.has('id-0'), await known.has('id-last')], [false, true])
  })

  it('stop the agent where its list of them is damaged', async (t) => {
    const { path, open } = await setup(t)
    writeFileSync(path, '{"v":1,')
    await assert.rejects(open(), { code: 'private_images_unreadable', message: /image prune/ })
  })
})

async function drain(pull: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of pull);
}

async function* endless(): AsyncGenerator<string, void, void> {
  for (;;) yield 'progress'
}

/** An engine that has the images that the test says, by name. */
async function setup(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), 'baseload-images-'))
  const images = new Map<string, string>()
  const server = createServer(({ url = '' }, response) => {
    const [, name = ''] = /\/images\/(.+)\/json$/.exec(url) ?? []
    const id = images.get(decodeURIComponent(name))
    response.writeHead(id === undefined ? 404 : 200, { 'content-type': 'application/json' })
    response.end(JSON.stringify(id === undefined ? { message: 'no such image' } : { Id: id }))
  }).listen(join(folder, 'engine.sock'))
  await once(server, 'listening')
  t.after(() => {
    server.close()
    rmSync(folder, { recursive: true })
  })
  const path = join(folder, 'private-images.json')
  const docker = openSocket(join(folder, 'engine.sock'))
  return { images, path, open: () => PrivateImages.open(docker, path) }
}
