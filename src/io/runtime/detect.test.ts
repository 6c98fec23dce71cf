import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { detectEngine, judgeEngine } from './detect.ts'
import { usualSockets } from './usual-sockets.ts'

describe('what an engine says of itself', () => {
  it('is understood as Docker, with gVisor where that is its default', () => {
    const found = judge({ version: '27.3.1', info: { DefaultRuntime: 'runsc' } })
    assert.ok(found.usable)
    assert.equal(found.facts.engine, 'docker')
    assert.equal(found.facts.isolation, 'runsc')
    assert.equal(found.facts.cgroupVersion, 2)
    assert.deepEqual(Object.values(found.facts.quirks), [...Array(8).fill(false), 'json-file'])
  })

  it('is understood as old Docker, which has no CDI', () => {
    const found = judge({ version: '20.10.24+dfsg1', info: { CgroupVersion: '1' } })
    assert.ok(found.usable && found.facts.quirks.noCdi)
    assert.deepEqual([found.facts.isolation, found.facts.cgroupVersion], ['runc', 1])
  })

  it('is understood as Podman, with all its differences', () => {
    const found = judge({ version: '4.3.1', components: ['Podman Engine'] })
    assert.ok(found.usable)
    assert.equal(found.facts.engine, 'podman')
    assert.deepEqual(Object.values(found.facts.quirks), [...Array(8).fill(true), 'k8s-file'])
  })

  it('tells a root that is mapped to nobody', () => {
    const found = judge({
      info: { SecurityOptions: ['name=seccomp,profile=default', 'name=userns'] },
    })
    assert.ok(found.usable && found.facts.userNamespaces)
  })
})

describe('an engine that cannot be sold', () => {
  it('is rootless Podman on cgroup v1, which ignores limits', () => {
    const found = judge({
      components: ['Podman Engine'],
      info: { Rootless: true, CgroupVersion: '1' },
    })
    assert.ok(!found.usable)
    assert.match(found.problem, /limits of CPU and memory are ignored/)
    assert.match(found.fix, /\/run\/podman\/podman\.sock/)
  })

  it('is any rootless one: its network cannot be closed in', () => {
    const found = judge({ info: { SecurityOptions: ['name=rootless'] } })
    assert.ok(!found.usable)
    assert.match(found.problem, /LAN/)
  })

  it('lacks a limit, or runs Windows', () => {
    assert.match(
      problemOf({ MemoryLimit: false, PidsLimit: false }),
      /no memory, no process limits/,
    )
    assert.match(problemOf({ CpuCfsQuota: false }), /no CPU limits/)
    assert.match(problemOf({ OSType: 'windows' }), /windows/)
    assert.equal(problemOf({}), 'none')
  })

  it('does not answer', { timeout: 10_000 }, async () => {
    const found = await detectEngine('/nowhere/docker.sock')
    assert.ok(!found.usable)
    assert.match(found.problem, /does not answer/)
  })
})

describe('the usual sockets', () => {
  it('are those that exist, and only that of DOCKER_HOST where it is set', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'baseload-sockets-'))
    try {
      await writeFile(join(folder, 'docker.sock'), '')
      const mine = join(folder, 'docker.sock')
      assert.ok(usualSockets({ XDG_RUNTIME_DIR: folder }).includes(mine))
      assert.deepEqual(usualSockets({ DOCKER_HOST: `unix://${mine}` }), [mine])
      assert.deepEqual(
        usualSockets({ DOCKER_HOST: 'unix:///nowhere', XDG_RUNTIME_DIR: folder }),
        [],
      )
    } finally {
      await rm(folder, { recursive: true })
    }
  })
})

const problemOf = (info: object): string => {
  const found = judge({ info })
  return found.usable ? 'none' : found.problem
}

function judge(said: { version?: string; components?: string[]; info?: object }) {
  const Components = (said.components ?? ['Engine']).map((Name) => ({ Name }))
  return judgeEngine(
    '/sock',
    { Version: said.version ?? '28.0.0', Arch: 'amd64', Components },
    { OSType: 'linux', Driver: 'overlay2', CgroupVersion: '2', ...said.info },
  )
}
