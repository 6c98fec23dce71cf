import assert from 'node:assert/strict'
import { chmod, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { Fault } from '../../../core/base/refusal.ts'
import { backendPackages, detectBackends } from './backends.ts'
import { installLlamaCpp, llamaCppFolder } from './install.ts'

const linux = { platform: 'linux', arch: 'x64' } as const
const timeout = 20_000

describe('installLlamaCpp', { timeout }, () => {
  it('gives npm a lock with only the wanted backends, each pinned', async () => {
    await using place = await setup('exit 0')
    const { folder, alreadyThere } = await place.install('vulkan')
    assert.equal(alreadyThere, false)
    assert.equal(folder, llamaCppFolder(place.enginesDir, 'vulkan'))
    const lock = JSON.parse(await readFile(join(folder, 'package-lock.json'), 'utf8'))
    const wanted = Object.keys(lock.packages[''].dependencies).toSorted()
    assert.deepEqual(wanted, [
      '@node-llama-cpp/linux-x64',
      '@node-llama-cpp/linux-x64-vulkan',
      'node-llama-cpp',
    ])
    for (const [path, entry] of Object.entries<Record<string, unknown>>(lock.packages)) {
      assert.equal('resolved' in entry, false, `${path} names a registry`)
      if (path !== '') assert.match(String(entry['integrity']), /^sha512-/, path)
    }
    for (const name of wanted) assert.ok(!lock.packages[`node_modules/${name}`].optional, name)
  })

  it('does nothing the second time', async () => {
    await using place = await setup('exit 0')
    await place.install('cpu')
    assert.equal((await place.install('cpu')).alreadyThere, true)
    assert.equal(place.said.length, 1)
  })

  it('lets two processes install at once: one wins, both succeed, nothing is left over', async () => {
    await using place = await setup('sleep 0.1')
    const both = await Promise.all([place.install('cpu'), place.install('cpu')])
    assert.equal(both.filter((one) => one.alreadyThere).length, 1)
    assert.deepEqual(await readdir(place.enginesDir), ['llama.cpp-3.22.1'])
  })

  it('says what npm said and what to do, and leaves nothing behind', async () => {
    await using place = await setup('echo registry unreachable >&2; exit 7')
    await assert.rejects(place.install('cpu'), (error) => {
      assert.ok(error instanceof Fault && error.retryable)
      assert.match(error.message, /exit 7: registry unreachable.*npm ping.*again/)
      return true
    })
    assert.deepEqual(await readdir(place.enginesDir), [])
  })

  it('names the way out where nothing is built for the machine', async () => {
    await using place = await setup('exit 0')
    const machine = { platform: 'aix', arch: 'ppc64' } as const
    await assert.rejects(
      installLlamaCpp({
        enginesDir: place.enginesDir,
        backend: 'cpu',
        say: () => {},
        machine,
      }),
      /no cpu build.*aix-ppc64.*--engine openai/,
    )
  })

  it('refuses a build that the lock does not pin', async () => {
    await using place = await setup('exit 0')
    const machine = { platform: 'darwin', arch: 'arm64' } as const
    await assert.rejects(
      installLlamaCpp({ enginesDir: place.enginesDir, backend: 'metal', say: () => {}, machine }),
      /mac-arm64-metal 3\.22\.1 is not in .*--engine openai/,
    )
  })
})

describe('detectBackends', () => {
  it('offers the processor wherever there is a build, and Metal only on Apple silicon', async () => {
    assert.ok((await detectBackends(linux)).includes('cpu'))
    assert.deepEqual(await detectBackends({ platform: 'darwin', arch: 'arm64' }), ['metal', 'cpu'])
    assert.deepEqual(await detectBackends({ platform: 'aix', arch: 'ppc64' }), [])
    assert.equal(backendPackages('metal', linux), null)
  })
})

async function setup(npmScript: string) {
  const root = await mkdtemp(join(tmpdir(), 'baseload-install-'))
  const npm = join(root, 'npm')
  await writeFile(npm, `#!/bin/sh\n${npmScript}\n`)
  await chmod(npm, 0o755)
  const enginesDir = join(root, 'engines')
  const said: string[] = []
  const say = (line: string) => void said.push(line)
  return {
    enginesDir,
    said,
    install: (backend: 'cpu' | 'vulkan') =>
      installLlamaCpp({ enginesDir, backend, say, machine: linux, npm }),
    [Symbol.asyncDispose]: () => rm(root, { recursive: true, force: true }),
  }
}
