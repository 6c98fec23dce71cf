import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { Fault } from '../../../core/base/refusal.ts'
import { EXIT } from '../shell/failure.ts'
import { SDL, setupDeployments } from './deployment-kit.ts'

const TIMEOUT = { timeout: 20_000 }

describe('baseload deploy', TIMEOUT, () => {
  it('asks again under the same key when an answer is lost', async (t) => {
    const net = await setup(t)
    const deploy = net.leases.deploy.bind(net.leases)
    let lost = 2
    net.leases.deploy = async (...asked) => {
      const answer = await deploy(...asked)
      if (lost-- > 0) throw new Fault('store_unavailable', 'away', { retryable: true })
      return answer
    }
    const { code } = await net.run('deploy', net.file, '--detach')
    assert.equal(code, 0)
    const [key] = net.leases.keys
    assert.match(key ?? '', /^[0-9a-f-]{36}$/)
    assert.deepEqual(net.leases.keys, [key, key, key])
  })

  it('shows each phase with its time, and ends with where it is reached', TIMEOUT, async (t) => {
    const { run, file, leases, until, printed } = await setup(t)
    const running = run('deploy', file, '--name', 'shop')
    await until(() => printed().err.includes('accepted'))
    leases.set('dep_1', { state: 'starting' })
    leases.happen('dep_1', 'lease.pulling', 'nginx:1.27, 60 of 120 MB', 'web')
    leases.set('dep_1', { state: 'running' })
    leases.happen('dep_1', 'lease.running', 'all replicas run')
    const { code, out, err } = await running
    assert.equal(code, EXIT.ok, err)
    assert.equal(out, 'http://web.fake.localhost:8420\n')
    assert.match(err, /^shop {2}dep_1\n/)
    assert.match(err, /^ +\d\.\d\d s {2}screened +2 of 9 nodes/m)
    assert.match(err, /accepted +node_a{24} at \$0\.04\/h/)
    assert.match(err, /pulling +web · nginx:1\.27, 60 of 120 MB/)
    assert.match(err, /running +all replicas run\n$/)
  })

  it('gives programs each event, and the deployment at its end', TIMEOUT, async (t) => {
    const { run, file, leases, until, printed } = await setup(t)
    const running = run('deploy', file, '--json')
    await until(() => printed().out.includes('lease.accepted'))
    leases.set('dep_1', { state: 'running' })
    leases.happen('dep_1', 'lease.running', 'all replicas run')
    const { code, out, err } = await running
    const values = out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    assert.equal(code, EXIT.ok)
    assert.equal(values[0].event.type, 'deployment.screened')
    assert.equal(values.at(-1).deployment.leases[0].state, 'running')
    assert.equal(err, '')
  })

  it('ends with 1 and the reason when it does not come to run', TIMEOUT, async (t) => {
    const { run, file, leases, until, printed } = await setup(t)
    const running = run('deploy', file, '--name', 'shop')
    await until(() => printed().err.includes('accepted'))
    leases.set('dep_1', { state: 'closed', message: 'no such image: nginx:1.27' })
    leases.happen('dep_1', 'lease.closed', 'no such image')
    const { code, out, err } = await running
    assert.equal(code, EXIT.failure)
    assert.equal(out, '')
    assert.match(err, /✗ shop does not run: no such image: nginx:1\.27\n {2}→ `baseload logs shop`/)
  })

  it('goes on without the command after Ctrl-C, and says how to follow it', TIMEOUT, async (t) => {
    const { run, file, leases, alice, until, printed, interrupt } = await setup(t)
    const running = run('deploy', file, '--name', 'shop')
    await until(() => printed().err.includes('accepted'))
    interrupt()
    const { code, err } = await running
    assert.equal(code, EXIT.interrupted)
    assert.match(err, /detached; shop goes on.*\n {2}→ baseload events -f shop/)
    const kept = await leases.deployment(alice.id, 'dep_1')
    assert.ok('closedAt' in kept && kept.closedAt === null)
  })

  it(
    'does not wait with --detach, and hands the choice over with --rule manual',
    TIMEOUT,
    async (t) => {
      const { run, file } = await setup(t)
      const detached = await run('deploy', file, '--detach', '--name', 'shop')
      assert.deepEqual([detached.code, detached.out], [EXIT.ok, 'dep_1\n'])
      assert.match(detached.err, /events -f shop/)
      const manual = await run('deploy', file, '--rule', 'manual', '--name', 'two')
      assert.equal(manual.code, EXIT.ok)
      assert.match(manual.err, /the choice is yours: baseload bids two\n$/)
      assert.equal((await run('deploy', file, '--rule', 'dearest')).code, EXIT.usage)
    },
  )

  it('only screens with --dry-run', TIMEOUT, async (t) => {
    const { run, file, leases, alice } = await setup(t)
    const { code, out } = await run('deploy', file, '--dry-run')
    assert.equal(code, EXIT.ok)
    assert.match(out, /2 bids, at most \$0\.10\/h/)
    assert.deepEqual(await leases.deployments(alice.id, { limit: 9, closed: true }), [])
  })

  it('says what is wrong with the file', TIMEOUT, async (t) => {
    const { run, file } = await setup(t)
    writeFileSync(file, 'version: "2.0"\n')
    const wrong = await run('deploy', file)
    assert.equal(wrong.code, EXIT.refused)
    assert.match(wrong.err, /✗ app\.yaml:1:1: 'services' is missing.*\n {2}→ `baseload sdl check/)
    const missing = await run('deploy', '/no/such/file.yaml')
    assert.equal(missing.code, EXIT.usage)
  })
})

describe('baseload screen and bids', TIMEOUT, () => {
  it('show prices, why others cannot, and what would help', TIMEOUT, async (t) => {
    const { run, file } = await setup(t)
    const { code, out } = await run('screen', file)
    assert.equal(code, EXIT.ok)
    assert.match(out, /^! app\.yaml:3:1: depends_on/)
    assert.match(out, /node_a{24} +Ada +community +eu-de +– +cached +sheet +\$0\.04\/h +\$29\.22/)
    assert.match(out, /Others cannot:\n {2}4 of 9 nodes: GPU memory 24 GiB < 80 GiB\n/)
    assert.match(out, /What would help:\n {2}drop region: 7 bids/)
    assert.equal(JSON.parse((await run('screen', file, '--json')).out).object, 'screening')
  })

  it('take the bid that a tenant chooses', TIMEOUT, async (t) => {
    const { run, file } = await setup(t)
    await run('deploy', file, '--rule', 'manual', '--name', 'shop')
    const node = `node_${'b'.repeat(24)}`
    const { code, out } = await run('bids', 'shop', '--accept', node)
    assert.equal(code, EXIT.ok)
    assert.match(out, /^node_b+ has it at \$0\.04\/h; `baseload events -f shop`/)
    const again = await run('bids', 'shop', '--accept', node)
    assert.equal(again.code, EXIT.refused)
    assert.match(again.err, /no lease of shop waits/)
  })
})

describe('baseload deployments, leases, update, close', TIMEOUT, () => {
  it('list what runs, and show one with its addresses', TIMEOUT, async (t) => {
    const { run, deployed } = await setup(t)
    assert.match((await run('deployments')).out, /Nothing is deployed/)
    await deployed()
    const list = await run('deployments')
    assert.match(list.out, /^shop +dep_1 +running +1 +\$0\.04\/h .*http:\/\/web\.fake/m)
    const one = await run('deployments', 'shop')
    assert.match(one.out, /web +nginx:1\.27 +1\/1 +running +0 +http:\/\/web\.fake/)
    const leases = await run('leases', 'shop')
    assert.match(leases.out, /lease_of_dep_1 +shop +dcloud +running +node_a/)
    assert.equal(JSON.parse((await run('leases', '--json')).out).leases[0].deployment, 'shop')
    const none = await run('deployments', 'none')
    assert.equal(none.code, EXIT.refused)
    assert.match(none.err, /no deployment 'none'/)
  })

  it('change it in place, following it until it runs again', TIMEOUT, async (t) => {
    const { run, deployed, file, leases, until, printed } = await setup(t)
    const id = await deployed()
    const settled = await run('update', 'shop', file)
    assert.deepEqual([settled.code, settled.err], [EXIT.ok, 'shop is running\n'])
    leases.set(id, { state: 'starting' })
    const running = run('update', 'shop', file)
    await until(() => printed().err.includes('dep_1'))
    leases.set(id, { state: 'running' })
    leases.happen(id, 'lease.running', 'all replicas run')
    const { code, err, out } = await running
    assert.equal(code, EXIT.ok)
    assert.doesNotMatch(err, /screened/, 'only what the change led to')
    assert.equal(out, 'http://web.fake.localhost:8420\n')
  })

  it('close it, and say what it cost', TIMEOUT, async (t) => {
    const { run, deployed } = await setup(t)
    await deployed()
    const closed = await run('close', 'shop')
    assert.equal(closed.err, '')
    assert.equal(closed.out, 'shop is closed; it cost $0.00\n')
    assert.match((await run('deployments')).out, /Nothing is deployed/)
    assert.match((await run('deployments', '--closed')).out, /^shop +dep_1 +closed/m)
  })
})

describe('baseload events', TIMEOUT, () => {
  it('shows all there were, over pages', TIMEOUT, async (t) => {
    const { run, deployed, leases } = await setup(t)
    const id = await deployed()
    for (let i = 0; i < 5; i++) leases.happen(id, 'container.exited', `exit ${i}`, 'web')
    const { out } = await run('events', 'shop')
    assert.equal(out.trim().split('\n').length, 8)
    assert.match(out, /^ {3}8 {2}\d{4}-.* {2}container\.exited web +exit 4$/m)
    assert.match((await run('events', 'shop', '--after', '7')).out, /^ {3}8 /)
  })

  it('follows to the end, without a gap when the way is lost', TIMEOUT, async (t) => {
    const { run, deployed, leases, alice, until, printed } = await setup(t)
    const id = await deployed()
    const running = run('events', '-f', 'shop', '--json')
    await until(() => printed().out.includes('lease.accepted'))
    // The stream breaks where its next page cannot be read.
    leases.away = new Error('the database is away')
    leases.happen(id, 'node.lost', 'no heartbeat for 6 s')
    await until(() => leases.watching === 0)
    leases.away = null
    await until(() => printed().out.includes('node.lost'))
    await leases.close(alice.id, id)
    const { code, out } = await running
    assert.equal(code, EXIT.ok)
    const seen = out
      .trim()
      .split('\n')
      .map((line): number => JSON.parse(line).seq)
    assert.deepEqual(seen, [1, 2, 3, 4, 5])
  })
})

async function setup(t: TestContext) {
  const kit = await setupDeployments(t)
  const file = join(kit.home, 'app.yaml')
  writeFileSync(file, SDL)
  return { ...kit, file }
}
