/** Output of real machines, collected beside the repository: who is in it is known, and no damage to it breaks a reader. */
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { z } from 'zod'
import { gpuSchema } from '../../core/protocol/capacity.ts'
import type { FoundGpu } from './gpu.ts'
import { readRocmJson } from './gpu-amd.ts'
import { gpuInterface, gpuModel } from './gpu-model.ts'
import { readNvidiaCsv, readNvidiaXml } from './gpu-nvidia.ts'

const folder = new URL('../../../../shared/data/gpu-samples/', import.meta.url)
const akash = new URL('../gpus/akash-gpus.json', folder)
const akashSchema = z.record(
  z.string(),
  z.object({
    devices: z.record(z.string(), z.object({ name: z.string(), interface: z.string() })),
  }),
)
const skip = existsSync(folder)
  ? false
  : 'gpu-samples is not in ../shared/data, beside the repository'

/** By folder and the start of the file's name: `model MiB interface`, as often as there are GPUs. */
const EXPECTED: Readonly<Record<string, readonly string[]>> = {
  'nvidia-smi-xml/netdata-rtx-2080-win': ['rtx2080 8192 pcie'],
  'nvidia-smi-xml/netdata-rtx-4090': ['rtx4090 24564 pcie'],
  'nvidia-smi-xml/netdata-tesla-p100': ['p100 16384 pcie'],
  'nvidia-smi-xml/telegraf-3090-v13': ['rtx3090 24576 pcie'],
  // Four slices; their profiles are in the output of -L, which was not captured.
  'nvidia-smi-xml/telegraf-a100-sxm4': times(4, 'a100 19968 sxm slice'),
  'nvidia-smi-xml/telegraf-a10g': ['a10g 23028 pcie'],
  'nvidia-smi-xml/telegraf-dual_2070': times(2, 'rtx2070 8192 pcie'),
  'nvidia-smi-xml/telegraf-dual_2080': times(2, 'rtx2080 8192 pcie'),
  'nvidia-smi-xml/telegraf-dual_a5000': times(2, 'a5000 24564 pcie'),
  'nvidia-smi-xml/telegraf-gt-1030': ['gt1030 1998 pcie'],
  'nvidia-smi-xml/telegraf-gtx-1070-ti': ['gtx1070ti 4096 pcie'],
  'nvidia-smi-xml/telegraf-quadro-p2000': ['p2000 5120 pcie'],
  'nvidia-smi-xml/telegraf-rtx-3080': ['rtx3080 10240 pcie'],
  'nvidia-smi-xml/telegraf-rtx-3090': ['rtx3090 24576 pcie'],
  'nvidia-smi-xml/telegraf-tesla-t4': ['t4 15360 pcie'],
  'nvidia-smi-xml/telegraf-tesla_t4': ['t4 15360 pcie'],
  'nvidia-captures/linux-x86_64__nvidia-geforce-rtx-2080-super': ['rtx2080s 8192 pcie'],
  'nvidia-captures/windows-x86_64__nvidia-geforce-rtx-2080-super': ['rtx2080s 8192 pcie'],
  'nvidia-captures/linux-x86_64__nvidia-geforce-rtx-4080-super': ['rtx4080s 16376 pcie'],
  'nvidia-captures/linux-x86_64__nvidia-h100': ['h100 81559 sxm'],
  'nvidia-captures/linux-x86_64__nvidia-h200__': ['h200 143771 sxm'],
  'nvidia-captures/linux-x86_64__nvidia-h200-mig': [
    'h200 ? sxm 1c.3g.71gb',
    'h200 ? sxm 2c.3g.71gb',
    'h200 ? sxm 2g.35gb',
    ...times(2, 'h200 ? sxm 1g.18gb'),
  ],
  'nvidia-smi-text/gpud-nvidia-smi-query.535.129': ['a10 pcie'],
  'nvidia-smi-text/gpud-nvidia-smi-query.535.154': times(8, 'rtx4090 pcie'),
  'nvidia-smi-text/gpud-nvidia-smi-query.535.183.01.out.0.valid': times(8, 'h100 sxm'),
  'nvidia-smi-text/gpud-nvidia-smi-query.535.183.01.out.0.invalid': ['h100 sxm'],
  'nvidia-smi-text/gpud-nvidia-smi-query.560': ['titanv pcie'],
  'nvidia-smi-text/netdata-tesla-p100': ['p100 ? pcie'],
  // Tables, links and lists of fields: no output that is asked for.
  'nvidia-smi-text/gpud-nvidia-smi.525': [],
  'nvidia-smi-text/gpud-nvidia-smi.nvlink': [],
  'nvidia-smi-text/netdata-help': [],
  'lspci/gpud-lspci.nn.a100': times(8, 'a100 sxm'),
  'lspci/gpud-lspci.nn.a10.': ['a10 pcie'],
  'lspci/gpud-lspci-vvv': [],
  'intel/netdata-intel': [],
  'rocm-smi-json/telegraf-mi100': times(4, 'mi100 32752 pcie'),
  'rocm-smi-json/telegraf-rx6700xt': ['rx6700xt 12272 pcie'],
  'rocm-smi-json/telegraf-vega-20': ['mi50 32752 pcie'],
}

