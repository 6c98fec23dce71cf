import assert from 'node:assert/strict'
import { once } from 'node:events'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { describe, it, type TestContext } from 'node:test'
import { create, Header, Unpack } from 'tar'
import { refuse } from '../../../core/base/refusal.ts'
import type { TunnelWish } from '../../gateway/leases/lease-service.ts'
import { EXIT } from '../shell/failure.ts'
import { setupDeployments } from './deployment-kit.ts'

const TIMEOUT = { timeout: 20_000 }

describe('baseload cp into a container', TIMEOUT, () => {
  it('copies a folder as the name it was given', TIMEOUT, async (t) => {
    const { run, here, far } = await setup(t)
    mkdirSync(join(here, 'site/img'), { recursive: true })
    writeFileSync(join(here, 'site/index.html'), 'hello')
    writeFileSync(join(here, 'site/img/a.bin'), Buffer.alloc(300_000, 7))
    const { code, err } = await run('cp', join(here, 'site'), 'shop:/srv/www')
    assert.equal(code, EXIT.ok, err)
    assert.match(err, /^2 files, 300005 bytes → shop:\/srv\/www\n$/)
    assert.equal(readFileSync(join(far, 'srv/www/index.html'), 'utf8'), 'hello')
    assert.equal(readFileSync(join(far, 'srv/www/img/a.bin')).length, 300_000)
  })

  it(
    'copies into a folder that is there, and where a slash says that it is one',
    TIMEOUT,
    async (t) => {
      const { run, here, far } = await setup(t)
      writeFileSync(join(here, '@odd name'), 'x')
      mkdirSync(join(far, 'srv'))
      assert.equal((await run('cp', join(here, '@odd name'), 'shop:/srv')).code, EXIT.ok)
      assert.equal((await run('cp', join(here, '@odd name'), 'shop:srv/')).code, EXIT.ok)
      assert.deepEqual(readdirSync(join(far, 'srv')), ['@odd name'])
      assert.equal((await run('cp', join(here, '@odd name'), 'shop:/srv/new')).code, EXIT.ok)
      assert.deepEqual(readdirSync(join(far, 'srv')).toSorted(), ['@odd name', 'new'])
      const json = await run('cp', join(here, '@odd name'), 'shop:/srv/new', '--json')
      assert.deepEqual(JSON.parse(json.out), { to: 'shop:/srv/new', files: 1, bytes: 1 })
    },
  )
})

