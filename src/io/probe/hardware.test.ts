import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { detectHardware } from './hardware.ts'

describe('detectHardware', () => {
  it('reads GPUs as nvidia-smi lists them', async () => {
    const csv = [
      '0, NVIDIA H100 80GB HBM3, GPU-5f3c1b9e-2d64-4c3e-b3f0-1c0f7f8a9d21, 81559, 550.54.15',
      '1, NVIDIA GB10, GPU-0b2d7c44-91a5-4f7b-8a11-2e9d3c5f6a70, [N/A], 580.82.09',
      'WARNING: infoROM is corrupted at gpu 0000:01:00.0',
      '',
    ].join('\n')
    const { gpus } = await detectHardware(() => Promise.resolve(csv))
    assert.deepEqual(
      gpus.map(({ index, name, memoryMiB, driver }) => [index, name, memoryMiB, driver]),
      [
        [0, 'NVIDIA H100 80GB HBM3', 81559, '550.54.15'],
        [1, 'NVIDIA GB10', null, '580.82.09'],
      ],
    )
  })

  it('knows the machine where there is no GPU', { timeout: 20_000 }, async () => {
    const missing = await detectHardware(() => Promise.reject(new Error('ENOENT')))
    assert.deepEqual(missing.gpus, [])
    const here = await detectHardware()
    assert.ok(here.cores > 0 && here.memoryBytes > 0 && here.cpuModel !== '')
  })
})
