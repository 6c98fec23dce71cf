/**
 * What the SDL calls a GPU that its driver calls `NVIDIA GeForce RTX 4080 SUPER`: the words without maker, brand, memory
 * and socket, as one: `rtx4080s`. The names are those of Akash: github.com/akash-network/provider-configs, gpus.json.
 */
import type { Gpu } from '../../core/protocol/capacity.ts'

/** Longer is no name. */
const MAX_NAME = 200
/** Draw in software, or belong to a virtual machine: no GPU, whatever a driver says. */
const NO_GPU =
  /llvmpipe|lavapipe|softpipe|swiftshader|software|basic render|virtio|virgl|qxl|svga|error|err!|unknown|not supported/

const MAKER = /^(?:nvidia|geforce|tesla|quadro|grid|amd|ati|radeon|instinct|graphics|device|gpu)$/
const SOCKET =
  /^(?:sxm\d?|pcie?|oam|hbm\d?[a-z]?|\d+gb?|ls|generation|design|with|edition|blackwell)$/

/** Where Akash shortens words. */
const SHORT: Readonly<Record<string, string>> = {
  super: 's',
  sff: 's',
  laptop: 'm',
  mobile: 'm',
  server: 's',
  workstation: 'w',
}

/** Null: not the name of a GPU. */
export function gpuModel(name: string): string | null {
  const told = name.slice(0, MAX_NAME).toLowerCase()
  if (NO_GPU.test(told)) return null
  // `Arcturus GL-XL [Instinct MI100]`: the chip, and in brackets what is sold.
  const [, sold = told] = /\[([^\]]+)\]/.exec(told) ?? []
  const plain = sold.replace(/\((?:r|tm)\)/g, '').replace(/max-q/, 'mq')
  const words = plain.split(/[^a-z0-9.]+/).filter((word) => word !== '' && !MAKER.test(word))
  const model = (isPro(words) ? proModel(words) : plainModel(words)).slice(0, 60)
  return /^[a-z]+[a-z0-9.]*\d|^titan/.test(model) ? model : null
}

function plainModel(words: readonly string[]): string {
  const parts = words.filter((word) => !SOCKET.test(word))
  const model = parts.map((word) => SHORT[word] ?? word).join('')
  // The one of its series that Akash writes without.
  return model === 'rtxa5000' ? 'a5000' : model
}

const isPro = ([first, second]: readonly string[]): boolean => first === 'rtx' && second === 'pro'

/** `RTX PRO 6000 Blackwell Server Edition` is `pro6000se`; of the Max-Q Workstation Edition only `mq` is kept. */
function proModel(words: readonly string[]): string {
  const number = words[2] ?? ''
  if (words.includes('mq')) return `pro${number}mq`
  if (words.includes('server')) return `pro${number}se`
  if (words.includes('workstation')) return `pro${number}we`
  return `pro${number}`
}

/** Sold only on a board of their own socket; their names do not say so. `H100 PCIe` and `H200 NVL` do. */
const ALWAYS_SXM = /^(?:h100|h200|h800|h20|b100|b200|b300)$/
/** Sold with more than one socket, or with none of the two. */
const UNSURE = /^(?:v100|a100|a800|gh200|gb\d+|mi2[05][05]x?|mi3\d\d[a-z]?)$/

/** Null where the name leaves it open, or the socket is neither (OAM, Grace). */
export function gpuInterface(name: string, model: string): Gpu['interface'] {
  const told = name.slice(0, MAX_NAME).toLowerCase()
  if (/\bsxm\d?\b/.test(told)) return 'sxm'
  if (/\b(?:pcie?|nvl)\b/.test(told)) return 'pcie'
  if (ALWAYS_SXM.test(model)) return 'sxm'
  return UNSURE.test(model) ? null : 'pcie'
}