describe('baseload cp out of a container', TIMEOUT, () => {
  it('copies as the name it was given, or into the folder of that name', TIMEOUT, async (t) => {
    const { run, here, far } = await setup(t)
    mkdirSync(join(far, 'data/deep'), { recursive: true })
    writeFileSync(join(far, 'data/deep/export.csv'), 'a,b\n')
    const file = await run('cp', 'shop:/data/deep/export.csv', join(here, 'mine.csv'))
    assert.equal(file.code, EXIT.ok, file.err)
    assert.equal(readFileSync(join(here, 'mine.csv'), 'utf8'), 'a,b\n')
    assert.equal((await run('cp', 'shop:/data', here)).code, EXIT.ok)
    assert.ok(existsSync(join(here, 'data/deep/export.csv')))
    assert.equal((await run('cp', 'shop:/data', join(here, 'other'))).code, EXIT.ok)
    assert.ok(existsSync(join(here, 'other/deep/export.csv')))
  })

  it('writes nothing outside of the target, whatever the container sends', TIMEOUT, async (t) => {
    const { run, here, onTunnel } = await setup(t)
    mkdirSync(join(here, 'in'))
    writeFileSync(join(here, 'secret'), 'mine')
    onTunnel((far) => far.end(Buffer.concat([entry('data', 'honest'), Buffer.alloc(1024)])))
    assert.equal((await run('cp', 'shop:/data', join(here, 'in/target'))).code, EXIT.ok)
    assert.equal(readFileSync(join(here, 'in/target'), 'utf8'), 'honest')
    rmSync(join(here, 'in/target'))
    const attacks: Record<string, readonly Buffer[]> = {
      'a path with ..': [entry('data/../../escaped', 'x')],
      'an absolute path': [entry(join(here, 'escaped'), 'x')],
      'another name beside': [entry('data', 'x'), entry('escaped', 'x')],
      'through a symbolic link': [
        entry('data', '', { type: 'SymbolicLink', linkpath: here }),
        entry('data/escaped', 'x'),
      ],
      'a hard link to what is here': [
        entry('data/link', '', { type: 'Link', linkpath: '../secret' }),
        entry('data/link', 'overwritten'),
      ],
      'a hard link by absolute path': [
        entry('data/link', '', { type: 'Link', linkpath: join(here, 'secret') }),
        entry('data/link', 'overwritten'),
      ],
    }
    for (const [name, entries] of Object.entries(attacks)) {
      onTunnel((far) => far.end(Buffer.concat([...entries, Buffer.alloc(1024)])))
      await run('cp', 'shop:/data', join(here, 'in/target'))
      assert.deepEqual(readdirSync(here).toSorted(), ['in', 'secret'], name)
      assert.deepEqual(
        readdirSync(join(here, 'in')).filter((one) => one !== 'target'),
        [],
        name,
      )
      assert.equal(readFileSync(join(here, 'secret'), 'utf8'), 'mine', name)
      rmSync(join(here, 'in/target'), { recursive: true, force: true })
    }
  })

  it('ends with Ctrl-C in the middle of it', TIMEOUT, async (t) => {
    const { run, here, onTunnel, interrupt } = await setup(t)
    onTunnel((far) => {
      far.write(entry('data', 'half', { size: 4000 }))
      setTimeout(interrupt, 50)
    })
    assert.equal((await run('cp', 'shop:/data', join(here, 'x'))).code, EXIT.interrupted)
  })

  it('begins anew when a gateway that restarts broke it off', TIMEOUT, async (t) => {
    const { run, here, onTunnel, breakTunnels } = await setup(t)
    let tunnels = 0
    onTunnel((far) => {
      tunnels += 1
      if (tunnels > 1)
        return void far.end(Buffer.concat([entry('data', 'whole'), Buffer.alloc(1024)]))
      far.write(entry('data', 'half', { size: 4000 }))
      setTimeout(breakTunnels, 50)
    })
    const { code, err } = await run('cp', 'shop:/data', join(here, 'x'))
    assert.deepEqual([code, tunnels], [EXIT.ok, 2])
    assert.match(err, /^the connection broke off: .*; starting over\n1 file, 5 bytes/)
    assert.equal(readFileSync(join(here, 'x'), 'utf8'), 'whole')
  })

  it('fails when what comes is no archive, at once', TIMEOUT, async (t) => {
    const { run, here, onTunnel } = await setup(t)
    onTunnel((far) => far.end('this is no tar archive'.repeat(100)))
    const nonsense = await run('cp', 'shop:/data', join(here, 'y'))
    assert.equal(nonsense.code, EXIT.refused)
    assert.match(nonsense.err, /the archive was refused/)
  })
})

describe('baseload cp', TIMEOUT, () => {
  it('says what is wrong with its paths', TIMEOUT, async (t) => {
    const { run, here } = await setup(t)
    const wrong = [
      ['a', 'b', /neither is in a container/],
      ['shop:/a', 'shop:/b', /both are in containers/],
      [join(here, 'none'), 'shop:/a', /there is no .*none here/],
      ['shop:/a', `${join(here, 'none')}/`, /there is no folder/],
      ['shop:/', here, /a whole file system/],
    ] as const
    for (const [from, to, message] of wrong) {
      const { code, err } = await run('cp', from, to)
      assert.equal(code, EXIT.usage)
      assert.match(err, message)
    }
    const absent = await run('cp', 'shop:/none', here)
    assert.equal(absent.code, EXIT.refused)
    assert.match(absent.err, /nothing at \/none/)
  })
})

