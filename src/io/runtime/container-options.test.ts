import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Service } from '../../core/protocol/manifest.ts'
import type { Resources } from '../../core/protocol/resources.ts'
import { containerOptions } from './container-options.ts'
import { hostLimits } from './host-limits.ts'
import { planLease, shapeOf, type ReplicaPlan } from './lease-plan.ts'
import { quirksOf } from './quirks.ts'
import type { LeaseSpec } from './runtime.ts'
import { SECCOMP_PROFILE } from './seccomp-profile.ts'

const MIB = 1 << 20

describe('a plan of a lease', () => {
  it('has one container for each replica, with what its unit has', () => {
    const plans = planLease(spec({ count: 3 }))
    assert.deepEqual(
      plans.map(({ target }) => target.replica),
      [0, 1, 2],
    )
    const [plan] = plans
    assert.equal(plan?.diskBytes, 512 * MIB)
    assert.deepEqual(plan?.inMemory, [{ path: '/dev/shm', bytes: 32 * MIB }])
    assert.deepEqual(plan?.volumes, [
      { volume: 'data', path: '/data', readOnly: true, bytes: 100 * MIB, persistent: true },
    ])
  })

  it('is refused where manifest and group do not fit, or the names no engine', () => {
    const wrong: [RegExp, LeaseSpec][] = [
      [/unit 7/, spec({ unit: 7 })],
      [/volume none/, spec({ mounts: [{ volume: 'none', path: '/x', readOnly: false }] })],
      [/name for a service/, spec({ name: '../web' })],
      [/name for a lease/, { ...spec({}), lease: 'a/b' }],
      [/name for a volume/, spec({ mounts: [{ volume: '-v', path: '/x', readOnly: false }] })],
      [/needs 0 GPUs and was given 1/, { ...spec({}), gpus: { web: [['nvidia.com/gpu=0']] } }],
      [/300 containers; one lease on one node has at most 253/, spec({ count: 300 })],
    ]
    for (const [message, one] of wrong)
      assert.throws(() => planLease(one), { code: 'lease_invalid', message })
  })

  it('has another shape for each thing that a container keeps for life', () => {
    const base = planOf(spec({}))
    const shapes = [
      base,
      planOf(spec({ image: 'other' })),
      planOf(spec({ env: ['A=2'] })),
      planOf(spec({ command: ['x'] })),
      planOf(spec({ args: ['x'] })),
      planOf({ ...spec({}), restart: 'never' }),
      planOf({ ...spec({}), readOnlyRoot: ['web'] }),
    ].map((plan) => shapeOf(plan, false))
    assert.equal(new Set(shapes).size, shapes.length)
    const larger = { ...base, memoryBytes: base.memoryBytes * 2 }
    assert.equal(shapeOf(larger, false), shapeOf(base, false))
    assert.notEqual(shapeOf(larger, true), shapeOf(base, true))
  })
})

describe('a container', () => {
  it('is limited in all it can use', () => {
    const { HostConfig } = options()
    assert.equal(HostConfig?.NanoCpus, 1.5e9)
    assert.equal(HostConfig?.Memory, 256 * MIB)
    assert.equal(HostConfig?.MemorySwap, HostConfig?.Memory)
    assert.equal(HostConfig?.PidsLimit, 4096)
    assert.deepEqual(HostConfig?.Ulimits, [{ Name: 'nofile', Soft: 20_000, Hard: 20_000 }])
    assert.equal(HostConfig?.ShmSize, 32 * MIB)
  })

  it('has few capabilities, no way to more, and our own filter of system calls', () => {
    const { HostConfig } = options()
    assert.deepEqual(HostConfig?.CapDrop, ['ALL'])
    for (const power of ['NET_RAW', 'SYS_ADMIN', 'MKNOD', 'SYS_PTRACE', 'SYS_CHROOT'])
      assert.ok(!HostConfig?.CapAdd.includes(power), power)
    assert.deepEqual(HostConfig?.SecurityOpt, ['no-new-privileges', 'seccomp=PROFILE'])
    assert.deepEqual(HostConfig?.RestartPolicy, { Name: 'no' })
    assert.equal(HostConfig?.Privileged, undefined)
    assert.equal(HostConfig?.PortBindings, undefined)
  })

  it('keeps its image where the service says nothing, and empty variables empty', () => {
    const plain = options()
    assert.deepEqual([plain.Entrypoint, plain.Cmd], [undefined, undefined])
    assert.deepEqual(plain.Env, ['A=1', 'B='])
    const said = options({ command: ['run'], args: ['fast'] })
    assert.deepEqual([said.Entrypoint, said.Cmd], [['run'], ['fast']])
  })

  it('has a read-only root where asked, with a little room in memory', () => {
    const plan = planOf({ ...spec({}), readOnlyRoot: ['web'] })
    const { HostConfig } = containerOptions(plan, null, context('docker'))
    assert.equal(HostConfig?.ReadonlyRootfs, true)
    assert.deepEqual(Object.keys(HostConfig?.Tmpfs ?? {}), ['/tmp', '/run'])
  })

  it('gets GPUs as names where the engine knows CDI, else as plain devices', () => {
    const named = containerOptions(planOf(spec({})), { names: ['x.y/gpu=0'] }, context('docker'))
    assert.deepEqual(named.HostConfig?.DeviceRequests, [
      { Driver: 'cdi', DeviceIDs: ['x.y/gpu=0'] },
    ])
    const edits = {
      env: ['A=gpu', 'GPU=0'],
      mounts: [{ hostPath: '/lib/a', containerPath: '/lib/b', readOnly: true }],
      devices: [{ hostPath: '/dev/a', containerPath: '/dev/b', permissions: 'rw' }],
    }
    const plain = containerOptions(planOf(spec({})), edits, context('docker'))
    // What the tenant says comes later, and so wins.
    assert.deepEqual(plain.Env, ['A=gpu', 'GPU=0', 'A=1', 'B='])
    assert.deepEqual(plain.HostConfig?.Devices, [
      { PathOnHost: '/dev/a', PathInContainer: '/dev/b', CgroupPermissions: 'rw' },
    ])
    assert.deepEqual(plain.HostConfig?.Mounts?.at(-1)?.Source, '/lib/a')
  })

  it('differs under Podman: both limits at once, its own kind of log', () => {
    const { HostConfig } = containerOptions(planOf(spec({})), null, context('podman'))
    assert.deepEqual(
      HostConfig?.Ulimits?.map(({ Name }) => Name),
      ['nofile', 'nproc'],
    )
    assert.equal(HostConfig?.LogConfig?.Type, 'k8s-file')
    assert.deepEqual(options().HostConfig?.LogConfig, {
      Type: 'json-file',
      Config: { 'max-size': String(5 * MIB), 'max-file': '2' },
    })
  })
})

