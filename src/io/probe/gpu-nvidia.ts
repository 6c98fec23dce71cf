/** Reads what nvidia-smi tells: `-q -x` of schemas v10 to v13, `--query-gpu` as CSV, and `-L` for the names of slices. */
import { MAX_GPUS, MAX_TOOL_CHARS, MEMORY_UNKNOWN, MODEL_UNKNOWN, type FoundGpu } from './gpu.ts'
import { gpuInterface, gpuModel } from './gpu-model.ts'
import { childrenOf, readXml, textAt, type XmlElement } from './gpu-xml.ts'

/** Fields for `--query-gpu`; all are known to drivers since 450. */
export const NVIDIA_FIELDS =
  'index,name,uuid,pci.bus_id,memory.total,driver_version,mig.mode.current'

type Told = {
  readonly index: number
  readonly name: string
  readonly uuid: string
  readonly busId: string
  readonly memory: string
  readonly driver: string
  readonly isSliced: boolean
}

/**
 * Null: no whole XML document of nvidia-smi. A GPU in slices (MIG) is told as its slices, which have a profile only in
 * the output of `nvidia-smi -L`.
 */
export function readNvidiaXml(xml: string, list = ''): FoundGpu[] | null {
  const log = readXml(xml)
  if (log?.name !== 'nvidia_smi_log') return null
  const names = readSliceNames(list)
  const driver = textAt(log, 'driver_version')
  return childrenOf(log, 'gpu')
    .slice(0, MAX_GPUS)
    .flatMap((gpu, index) => {
      const told = toldOf(gpu, index, driver)
      if (!told.isSliced) return [wholeGpu(told)]
      const slices = childrenOf(gpu, 'mig_devices').flatMap((all) => childrenOf(all, 'mig_device'))
      return slicesOf(
        told,
        slices.map((one) => ({
          slice: Number(textAt(one, 'index') || Number.NaN),
          memory: textAt(one, 'fb_memory_usage', 'total'),
        })),
        names,
      )
    })
}

/** The order of the elements is the driver's index; `minor_number` is the number of the device file, which may differ. */
const toldOf = (gpu: XmlElement, index: number, driver: string): Told => ({
  index,
  name: textAt(gpu, 'product_name'),
  uuid: textAt(gpu, 'uuid'),
  busId: textAt(gpu, 'pci', 'pci_bus_id'),
  memory: textAt(gpu, 'fb_memory_usage', 'total'),
  driver,
  isSliced: textAt(gpu, 'mig_mode', 'current_mig') === 'Enabled',
})

/** With its header: which columns there are, and in which order, is free. Lines that are no GPU are passed over. */
export function readNvidiaCsv(csv: string, list = ''): FoundGpu[] {
  const lines = csv.slice(0, MAX_TOOL_CHARS).split(/\r?\n/)
  const start = lines.findIndex((line) => /(?:^|, )name, /.test(line))
  const header = lines[start]?.split(', ').map((column) => column.replace(/ \[.*\]$/, '')) ?? []
  const unit = / memory\.total \[MiB\]/.test(lines[start] ?? '') ? ' MiB' : ''
  const names = readSliceNames(list)
  return lines.slice(start + 1, start + 1 + MAX_GPUS).flatMap((line, row) => {
    const values = line.split(', ')
    const at = (column: string): string => values[header.indexOf(column)]?.trim() ?? ''
    if (start < 0 || values.length !== header.length) return []
    const memory = at('memory.total')
    const told: Told = {
      index: /^\d{1,3}$/.test(at('index')) ? Number(at('index')) : row,
      name: at('name'),
      uuid: at('uuid'),
      busId: at('pci.bus_id'),
      memory: /^\d+$/.test(memory) ? `${memory}${unit}` : memory,
      driver: at('driver_version'),
      isSliced: at('mig.mode.current') === 'Enabled',
    }
    if (!told.isSliced) return [wholeGpu(told)]
    const places = [...names.values()].filter(({ gpu }) => gpu === told.index)
    return slicesOf(
      told,
      places.map(({ slice }) => ({ slice, memory: '' })),
      names,
    )
  })
}

