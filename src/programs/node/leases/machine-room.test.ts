import assert from 'node:assert/strict'
import { tmpdir } from 'node:os'
import { describe, it } from 'node:test'
import { capacitySchema } from '../../../core/protocol/capacity.ts'
import { readNodeConfig } from '../config.ts'
import { FAKE_FACTS } from './fake-runtime.ts'
import { capacityOf, measureMachine, roomOf, roomWords, type Machine } from './machine-room.ts'
import { GIB, H100 } from './test-kit.ts'

const MACHINE: Machine = {
  threads: 8,
  memoryBytes: 32 * GIB,
  diskBytes: 100 * GIB,
  gpus: [
    { ...H100, cdi: 'nvidia.com/gpu=0' },
    { ...H100, cdi: 'nvidia.com/gpu=1' },
  ],
}

describe('what of a machine is leased out', () => {
  it('leaves a part to the host, and to the engine what it uses', () => {
    const room = roomOf(MACHINE, settings(), 2 * GIB)
    assert.equal(room.cpuMilli, 7200)
    assert.equal((room.memoryBytes / GIB).toFixed(1), '26.8')
    assert.equal((room.disks[0]?.bytes ?? 0) / GIB, 90)
  })

  it('is only a share where several nodes are one machine', () => {
    const third = settings({ leaseShare: '0.3333' })
    const room = roomOf(MACHINE, third, 20 * GIB)
    assert.ok(3 * room.cpuMilli <= 7200)
    assert.equal(room.memoryBytes, 0)
  })

  it('is told in the offer, and to the provider in one line', () => {
    const config = settings({ leaseStorageClasses: ['default', 'beta3'], region: 'eu-de' })
    const capacity = capacityOf(roomOf(MACHINE, config, 0), FAKE_FACTS, config)
    assert.deepEqual(capacitySchema.parse(capacity), capacity)
    assert.deepEqual(capacity.gpus, [{ ...H100, count: 2 }])
    assert.deepEqual(
      capacity.persistent.map((one) => one.class),
      ['default', 'beta3'],
    )
    assert.equal(
      roomWords(capacity, config),
      'offering leases: 7.2 CPU, 28.8 GiB memory, 90.0 GiB disk, 2 GPU, docker 20.10.24, $3.00 per CPU a month',
    )
  })

  it('is measured on the real machine', async () => {
    const machine = await measureMachine(tmpdir(), [])
    assert.ok(machine.threads >= 1 && machine.memoryBytes > GIB / 4 && machine.diskBytes > 0)
  })
})

const settings = (change: object = {}) =>
  readNodeConfig({
    gateways: ['http://127.0.0.1:1'],
    home: '/nowhere',
    models: [{ source: 'a.gguf' }],
    ...change,
  })