describe('real output', { skip }, () => {
  const samples = skip === false ? readSamples() : []

  it('tells which GPUs there are', (t) => {
    assert.ok(samples.length >= 44, `${samples.length} samples`)
    for (const { path, text } of samples) {
      const [, expected] = Object.entries(EXPECTED).find(([start]) => path.startsWith(start)) ?? []
      const told = gpusIn(path, text)
      t.diagnostic(`${path}: ${told.join(', ') || 'none'}`)
      assert.deepEqual(told, expected, path)
    }
  })

  it('calls them as Akash does, which goes by the PCI id', (t) => {
    const ids = akashSchema.parse(JSON.parse(readFileSync(akash, 'utf8')))['10de']?.devices ?? {}
    const seen = samples.flatMap(({ text }) => {
      const id = /<pci_device_id>(\w{4})10DE<|, 0x(\w{4})10DE, /.exec(text)
      const known = ids[(id?.[1] ?? id?.[2] ?? '').toLowerCase()]
      const [gpu] = readAll(text)
      return known && gpu ? [{ known, gpu }] : []
    })
    t.diagnostic(`${seen.length} with a PCI id that Akash knows`)
    assert.ok(seen.length > 15)
    for (const { known, gpu } of seen)
      assert.equal(
        `${gpu.model} ${gpu.interface}`,
        `${known.name} ${known.interface.toLowerCase().slice(0, 4).replace(/\d/, '')}`,
      )
  })

  it('tells only what an offer may say', () => {
    const found = samples.flatMap(({ text }) => readAll(text)).filter(({ flaw }) => flaw === null)
    assert.ok(found.length > 25)
    for (const { vendor, model, vramBytes, interface: bus, mig } of found)
      gpuSchema.parse({ vendor, model, vramBytes, interface: bus, mig })
  })

  it('breaks no reader when it is cut or changed', { timeout: 60_000 }, () => {
    const small = samples.filter(({ text }) => text.length < 100_000)
    const damage = fc.record({
      sample: fc.nat(small.length - 1),
      cut: fc.double({ min: 0, max: 1, noNaN: true }),
      edits: fc.array(fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.string()), {
        maxLength: 8,
      }),
    })
    fc.assert(
      fc.property(damage, ({ sample, cut, edits }) => {
        let text = small[sample]?.text ?? ''
        text = text.slice(0, Math.ceil(text.length * cut))
        for (const [at, put] of edits) {
          const place = Math.floor(text.length * at)
          text = text.slice(0, place) + put + text.slice(place + put.length)
        }
        for (const gpu of readAll(text)) assert.equal(gpu.cdiNames.length > 0, true)
      }),
      { numRuns: 300 },
    )
  })
})

describe('any text', () => {
  it('breaks no reader', { timeout: 60_000 }, () => {
    const piece = fc.oneof(
      fc.string(),
      fc.constantFrom('<gpu>', '</gpu>', '<nvidia_smi_log>', '</nvidia_smi_log>', '<a/>', '\n'),
      fc.constantFrom(
        'name, ',
        'memory.total [MiB]',
        '{"card0": {',
        '"VRAM Total Memory (B)"',
        '}',
      ),
    )
    const text = fc.array(piece, { maxLength: 40 }).map((pieces) => pieces.join(''))
    fc.assert(fc.property(text, (any) => void readAll(any)))
  })
})

function readSamples(): { path: string; text: string }[] {
  const kinds = readdirSync(folder, { withFileTypes: true }).filter((one) => one.isDirectory())
  return kinds.flatMap(({ name }) =>
    readdirSync(new URL(`${name}/`, folder)).map((file) => {
      const path = `${name}/${file}`
      return { path, text: readFileSync(new URL(path, folder), 'utf8') }
    }),
  )
}

const readAll = (text: string): FoundGpu[] => [
  ...(readNvidiaXml(text, text) ?? []),
  ...readNvidiaCsv(text, text),
  ...readRocmJson(text),
]

/** Other texts are not asked for by a node, but have names: what comes of those. */
function gpusIn(path: string, text: string): string[] {
  const captured = /^# \$ nvidia-smi --query-gpu=.*\n#+\n([^]*?)\n\n/m.exec(text)?.[1]
  const list = /^# \$ nvidia-smi -L\n#+\n([^]*?)\n\n/m.exec(text)?.[1]
  const found = captured === undefined ? readAll(text) : readNvidiaCsv(captured, list)
  if (found.length > 0) return found.map(words)
  const names = path.startsWith('nvidia-smi-text')
    ? text.matchAll(/^ +Product Name +: (.*)$/gm)
    : text.matchAll(/3D controller \[0302\]: NVIDIA Corporation (.*\]) \[/g)
  return [...names].map(([, name = '']) => {
    const model = gpuModel(name) ?? 'none'
    return `${model} ${gpuInterface(name, model)}`
  })
}

function words({ model, vramBytes, interface: bus, slice, mig }: FoundGpu): string {
  const size = vramBytes === null ? '?' : Math.round(vramBytes / 2 ** 20)
  const part = slice === null ? [] : [mig ?? 'slice']
  return [model, size, bus, ...part].join(' ')
}

function times(count: number, text: string): string[] {
  return Array.from({ length: count }, () => text)
}