describe('limits of this machine', () => {
  it('are the hard ones of this process, and no more than servers want', () => {
    const text =
      'Max open files            1024                 20000                files\nMax processes  5 96365 processes\n'
    const { openFiles, processesPerUser } = hostLimits(text)
    assert.deepEqual(
      { openFiles, processesPerUser },
      { openFiles: 20_000, processesPerUser: 30_000 },
    )
    assert.equal(hostLimits('').openFiles, 65_536)
    assert.ok(hostLimits().openFiles > 0)
  })
})

describe('the filter of system calls', () => {
  it('allows no call that opens a way out', () => {
    const allowed = SECCOMP_PROFILE.syscalls.flatMap(({ names, action }) =>
      action === 'SCMP_ACT_ALLOW' ? names : [],
    )
    const never =
      'unshare setns mount umount2 pivot_root move_mount open_tree fsopen fsmount ptrace process_vm_readv process_vm_writev bpf perf_event_open userfaultfd io_uring_setup keyctl add_key request_key kexec_load init_module finit_module delete_module open_by_handle_at reboot swapon acct quotactl settimeofday clock_settime socketcall iopl ioperm kcmp pidfd_getfd chroot syslog sethostname nfsservctl personality_any'
    for (const name of never.split(' ')) assert.ok(!allowed.includes(name), name)
    for (const name of ['openat', 'execve', 'futex', 'epoll_wait', 'clone', 'socket'])
      assert.ok(allowed.includes(name), name)
    assert.equal(
      new Set(allowed).size,
      allowed.length - 6,
      'sockets and personality: several rules',
    )
  })
})

const resources: Resources = {
  cpuMilli: 1500,
  cpuArch: null,
  memoryBytes: 256 * MIB,
  volumes: [
    { name: 'default', bytes: 512 * MIB, persistent: false, class: 'default' },
    { name: 'data', bytes: 100 * MIB, persistent: true, class: 'beta2' },
    { name: 'shm', bytes: 32 * MIB, persistent: false, class: 'ram' },
  ],
  gpu: null,
}

function spec(more: Partial<Service>): LeaseSpec {
  const service: Service = {
    name: 'web',
    image: 'nginx',
    command: null,
    args: null,
    env: ['A=1', 'B'],
    unit: 1,
    count: 1,
    expose: [],
    mounts: [
      { volume: 'data', path: '/data', readOnly: true },
      { volume: 'shm', path: '/dev/shm', readOnly: false },
    ],
    credentials: null,
    permissions: [],
    tee: null,
    ...more,
  }
  const endpoints = { sharedHttp: 0, randomPort: 0, leasedIp: 0 }
  return {
    lease: 'one',
    epoch: 1,
    units: [{ id: 1, resources, count: service.count, endpoints, maxRate: '1' }],
    manifest: { group: 'g', services: [service] },
  }
}

function planOf(one: LeaseSpec): ReplicaPlan {
  const [plan] = planLease(one)
  assert.ok(plan)
  return plan
}

const options = (more: Partial<Service> = {}) =>
  containerOptions(planOf(spec(more)), null, context('docker'))

const context = (engine: 'docker' | 'podman') => ({
  instance: 'ab12',
  facts: {
    socket: '/sock',
    engine,
    version: '20.10',
    cgroupVersion: 1 as const,
    storageDriver: 'overlay2',
    isolation: 'runc' as const,
    userNamespaces: false,
    architecture: 'amd64',
    quirks: quirksOf(engine, '20.10'),
  },
  limits: { pids: 4096, openFiles: 20_000, processesPerUser: 30_000, logBytes: 10 * MIB },
  nameServers: ['1.1.1.1'],
  seccomp: 'PROFILE',
})
