import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { readPrices } from '../../../core/protocol/price-sheet.ts'
import type { RunTool } from '../../../io/probe/gpu-detect.ts'
import { findHostGpus, foundGpuName, unpricedWords, withheldWords } from './host-gpus.ts'
import { capacityOf, roomOf } from './machine-room.ts'
import { readNodeConfig } from '../config.ts'
import { FAKE_FACTS } from './fake-runtime.ts'
import { GIB, H100, SHEET } from './test-kit.ts'

describe('the GPUs that a node offers', () => {
  it('are those that a CDI spec names, by place or UUID', async (t) => {
    const { folder, spec } = setup(t)
    spec(['0', 'GPU-b', 'all'])
    const { gpus, withheld } = await findHostGpus({ cdiFolders: [folder], share: 1 }, machineOf(3))
    assert.deepEqual(
      gpus.map(({ model, interface: bus, cdi }) => [model, bus, cdi]),
      [
        ['rtx4090', 'pcie', 'nvidia.com/gpu=0'],
        ['rtx4090', 'pcie', 'nvidia.com/gpu=GPU-b'],
      ],
    )
    assert.deepEqual(
      withheld.map(({ gpu }) => gpu.index),
      [2],
    )
  })

  it('stay with the node’s own engine, where that computes on them', async (t) => {
    const { folder, spec } = setup(t)
    spec(['0', '1'])
    const of = (engineUses: ('nvidia' | 'amd')[]) =>
      findHostGpus({ cdiFolders: [folder], share: 1, engineUses }, machineOf(2))
    const busy = await of(['nvidia'])
    assert.equal(busy.gpus.length, 0)
    assert.match(
      withheldWords(busy).join(),
      /2 GPUs.*own llama\.cpp computes on it; keep it for leases with --gpu none/,
    )
    assert.equal((await of(['amd'])).gpus.length, 2)
  })

  it('go by their UUID where a spec means another by their place', async (t) => {
    const { folder, spec } = setup(t)
    const named = async () => {
      const offer = await findHostGpus({ cdiFolders: [folder], share: 1 }, machineOf(1))
      return offer.gpus.map(({ cdi }) => cdi)
    }
    spec(['0', 'GPU-a', 'all'])
    assert.deepEqual(await named(), ['nvidia.com/gpu=0'])
    spec(['0', 'GPU-a', 'all'], folder, { '0': '/dev/zero' })
    assert.deepEqual(await named(), ['nvidia.com/gpu=GPU-a'])
  })

  it('come into its capacity by kind, and into its room one by one', async (t) => {
    const { folder, spec } = setup(t)
    spec(['0', '1'])
    const offer = await findHostGpus({ cdiFolders: [folder], share: 1 }, machineOf(2))
    const config = readNodeConfig({
      gateways: ['http://127.0.0.1:1'],
      home: '/nowhere',
      models: [{ source: 'a.gguf' }],
    })
    const machine = { threads: 8, memoryBytes: 32 * GIB, diskBytes: 100 * GIB, gpus: offer.gpus }
    const room = roomOf(machine, config, 0)
    assert.deepEqual(
      room.gpus.map(({ cdi }) => cdi),
      ['nvidia.com/gpu=0', 'nvidia.com/gpu=1'],
    )
    const { gpus } = capacityOf(room, FAKE_FACTS, config)
    assert.deepEqual(
      gpus.map(({ model, count }) => [model, count]),
      [['rtx4090', 2]],
    )
  })

  it('are none without a name; the reason is one line for all', async (t) => {
    const { folder } = setup(t)
    const offer = await findHostGpus({ cdiFolders: [folder], share: 1 }, machineOf(2))
    assert.deepEqual(withheldWords(offer), [
      'not offered: 2 GPUs, nvidia rtx4090 24 GiB pcie: no CDI spec has it, so no container can; run `nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml`',
    ])
  })

  it('are none whose spec names files of a driver that is gone', async (t) => {
    const { folder, spec } = setup(t)
    spec(['0'], join(folder, 'libcuda.so.550.54.15'))
    const { gpus, withheld } = await findHostGpus({ cdiFolders: [folder], share: 1 }, machineOf(1))
    assert.deepEqual(gpus, [])
    assert.match(withheld[0]?.cause ?? '', /stale: there is no .*libcuda\.so\.550/)
  })

  it('are none where the engine has its CDI turned off, or half the machine is another node', async (t) => {
    const { folder, spec } = setup(t)
    spec(['0'])
    const off = await findHostGpus({ cdiFolders: null, share: 1 }, machineOf(1))
    assert.match(withheldWords(off)[0] ?? '', /CDI turned off; set "features"/)
    const half = await findHostGpus({ cdiFolders: [folder], share: 0.5 }, machineOf(1))
    assert.match(withheldWords(half)[0] ?? '', /others might offer the same GPU/)
    const most = await findHostGpus({ cdiFolders: [folder], share: 0.6 }, machineOf(1))
    assert.equal(most.gpus.length, 1)
  })

  it('may be called `all` where there is only one', async (t) => {
    const { folder, spec } = setup(t)
    spec(['all'])
    const one = await findHostGpus({ cdiFolders: [folder], share: 1 }, machineOf(1))
    assert.equal(one.gpus[0]?.cdi, 'nvidia.com/gpu=all')
    const two = await findHostGpus({ cdiFolders: [folder], share: 1 }, machineOf(2))
    assert.deepEqual(two.gpus, [])
  })

  it('are none without a tool, or with one that fails, which is said', async () => {
    const none = await findHostGpus({ cdiFolders: [], share: 1 }, machineOf(0))
    assert.deepEqual(none, { gpus: [], withheld: [], problems: [] })
    const offer = await findHostGpus({ cdiFolders: [], share: 1 }, broken)
    assert.deepEqual(withheldWords(offer), ['no GPU offered: nvidia-smi failed: no driver'])
  })

  it('are named for the provider, also when no price sells them', () => {
    const { vendor: _, ...rest } = H100
    const gpu = { vendor: 'nvidia', index: 0, slice: null, uuid: null, busId: null } as const
    const more = { driver: null, cdiNames: [], flaw: null }
    assert.equal(foundGpuName({ ...rest, ...gpu, ...more }), 'nvidia h100 80 GiB sxm')
    assert.equal(foundGpuName({ ...rest, ...gpu, ...more, vramBytes: null }), 'nvidia h100')
    assert.deepEqual(unpricedWords([H100], readPrices(SHEET)), [])
    assert.deepEqual(unpricedWords([H100], readPrices({ ...SHEET, gpu: {} })), [
      'not sold before it has a price: GPU nvidia h100 80 GiB sxm; set gpu.h100 in lease-prices',
    ])
  })
})

