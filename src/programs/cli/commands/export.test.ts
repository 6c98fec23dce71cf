import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { EXIT } from '../shell/failure.ts'
import { setupDeployments } from './deployment-kit.ts'

const TIMEOUT = { timeout: 20_000 }

describe('baseload snapshot', TIMEOUT, () => {
  it('is named by close, which keeps it for a day', TIMEOUT, async (t) => {
    const { run } = await setup(t)
    await run('snapshot', 'shop', 'web', 'data')
    const { code, err } = await run('close', 'shop')
    assert.equal(code, EXIT.ok)
    assert.equal(err, 'its snapshots are kept for 24 hours: baseload export dep_1\n')
  })

  it('takes one, tells how far it is, and says what it took', TIMEOUT, async (t) => {
    const { run, leases } = await setup(t)
    leases.readsToReady = 3
    const { code, out, err } = await run('snapshot', 'shop', 'web', 'data')
    assert.equal(code, EXIT.ok, err)
    assert.equal(out, 'snap_1  data of web/0  21 B\n')
    const json = await run('snapshot', 'shop', '--json')
    const { snapshots }: { snapshots: { id: string; state: string }[] } = JSON.parse(json.out)
    assert.deepEqual(
      snapshots.map(({ id, state }) => [id, state]),
      [['snap_2', 'ready']],
    )
  })

  it('lists and removes', TIMEOUT, async (t) => {
    const { run, leases } = await setup(t)
    assert.match(
      (await run('snapshot', 'shop', '--list')).out,
      /^no snapshots yet; 0 B of 100\.0 GiB/,
    )
    leases.volume = Buffer.alloc(3 * 2 ** 19)
    await run('snapshot', 'shop')
    const { out } = await run('snapshot', 'shop', '--list')
    assert.match(out, /web +0 +data +1\.5 MiB +ready +– +snap_1\n1\.5 MiB of 100\.0 GiB that/)
    assert.equal((await run('snapshot', 'shop', '--remove', 'snap_1')).out, 'removed snap_1\n')
    assert.equal((await run('snapshot', 'shop', '--remove', 'snap_1')).code, EXIT.refused)
  })

  it('ends with what went wrong, and the next step', TIMEOUT, async (t) => {
    const { run, leases } = await setup(t)
    leases.takingFails = 'the node went away'
    const { code, err } = await run('snapshot', 'shop')
    assert.equal(code, EXIT.refused)
    assert.match(err, /no snapshot of data of web\/0: the node went away\n +→ .*--list/)
  })

  it('stops waiting at Ctrl-C', TIMEOUT, async (t) => {
    const { run, leases, interrupt, until } = await setup(t)
    leases.readsToReady = Infinity
    const running = run('snapshot', 'shop')
    await until(() => leases.taking)
    interrupt()
    assert.equal((await running).code, EXIT.interrupted)
  })
})