type SliceName = {
  readonly gpu: number
  readonly slice: number
  readonly profile: string
  readonly uuid: string
}

/** `  MIG 1g.18gb     Device  3: (UUID: MIG-…)` below `GPU 0: …`, by `0:3`. */
function readSliceNames(list: string): Map<string, SliceName> {
  const names = new Map<string, SliceName>()
  let gpu = Number.NaN
  for (const line of list.slice(0, MAX_TOOL_CHARS).split(/\r?\n/)) {
    if (line.length > 500) continue
    const [, place] = /^GPU (\d{1,3}):/.exec(line) ?? []
    if (place !== undefined) gpu = Number(place)
    const [, profile, slice, uuid] =
      /^ +MIG (\S+) +Device +(\d{1,3}): \(UUID: (MIG-[\w/-]+)\)$/.exec(line) ?? []
    if (profile && slice && uuid && names.size < MAX_GPUS * 8)
      names.set(`${gpu}:${slice}`, { gpu, slice: Number(slice), profile, uuid })
  }
  return names
}

function wholeGpu(told: Told): FoundGpu {
  const { index, busId, driver } = told
  const model = gpuModel(told.name)
  const vramBytes = bytesOf(told.memory)
  const uuid = /^GPU-[\w-]{1,80}$/.test(told.uuid) ? told.uuid : null
  return {
    vendor: 'nvidia',
    model: model ?? 'unknown',
    vramBytes,
    interface: model === null ? null : gpuInterface(told.name, model),
    mig: null,
    index,
    slice: null,
    uuid,
    busId: /^[\da-f]+:[\da-f]+:[\da-f]+\.[\da-f]$/i.test(busId) ? busId : null,
    driver: driver === '' ? null : driver,
    cdiNames: [String(index), `gpu${index}`, ...(uuid === null ? [] : [uuid])].map(cdi),
    flaw: model === null ? MODEL_UNKNOWN : vramBytes === null ? MEMORY_UNKNOWN : null,
  }
}

function slicesOf(
  told: Told,
  slices: readonly { readonly slice: number; readonly memory: string }[],
  names: ReadonlyMap<string, SliceName>,
): FoundGpu[] {
  const whole = wholeGpu(told)
  if (slices.length === 0)
    return [{ ...whole, flaw: 'MIG is on, and no slice of it has been made (nvidia-smi mig -cgi)' }]
  return slices.slice(0, MAX_GPUS).map(({ slice, memory }) => {
    const place = `${told.index}:${slice}`
    const name = names.get(place)
    const uuid = name?.uuid ?? null
    const vramBytes = bytesOf(memory)
    return {
      ...whole,
      vramBytes,
      mig: name === undefined ? null : profileWord(name.profile),
      slice,
      uuid,
      cdiNames: [place, `mig${place}`, ...(uuid === null ? [] : [uuid])].map(cdi),
      flaw: whole.model === 'unknown' ? MODEL_UNKNOWN : sliceFlaw(name?.profile, vramBytes),
    }
  })
}

/** `1c.3g.71gb` is one of several that compute in the same 71 GB: a tenant would share memory with another. */
function sliceFlaw(profile: string | undefined, vramBytes: number | null): string | null {
  if (profile === undefined) return 'nvidia-smi -L does not tell the profile of the slice'
  if (/^\d+c\./.test(profile)) return 'the slice shares its memory with other slices'
  return vramBytes === null ? MEMORY_UNKNOWN : null
}

/** `1g.10gb+me` has the media engines; a dot, as Kubernetes' device plugin writes it. */
const profileWord = (profile: string): string =>
  profile
    .toLowerCase()
    .replace(/[^a-z0-9._-]/g, '.')
    .slice(0, 60)

/** `24564 MiB`; null for `N/A`, `[Not Supported]` and the like. */
function bytesOf(memory: string): number | null {
  const [, mib] = /^(\d{1,8}) MiB$/.exec(memory) ?? []
  return mib === undefined || Number(mib) === 0 ? null : Number(mib) * 2 ** 20
}

const cdi = (device: string): string => `nvidia.com/gpu=${device}`
