import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { FoundGpu } from './gpu.ts'
import { readNvidiaCsv, readNvidiaXml } from './gpu-nvidia.ts'

const UUID = 'GPU-0b2d7c44-91a5-4f7b-8a11-2e9d3c5f6a70'

describe('nvidia-smi -q -x', () => {
  it('tells all of a GPU', () => {
    assert.deepEqual(readNvidiaXml(logOf(gpuOf())), [
      {
        vendor: 'nvidia',
        model: 'rtx4090',
        vramBytes: 24564 * 2 ** 20,
        interface: 'pcie',
        mig: null,
        index: 0,
        slice: null,
        uuid: UUID,
        busId: '00000000:0A:00.0',
        driver: '580.82.09',
        cdiNames: ['0', 'gpu0', UUID].map((name) => `nvidia.com/gpu=${name}`),
        flaw: null,
      },
    ])
  })

  it('counts in the order of the elements, not by the device file', () => {
    const gpus = readNvidiaXml(logOf(gpuOf({ minor: '1' }), gpuOf({ minor: '0' }))) ?? []
    assert.deepEqual(
      gpus.map(({ index }) => index),
      [0, 1],
    )
  })

  it('tells slices, with profiles from -L, and never one that shares its memory', () => {
    const xml = logOf(gpuOf({ name: 'NVIDIA H200', slices: [71_424, 71_424, 16_384, 16_384] }))
    const list = [
      `GPU 0: NVIDIA H200 (UUID: ${UUID})`,
      '  MIG 1c.3g.71gb  Device  0: (UUID: MIG-a)',
      '  MIG 2c.3g.71gb  Device  1: (UUID: MIG-b)',
      '  MIG 1g.18gb     Device  2: (UUID: MIG-c)',
      '  MIG 1g.18gb+me  Device  3: (UUID: MIG-d)',
    ].join('\n')
    const slices = readNvidiaXml(xml, list) ?? []
    assert.deepEqual(slices.map(short), [
      'h200 71424 1c.3g.71gb: the slice shares its memory with other slices',
      'h200 71424 2c.3g.71gb: the slice shares its memory with other slices',
      'h200 16384 1g.18gb: null',
      'h200 16384 1g.18gb.me: null',
    ])
    assert.deepEqual(
      slices[2]?.cdiNames,
      ['0:2', 'mig0:2', 'MIG-c'].map((name) => `nvidia.com/gpu=${name}`),
    )
    const unnamed = readNvidiaXml(xml) ?? []
    assert.ok(unnamed.every(({ flaw }) => flaw?.includes('profile')))
  })

  it('has a flaw for a GPU that is cut but not into slices, nameless, or without memory', () => {
    const cases: [Change, RegExp][] = [
      [{ slices: [] }, /no slice/],
      [{ name: 'NVIDIA Graphics Device' }, /what it is/],
      [{ memory: 'N/A' }, /memory/],
      [{ memory: 'Insufficient Permissions' }, /memory/],
    ]
    for (const [change, flaw] of cases)
      assert.match(readNvidiaXml(logOf(gpuOf(change)))?.[0]?.flaw ?? '', flaw)
  })

  it('is nothing where it is cut off, crossed, or another document', () => {
    const xml = logOf(gpuOf())
    for (let end = 0; end < xml.length; end++)
      assert.equal(readNvidiaXml(xml.slice(0, end)), null, `cut at ${end}`)
    for (const other of ['<a/>', '<nvidia_smi_log><gpu></nvidia_smi_log></gpu>', '</a>', '<a></b>'])
      assert.equal(readNvidiaXml(other), null)
    assert.equal(readNvidiaXml('<x>'.repeat(40) + '</x>'.repeat(40)), null)
    assert.equal(readNvidiaXml('<'.repeat(9_000_000)), null)
  })

  it('takes no long time over what looks like tags without end', { timeout: 10_000 }, () => {
    for (const text of [
      '<a'.repeat(1_000_000),
      `<${'a'.repeat(4_000_000)}`,
      '<a>'.repeat(1_000_000),
    ])
      assert.equal(readNvidiaXml(text), null)
  })
})

describe('nvidia-smi --query-gpu', () => {
  const header =
    'index, name, uuid, pci.bus_id, memory.total [MiB], driver_version, mig.mode.current'

  it('tells the same, whichever columns there are', () => {
    const row = `0, NVIDIA GeForce RTX 4090, ${UUID}, 00000000:0A:00.0, 24564 MiB, 580.82.09, [N/A]`
    const noise = 'WARNING: infoROM is corrupted at gpu 0000:01:00.0'
    const csv = `${noise}\n${header}\n${row}\n${noise}\n`
    assert.deepEqual(readNvidiaCsv(csv), readNvidiaXml(logOf(gpuOf())))
    const noUnits = `name, memory.total [MiB]\r\nTesla T4, 15360\r\n`
    assert.deepEqual(readNvidiaCsv(noUnits).map(short), ['t4 15360 null: null'])
  })

  it('never tells a GPU in slices as a whole one', () => {
    const csv = `${header}\n0, NVIDIA H200, ${UUID}, 00000000:0A:00.0, 143771 MiB, 580.82.09, Enabled\n`
    assert.match(readNvidiaCsv(csv)[0]?.flaw ?? '', /no slice/)
    const list = `GPU 0: NVIDIA H200 (UUID: ${UUID})\n  MIG 1g.18gb  Device  0: (UUID: MIG-a)\n`
    assert.deepEqual(readNvidiaCsv(csv, list).map(short), [
      'h200 null 1g.18gb: its driver does not say how much memory it has',
    ])
  })

  it('is nothing without its header', () => {
    for (const text of ['', 'No devices were found\n', 'NVIDIA-SMI has failed', ', , ,\n, , ,'])
      assert.deepEqual(readNvidiaCsv(text), [])
  })
})

const short = ({ model, vramBytes, mig, flaw }: FoundGpu): string =>
  `${model} ${vramBytes === null ? 'null' : vramBytes / 2 ** 20} ${mig}: ${flaw}`

type Change = {
  readonly name?: string
  readonly memory?: string
  readonly minor?: string
  /** MiB of each; there: MIG is on. */
  readonly slices?: readonly number[]
}

const logOf = (...gpus: readonly string[]): string =>
  `<?xml version="1.0" ?>
<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v12.dtd">
<nvidia_smi_log>
  <driver_version>580.82.09</driver_version>
  ${gpus.join('\n')}
</nvidia_smi_log>`

function gpuOf({
  name = 'NVIDIA GeForce RTX 4090',
  memory = '24564 MiB',
  minor = '0',
  slices,
}: Change = {}): string {
  const places = (slices ?? []).map(
    (mib, i) =>
      `<mig_device><index>${i}</index><fb_memory_usage><total>${mib} MiB</total></fb_memory_usage></mig_device>`,
  )
  return `<gpu id="00000000:0A:00.0">
    <product_name>${name}</product_name>
    <mig_mode><current_mig>${slices ? 'Enabled' : 'N/A'}</current_mig></mig_mode>
    <mig_devices>${places.join('') || 'None'}</mig_devices>
    <uuid>${UUID}</uuid><minor_number>${minor}</minor_number>
    <pci><pci_bus_id>00000000:0A:00.0</pci_bus_id></pci>
    <fb_memory_usage><total>${memory}</total></fb_memory_usage><processes/>
  </gpu>`
}