describe('baseload stats', TIMEOUT, () => {
  it('shows what each container uses, by two looks', TIMEOUT, async (t) => {
    const { run, deployed, onTunnel, leases } = await setupDeployments(t)
    await deployed()
    onTunnel((far) => far.write(`${look(1_000, '500000000')}\n${look(2_000, '1750000000')}\n`))
    const { code, out, err } = await run('stats', 'shop')
    assert.equal(code, EXIT.ok, err)
    assert.match(out, /^web +0 +1\.25 +300\.0 MiB +512\.0 MiB +4 +1\.5 KiB +0 B$/m)
    assert.equal(leases.wishes[0]?.kind, 'stats')
    const json = JSON.parse((await run('stats', 'shop', '--json')).out)
    assert.equal(json.containers[0].cpu_cores, 1.25)
  })

  it('says which container has no figures, and why', TIMEOUT, async (t) => {
    const { run, deployed } = await setupDeployments(t)
    await deployed()
    const { code, out } = await run('stats', 'shop')
    assert.equal(code, EXIT.ok)
    assert.match(out, /^web +0 +The fake has no node/m)
  })
})

async function setup(t: TestContext) {
  const kit = await setupDeployments(t)
  await kit.deployed()
  const root = realpathSync(mkdtempSync(join(tmpdir(), 'baseload-cp-')))
  t.after(() => rmSync(root, { recursive: true }))
  const [here, far] = [join(root, 'here'), join(root, 'far')]
  for (const folder of [here, far]) mkdirSync(folder)
  const serve = kit.leases
  kit.onTunnel((end, wish) => void serveFiles(far, end, wish))
  const { tunnel } = serve
  // As a node does, it refuses what is not there before the tunnel opens.
  serve.tunnel = (wish, signal) =>
    wish.kind === 'copy-out' && !existsSync(join(far, wish.path))
      ? Promise.resolve(
          refuse('tunnel_refused', `nothing at ${wish.path}`, {
            details: { code: 'path_not_found' },
          }),
        )
      : tunnel(wish, signal)
  return { ...kit, here, far }
}

/** What a node does with a container's files, in a folder. */
async function serveFiles(root: string, far: Duplex, wish: TunnelWish): Promise<void> {
  far.on('error', () => {})
  if (wish.kind === 'copy-in') {
    const folder = join(root, wish.path)
    mkdirSync(folder, { recursive: true })
    const unpack = new Unpack({ cwd: folder })
    far.pipe(unpack)
    await once(unpack, 'close')
    far.end()
  } else if (wish.kind === 'copy-out') {
    const parts = wish.path.split('/')
    const name = parts.pop() ?? ''
    create({ cwd: join(root, ...parts) }, [name]).pipe(far)
  }
}

/** One entry of an archive, whatever its path says. */
function entry(
  path: string,
  content: string,
  more: { type?: 'SymbolicLink' | 'Link'; linkpath?: string; size?: number } = {},
): Buffer {
  const { type = 'File', linkpath, size = content.length } = more
  const header = new Header({
    path,
    type,
    size: type === 'File' ? size : 0,
    mode: 0o644,
    mtime: new Date(0),
    ...(linkpath === undefined ? {} : { linkpath }),
  })
  header.encode()
  const block = header.block ?? Buffer.of()
  const padding = Buffer.alloc((512 - (content.length % 512)) % 512)
  return Buffer.concat([block, Buffer.from(content), padding])
}

const look = (atMs: number, cpuNanos: string) =>
  JSON.stringify({
    atMs,
    cpuNanos,
    memoryBytes: 300 * 1024 ** 2,
    memoryLimitBytes: 512 * 1024 ** 2,
    pids: 4,
    receivedBytes: 1500,
    sentBytes: 0,
  })
