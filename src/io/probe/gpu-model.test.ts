import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { gpuInterface, gpuModel } from './gpu-model.ts'

/** What drivers say, what the SDL calls it, and the interface. */
const NAMES: readonly (readonly [string, string, string | null])[] = [
  ['NVIDIA GeForce RTX 4090', 'rtx4090', 'pcie'],
  ['NVIDIA GeForce RTX 3080 Ti', 'rtx3080ti', 'pcie'],
  ['NVIDIA GeForce RTX 4080 SUPER', 'rtx4080s', 'pcie'],
  ['NVIDIA GeForce RTX 4070 Ti SUPER', 'rtx4070tis', 'pcie'],
  ['NVIDIA GeForce RTX 5090 Laptop GPU', 'rtx5090m', 'pcie'],
  ['NVIDIA GeForce RTX 3050 6GB Laptop GPU', 'rtx3050m', 'pcie'],
  ['GeForce GTX 1070 Ti', 'gtx1070ti', 'pcie'],
  ['NVIDIA GeForce GT 1030', 'gt1030', 'pcie'],
  ['NVIDIA TITAN RTX', 'titanrtx', 'pcie'],
  ['Quadro P2000', 'p2000', 'pcie'],
  ['Quadro RTX 6000', 'rtx6000', 'pcie'],
  ['NVIDIA RTX A5000', 'a5000', 'pcie'],
  ['NVIDIA RTX A6000', 'rtxa6000', 'pcie'],
  ['NVIDIA RTX 4000 Ada Generation', 'rtx4000ada', 'pcie'],
  ['NVIDIA RTX 4000 SFF Ada Generation', 'rtx4000sada', 'pcie'],
  ['NVIDIA RTX 2000E Ada Generation', 'rtx2000eada', 'pcie'],
  ['NVIDIA RTX PRO 6000 Blackwell Server Edition', 'pro6000se', 'pcie'],
  ['NVIDIA RTX PRO 6000 Blackwell Workstation Edition', 'pro6000we', 'pcie'],
  ['NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition', 'pro6000mq', 'pcie'],
  ['Tesla T4', 't4', 'pcie'],
  ['NVIDIA A10G', 'a10g', 'pcie'],
  ['NVIDIA L40S', 'l40s', 'pcie'],
  ['Tesla P100-PCIE-16GB', 'p100', 'pcie'],
  ['Tesla P100-SXM2-16GB', 'p100', 'sxm'],
  ['Tesla V100-SXM2-32GB', 'v100', 'sxm'],
  ['NVIDIA A100-SXM4-80GB', 'a100', 'sxm'],
  ['NVIDIA A100 80GB PCIe', 'a100', 'pcie'],
  ['NVIDIA H100 80GB HBM3', 'h100', 'sxm'],
  ['NVIDIA H100 PCIe', 'h100', 'pcie'],
  ['NVIDIA H200', 'h200', 'sxm'],
  ['NVIDIA H200 NVL', 'h200nvl', 'pcie'],
  ['NVIDIA B200', 'b200', 'sxm'],
  ['NVIDIA GH200 480GB', 'gh200', null],
  ['NVIDIA GB10', 'gb10', null],
  ['Arcturus GL-XL [Instinct MI100]', 'mi100', 'pcie'],
  ['Radeon Instinct MI50 32GB', 'mi50', 'pcie'],
  ['AMD Instinct MI300X OAM', 'mi300x', null],
  ['AMD Radeon RX 7900 XTX', 'rx7900xtx', 'pcie'],
  ['AMD Radeon PRO W7900', 'prow7900', 'pcie'],
]

describe('the model of a GPU', () => {
  it('is what the SDL calls it, with its interface', () => {
    for (const [name, model, bus] of NAMES) {
      const found = gpuModel(name)
      assert.equal(found, model, name)
      assert.equal(gpuInterface(name, found ?? ''), bus, name)
    }
  })

  it('is none for what draws in software, and for what is no name', () => {
    const none = [
      'llvmpipe (LLVM 15.0.7, 256 bits)',
      'Microsoft Basic Render Driver',
      'SwiftShader Device (Subzero)',
      'Red Hat Virtio 1.0 GPU',
      'VMware SVGA II Adapter',
      'NVIDIA Graphics Device',
      'NVIDIA',
      '[Unknown Error]',
      'ERR!',
      '[N/A]',
      '',
      '4090',
      '0x1002',
    ]
    for (const name of none) assert.equal(gpuModel(name), null, name)
  })

  it('is a word that an offer may have, also from a name without end', () => {
    const model = gpuModel(`NVIDIA RTX 9${'090 x'.repeat(100_000)}`)
    assert.match(model ?? '', /^[a-z0-9][a-z0-9._-]{0,59}$/)
  })
})
