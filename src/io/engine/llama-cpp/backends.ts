/** Which build of llama.cpp a machine can use, and the npm packages that hold it. */
import { access } from 'node:fs/promises'

/** What computes: processor, NVIDIA by CUDA, any GPU by Vulkan, Apple's by Metal. */
export type Backend = 'cpu' | 'cuda' | 'vulkan' | 'metal'

export type Machine = { readonly platform: NodeJS.Platform; readonly arch: string }

/** The npm packages with the binaries of one backend, or null where none is built for this machine. */
export function backendPackages(
  backend: Backend,
  { platform, arch }: Machine,
): readonly string[] | null {
  return PACKAGES[`${platform}-${arch}`]?.[backend] ?? null
}

/** The backends that this machine has drivers for. Having the driver is not proof that it works: the engine tries it. */
export async function detectBackends(machine: Machine = process): Promise<Backend[]> {
  const found: Backend[] = []
  for (const backend of ['cuda', 'vulkan', 'metal', 'cpu'] as const) {
    if (backendPackages(backend, machine) === null) continue
    if (backend === 'cpu' || backend === 'metal' || (await anyExists(DRIVERS[backend])))
      found.push(backend)
  }
  return found
}

const PACKAGES: Readonly<Record<string, Partial<Record<Backend, readonly string[]>>>> = {
  'linux-x64': {
    cpu: ['linux-x64'],
    // The GPU builds fall back to the plain one when the driver refuses to work.
    cuda: ['linux-x64', 'linux-x64-cuda', 'linux-x64-cuda-ext'],
    vulkan: ['linux-x64', 'linux-x64-vulkan'],
  },
  'linux-arm64': { cpu: ['linux-arm64'] },
  // On Apple silicon the Metal build is the only one; without the GPU it computes on the processor.
  'darwin-arm64': { cpu: ['mac-arm64-metal'], metal: ['mac-arm64-metal'] },
  'darwin-x64': { cpu: ['mac-x64'] },
}

const LIBRARY_FOLDERS = [
  '/usr/lib/x86_64-linux-gnu',
  '/usr/lib64',
  '/usr/lib',
  '/usr/local/lib',
  '/usr/lib/wsl/lib',
]
const DRIVERS = {
  cuda: ['/usr/bin/nvidia-smi', ...LIBRARY_FOLDERS.map((folder) => `${folder}/libcuda.so.1`)],
  vulkan: LIBRARY_FOLDERS.map((folder) => `${folder}/libvulkan.so.1`),
}

async function anyExists(paths: readonly string[]): Promise<boolean> {
  const checks = await Promise.allSettled(paths.map((path) => access(path)))
  return checks.some((check) => check.status === 'fulfilled')
}
