import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { FoundGpu } from '../../../io/probe/gpu.ts'
import { findingText, gpuResults } from './doctor-report.ts'

describe('what doctor says of GPUs', () => {
  it('is which name a container has it by, or why none can, and never a failure', () => {
    const { vendor, model, vramBytes, interface: bus, mig } = GPU
    const kind = { vendor, model, vramBytes: vramBytes ?? 0, interface: bus, mig }
    const results = gpuResults({
      gpus: [{ ...kind, cdi: 'nvidia.com/gpu=0' }],
      withheld: [{ gpu: { ...GPU, index: 1 }, cause: 'no CDI spec has it', fix: 'make one' }],
      problems: ['rocm-smi failed: no driver'],
    })
    assert.deepEqual(
      results.map(({ status, details }) => [status, details]),
      [
        ['ok', { cdi: 'nvidia.com/gpu=0' }],
        ['warn', { index: 1 }],
        ['warn', {}],
      ],
    )
    assert.equal(
      results.map(findingText).join(''),
      `  ✓ gpu              nvidia rtx4090 24 GiB pcie, as nvidia.com/gpu=0
  ! gpu              nvidia rtx4090 24 GiB pcie
      because: no CDI spec has it
      → make one
  ! gpu              rocm-smi failed: no driver
      because: a GPU whose driver does not answer cannot be leased
      → run that tool by hand: it says what is wrong with the driver
`,
    )
  })
})

const GPU: FoundGpu = {
  vendor: 'nvidia',
  model: 'rtx4090',
  vramBytes: 24_564 * 2 ** 20,
  interface: 'pcie',
  mig: null,
  index: 0,
  slice: null,
  uuid: null,
  busId: null,
  driver: null,
  cdiNames: ['nvidia.com/gpu=0'],
  flaw: null,
}
