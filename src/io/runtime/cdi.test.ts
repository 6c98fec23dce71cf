import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { cdiNames, readCdiSpecs, resolveCdi } from './cdi.ts'

/** As `nvidia-ctk cdi generate` writes it, shortened. */
const NVIDIA = `
cdiVersion: 0.5.0
kind: nvidia.com/gpu
containerEdits:
  env: [NVIDIA_VISIBLE_DEVICES=void]
  deviceNodes:
    - path: /dev/nvidiactl
  hooks:
    - hookName: createContainer
      path: /usr/bin/nvidia-cdi-hook
      args: [nvidia-cdi-hook, update-ldcache, --folder, /usr/lib/x86_64-linux-gnu]
  mounts:
    - hostPath: /usr/lib/x86_64-linux-gnu/libcuda.so.550.54.15
      containerPath: /usr/lib/x86_64-linux-gnu/libcuda.so.550.54.15
      options: [ro, nosuid, nodev, bind]
    - hostPath: /usr/bin/nvidia-smi
      containerPath: /usr/bin/nvidia-smi
      options: [ro]
devices:
  - name: "0"
    containerEdits:
      deviceNodes:
        - path: /dev/nvidia0
          permissions: rwm
  - name: all
    containerEdits:
      deviceNodes:
        - { path: /dev/nvidia0 }
        - { path: /dev/dri/card1, hostPath: /dev/dri/card9 }
`

describe('a CDI spec', () => {
  it('becomes plain variables, mounts and devices', { timeout: 5_000 }, async () => {
    const edits = resolveCdi(['nvidia.com/gpu=0'], await specsOf({ 'nvidia.yaml': NVIDIA }))
    assert.deepEqual(edits.env, ['NVIDIA_VISIBLE_DEVICES=void'])
    assert.deepEqual(edits.devices, [
      { hostPath: '/dev/nvidiactl', containerPath: '/dev/nvidiactl', permissions: 'rw' },
      { hostPath: '/dev/nvidia0', containerPath: '/dev/nvidia0', permissions: 'rwm' },
    ])
  })

  it(
    'mounts a library also under the name by which programs look for it',
    { timeout: 5_000 },
    async () => {
      const { mounts } = resolveCdi(['nvidia.com/gpu=0'], await specsOf({ 'nvidia.yaml': NVIDIA }))
      const folder = '/usr/lib/x86_64-linux-gnu'
      assert.deepEqual(
        mounts.map(({ hostPath, containerPath }) => [hostPath, containerPath]),
        [
          [`${folder}/libcuda.so.550.54.15`, `${folder}/libcuda.so.1`],
          [`${folder}/libcuda.so.550.54.15`, `${folder}/libcuda.so.550.54.15`],
          ['/usr/bin/nvidia-smi', '/usr/bin/nvidia-smi'],
        ],
      )
      assert.ok(mounts.every(({ readOnly }) => readOnly))
    },
  )

  it('adds what several of its devices share once', { timeout: 5_000 }, async () => {
    const specs = await specsOf({ 'nvidia.yaml': NVIDIA })
    assert.deepEqual(cdiNames(specs), ['nvidia.com/gpu=0', 'nvidia.com/gpu=all'])
    const { devices } = resolveCdi(cdiNames(specs), specs)
    assert.deepEqual(
      devices.map(({ hostPath }) => hostPath),
      ['/dev/nvidiactl', '/dev/nvidia0', '/dev/dri/card9'],
    )
  })

  it(
    'is passed over when it is broken, and found in later folders first',
    { timeout: 5_000 },
    async () => {
      const specs = [
        ...(await specsOf({
          'a.json': json('A=old'),
          'broken.yaml': ': [',
          'c.txt': json('A=no'),
        })),
        ...(await specsOf({ 'a.json': json('A=new') })),
        ...(await readCdiSpecs(['/nowhere'])),
      ]
      assert.equal(specs.length, 2)
      assert.deepEqual(resolveCdi(['x.y/gpu=0'], specs).env, ['A=new'])
    },
  )

  it('is missed with its name, and what there is instead', { timeout: 5_000 }, async () => {
    const specs = await specsOf({ 'nvidia.yaml': NVIDIA })
    assert.throws(() => resolveCdi(['nvidia.com/gpu=7'], specs), {
      code: 'gpu_unknown',
      message: /nvidia.com\/gpu=7; it has: nvidia.com\/gpu=0, /,
    })
  })
})

const json = (env: string): string =>
  JSON.stringify({
    cdiVersion: '0.6.0',
    kind: 'x.y/gpu',
    devices: [{ name: '0', containerEdits: { env: [env] } }],
  })

async function specsOf(files: Record<string, string>) {
  const folder = await mkdtemp(join(tmpdir(), 'baseload-cdi-'))
  try {
    for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text)
    return await readCdiSpecs([folder])
  } finally {
    await rm(folder, { recursive: true })
  }
}