describe('baseload export', TIMEOUT, () => {
  it('takes a fresh one, and writes it byte for byte', TIMEOUT, async (t) => {
    const { run, here, leases } = await setup(t)
    leases.volume = randomBytes(700_001)
    const file = join(here, 'shop.tar')
    const { code, err } = await run('export', 'shop', '-o', file)
    assert.equal(code, EXIT.ok, err)
    assert.ok(readFileSync(file).equals(leases.volume))
    assert.equal(statSync(file).mode & 0o777, 0o600)
    assert.deepEqual(readdirSync(here), ['shop.tar'])
    assert.match(err, /data of web\/0 as of .* UTC: 683\.6 KiB → .*shop\.tar\n/)
    const again = await run('export', 'shop', 'data', '-o', join(here, '2.tar'), '--json')
    const sha256 = createHash('sha256').update(leases.volume).digest('hex')
    assert.deepEqual(JSON.parse(again.out), {
      file: join(here, '2.tar'),
      snapshot: 'snap_2',
      bytes: 700_001,
      sha256,
    })
  })

  it('gives the bytes to a program, and never to a terminal', TIMEOUT, async (t) => {
    const { run, stdout, printed } = await setup(t)
    const { code } = await run('export', 'shop', '-o', '-')
    assert.equal(code, EXIT.ok)
    assert.equal(printed().out, 'what the volume holds')
    stdout.isTTY = true
    const refused = await run('export', 'shop', '-o', '-')
    assert.equal(refused.code, EXIT.usage)
    assert.match(refused.err, /nothing for a terminal/)
  })

  it('overwrites nothing, and says so before any work', TIMEOUT, async (t) => {
    const { run, here, leases } = await setup(t)
    const file = join(here, 'mine.tar')
    writeFileSync(file, 'mine')
    const { code, err } = await run('export', 'shop', '-o', file)
    assert.equal(code, EXIT.usage)
    assert.match(err, /mine\.tar is there already\n +→ move it away/)
    assert.equal(readFileSync(file, 'utf8'), 'mine')
    mkdirSync(join(here, 'folder'))
    assert.match((await run('export', 'shop', '-o', join(here, 'folder'))).err, /is a folder/)
    assert.match((await run('export', 'shop', '-o', join(here, 'no/x'))).err, /mkdir -p/)
    assert.equal(leases.taking, false)
    assert.match((await run('snapshot', 'shop', '--list')).out, /no snapshots yet/)
  })

  it('leaves no part of a file when it breaks off, and says how to go on', TIMEOUT, async (t) => {
    const { run, here, leases } = await setup(t)
    leases.volume = randomBytes(500_000)
    leases.breakAfter = 400_000
    const { code, err } = await run('export', 'shop', '-o', join(here, 'x.tar'))
    assert.equal(code, EXIT.unreachable)
    assert.match(err, /broke off after .* of 488\.3 KiB\n +→ .*--snapshot snap_1/)
    assert.deepEqual(readdirSync(here), [])
  })

  it('leaves no part of a file at Ctrl-C', TIMEOUT, async (t) => {
    const { run, here, leases, interrupt, until } = await setup(t)
    leases.volume = randomBytes(500_000)
    leases.hangAfter = true
    const running = run('export', 'shop', '-o', join(here, 'x.tar'))
    await until(() => readdirSync(here).some((name) => statSync(join(here, name)).size > 0))
    interrupt()
    assert.equal((await running).code, EXIT.interrupted)
    assert.deepEqual(readdirSync(here), [])
  })

  it('keeps nothing whose digest is another', TIMEOUT, async (t) => {
    const { run, here, leases } = await setup(t)
    await run('snapshot', 'shop')
    leases.volume = Buffer.from('what the volume h0lds')
    const { code, err } = await run('export', 'shop', '--last', '-o', join(here, 'x.tar'))
    assert.equal(code, EXIT.refused)
    assert.match(err, /its digest is another/)
    assert.deepEqual(readdirSync(here), [])
  })

  it(
    'takes the newest there is of a deployment that is closed, or with --last',
    TIMEOUT,
    async (t) => {
      const { run, here, leases, alice, id } = await setup(t)
      await run('snapshot', 'shop')
      const last = await run('export', 'shop', '--last', '-o', join(here, 'a.tar'))
      assert.equal(last.code, EXIT.ok, last.err)
      await leases.close(alice.id, id)
      const { code, err } = await run('export', id, '-o', join(here, 'b.tar'))
      assert.equal(code, EXIT.ok, err)
      assert.equal(readFileSync(join(here, 'b.tar'), 'utf8'), 'what the volume holds')
      assert.equal((await run('snapshot', id, '--list')).out.match(/snap_/g)?.length, 1)
      const named = await run('export', id, '--snapshot', 'snap_1', '-o', join(here, 'c.tar'))
      assert.equal(named.code, EXIT.ok, named.err)
      assert.equal((await run('export', id, '--snapshot', 'snap_9')).code, EXIT.usage)
    },
  )

  it('asks which, where several volumes fit', TIMEOUT, async (t) => {
    const { run, here, leases } = await setup(t)
    leases.volumes = [
      { service: 'web', replica: 0, volume: 'data' },
      { service: 'db', replica: 0, volume: 'data' },
    ]
    const { code, err } = await run('export', 'shop')
    assert.equal(code, EXIT.usage)
    assert.match(err, /more than one volume fits.*\n.*data --service web .* \| data --service db/)
    const none = await run('export', 'shop', 'date')
    assert.match(none.err, /no volume fits in shop/)
    const one = await run('export', 'shop', 'data', '--service', 'db', '-o', join(here, 'x.tar'))
    assert.equal(one.code, EXIT.ok, one.err)
    assert.match(one.err, /data of db\/0/)
  })
})

async function setup(t: TestContext) {
  const kit = await setupDeployments(t)
  const here = mkdtempSync(join(tmpdir(), 'baseload-export-'))
  t.after(() => rmSync(here, { recursive: true, force: true }))
  return { ...kit, here, id: await kit.deployed('shop') }
}
