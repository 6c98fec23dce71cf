/** What a volume holds comes to the tenant's disk, and to the next machine: by the built program, a real Docker, and S3. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { createReadStream, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { pipeline } from 'node:stream/promises'
import { after, before, describe, it } from 'node:test'
import { Parser } from 'tar'
import { fakeS3 } from '../../src/io/objects/fake-s3.ts'
import { containersUnavailable } from '../support/container-engines.ts'
import { Cli } from '../support/lease-cli.ts'
import { leaseNetwork, openYard, type LeaseYard } from '../support/lease-network.ts'
import { sdlOf } from '../support/lease-sdl.ts'

const skip = containersUnavailable()
const LIMIT = { timeout: 180_000 }
const MIB = 2 ** 20

describe('a volume', { skip, ...LIMIT }, () => {
  let yard: LeaseYard
  before(async () => (yard = await openYard()), { timeout: 300_000 })
  after(() => yard.close(), { timeout: 60_000 })

  it(
    'is fetched byte for byte, and is there at the next machine, by way of S3',
    LIMIT,
    async (t) => {
      // As Amazon has it: parts of at least 5 MiB, each signed.
      const s3 = await fakeS3({ minPartBytes: 5 * MIB })
      t.after(s3.close)
      const { bucket, accessKeyId, secretAccessKey, region } = s3.settings
      const network = await leaseNetwork(t, yard, {
        nodes: 2,
        gatewayEnv: () =>
          Promise.resolve({
            BASELOAD_SNAPSHOTS: `s3://${bucket}/e2e`,
            BASELOAD_S3_ENDPOINT: s3.endpoint,
            AWS_REGION: region,
            AWS_ACCESS_KEY_ID: accessKeyId,
            AWS_SECRET_ACCESS_KEY: secretAccessKey,
          }),
      })
      const cli = new Cli(t, network)
      await cli.run(['deploy', cli.sdl(sdlOf()), '--name', 'shop'])
      const blob = randomBytes(12 * MIB + 345)
      writeFileSync(cli.path('blob'), blob)
      await cli.run(['exec', 'shop', '--', 'mkdir', '-p', '/data/deep'])
      await cli.run(['cp', cli.path('blob'), 'shop:/data/deep/blob'])

      await t.test('snapshot: taken, listed, in parts in the bucket', async () => {
        const { out } = await cli.run(['snapshot', 'shop'])
        assert.match(out, /^snap_\w+ {2}data of web\/0 {2}12\.0 MiB\n$/)
        const list = await cli.run(['snapshot', 'shop', '--list'])
        assert.match(list.out, /web +0 +data +12\.0 MiB +ready/)
        assert.equal([...s3.objects.keys()].filter((key) => key.startsWith('e2e/')).length, 1)
        assert.ok(s3.asked.some((call) => call.includes('partNumber=2')))
      })

      await t.test('export: what is there now, equal byte for byte', async () => {
        await cli.run(['exec', 'shop', '--', 'sh', '-c', 'echo late >/data/late'])
        const from = performance.now()
        await cli.run(['export', 'shop', '-o', cli.path('shop.tar')])
        t.diagnostic(`12 MiB taken and fetched in ${Math.round(performance.now() - from)} ms`)
        const files = await contentsOf(cli.path('shop.tar'))
        assert.ok(files.get('deep/blob')?.equals(blob))
        assert.equal(String(files.get('late')), 'late\n')
        const again = await cli.run(['export', 'shop', '-o', cli.path('shop.tar')], { code: 2 })
        assert.match(again.err, /is there already/)
        assert.deepEqual(
          readdirSync(cli.path('.')).filter((name) => name.endsWith('.part')),
          [],
        )
      })

      await t.test('its machine dies: the next one has it', async () => {
        const lease = await network.lease('shop')
        await network.killMachine(network.nodeOf(lease))
        await network.until(
          'it moved',
          async () => (await network.lease('shop')).node !== lease.node,
        )
        await network.running('shop')
        await cli.run(['cp', 'shop:/data/deep/blob', cli.path('back')])
        assert.ok(readFileSync(cli.path('back')).equals(blob))
        const { out } = await cli.run(['exec', 'shop', '--', 'cat', '/data/late'])
        assert.equal(out, 'late\n')
      })

      await t.test('closed: it can still be fetched, and be removed', async () => {
        const { id } = await network.close('shop')
        const last = await cli.run(['export', id, 'data', '-o', cli.path('last.tar')])
        assert.match(last.err, /data of web\/0 as of/)
        assert.ok((await contentsOf(cli.path('last.tar'))).get('deep/blob')?.equals(blob))
        const { out } = await cli.run(['snapshot', id, '--list', '--json'])
        const { data }: { data: { id: string; expires_at: string | null }[] } = JSON.parse(out)
        for (const one of data) await cli.run(['snapshot', id, '--remove', one.id])
        assert.match((await cli.run(['snapshot', id, '--list'])).out, /^no snapshots yet/)
      })
    },
  )
})

/** The files of an archive, by their names below its first folder. */
async function contentsOf(path: string): Promise<Map<string, Buffer>> {
  const files = new Map<string, Buffer>()
  const parser = new Parser({
    onReadEntry: (entry) => {
      const pieces: Buffer[] = []
      entry.on('data', (piece) => pieces.push(Buffer.from(piece)))
      entry.on('end', () => {
        const name = entry.path.replace(/^\.?\//, '')
        if (entry.type === 'File') files.set(name, Buffer.concat(pieces))
      })
    },
  })
  await pipeline(createReadStream(path), async function* (source: AsyncIterable<Buffer>) {
    for await (const piece of source) parser.write(piece)
    yield* []
  })
  parser.end()
  return files
}