const broken: RunTool = (tool) =>
  Promise.resolve({ ok: false, problem: tool === 'nvidia-smi' ? 'failed: no driver' : null })

/** So many RTX 4090, with UUIDs `GPU-a`, `GPU-b`, … */
const machineOf =
  (count: number): RunTool =>
  (tool) => {
    if (tool !== 'nvidia-smi' || count === 0) return Promise.resolve({ ok: false, problem: null })
    const gpus = Array.from(
      { length: count },
      (_, i) =>
        `<gpu><product_name>NVIDIA GeForce RTX 4090</product_name><uuid>GPU-${'abc'[i]}</uuid><fb_memory_usage><total>24564 MiB</total></fb_memory_usage></gpu>`,
    )
    return Promise.resolve({
      ok: true,
      text: `<nvidia_smi_log>${gpus.join('')}</nvidia_smi_log>`,
    })
  }

/** A folder for a spec whose devices are all /dev/null but these, with one more mount. */
function setup(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), 'baseload-cdi-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const spec = (
    names: readonly string[],
    library = folder,
    paths: Readonly<Record<string, string>> = {},
  ): void => {
    const devices = names.map((name) => ({
      name,
      containerEdits: {
        deviceNodes: [{ path: paths[name] ?? '/dev/null' }],
        mounts: [{ hostPath: library, containerPath: '/lib/libcuda.so', options: ['ro'] }],
      },
    }))
    const text = JSON.stringify({ cdiVersion: '0.5.0', kind: 'nvidia.com/gpu', devices })
    writeFileSync(join(folder, 'nvidia.json'), text)
  }
  return { folder, spec }
}
