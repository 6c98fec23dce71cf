/**
 * Installs the llama.cpp engine apart from Baseload's own packages: the library without its optional
 * backends, and then only the backend that is wanted (about 85 MB instead of 725 MB for the processor's).
 * Every package is pinned by the integrity hash in `lock/package-lock.json`, which npm checks.
 */
import { spawn } from 'node:child_process'
import { access, mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Fault, reasonOf } from '../../../core/base/refusal.ts'
import { backendPackages, type Backend, type Machine } from './backends.ts'

export const LLAMA_CPP_VERSION = '3.22.1'

/** Where one backend's engine lives below `enginesDir`. */
export function llamaCppFolder(enginesDir: string, backend: Backend = 'cpu'): string {
  const suffix = backend === 'cpu' ? '' : `-${backend}`
  return join(enginesDir, `llama.cpp-${LLAMA_CPP_VERSION}${suffix}`)
}

/**
 * Makes sure that the engine is there; says what it does while it does it. A folder appears whole or not at
 * all, so two processes may do this at once, and one that was killed leaves nothing half-installed to trip over.
 */
export async function installLlamaCpp(wanted: {
  enginesDir: string
  backend: Backend
  say: (line: string) => void
  /** For tests: another machine than this one, another npm. */
  machine?: Machine
  npm?: string
}): Promise<{ folder: string; alreadyThere: boolean }> {
  const { enginesDir, backend, say, machine = process, npm = 'npm' } = wanted
  const folder = llamaCppFolder(enginesDir, backend)
  if (await exists(folder)) return { folder, alreadyThere: true }
  const packages = backendPackages(backend, machine)
  if (packages === null) {
    throw new Fault(
      'engine_unsupported',
      `There is no ${backend} build of llama.cpp for ${machine.platform}-${machine.arch}. ` +
        'Serve models with `--engine openai` and a server of your choice instead.',
    )
  }
  say(`installing llama.cpp ${LLAMA_CPP_VERSION} (${backend}) into ${folder} …`)
  await mkdir(enginesDir, { recursive: true })
  const staging = await mkdtemp(join(enginesDir, '.installing-'))
  try {
    await writeManifest(staging, packages)
    await runNpm(npm, staging)
    return { folder, alreadyThere: !(await moveInto(staging, folder)) }
  } finally {
    await rm(staging, { recursive: true, force: true })
  }
}

/** The committed lock, with the wanted backends turned from optional packages into required ones. */
async function writeManifest(folder: string, backends: readonly string[]): Promise<void> {
  const manifest: Manifest = await readLockFile('package.json')
  const lock: Lock = await readLockFile('package-lock.json')
  for (const backend of backends) {
    const name = `@node-llama-cpp/${backend}`
    const entry = lock.packages[`node_modules/${name}`]
    if (!entry?.version || !entry.integrity) throw notPinned(name)
    delete entry.optional
    manifest.dependencies[name] = entry.version
  }
  // What is not wanted is not looked for either: npm would stop at builds that its registry lacks.
  delete lock.packages['node_modules/node-llama-cpp']?.optionalDependencies
  Object.assign(lock.packages['']?.dependencies ?? {}, manifest.dependencies)
  await writeFile(join(folder, 'package.json'), JSON.stringify(manifest))
  await writeFile(join(folder, 'package-lock.json'), JSON.stringify(lock))
}

/** npm locks only what its registry offers on the day; Apple's builds were missing when ours was made. */
const notPinned = (name: string) =>
  new Fault(
    'engine_unsupported',
    `${name} ${LLAMA_CPP_VERSION} is not in lock/package-lock.json, so its contents cannot be checked. ` +
      'Lock it again with a registry that has it (`npm install --package-lock-only` in that folder), or ' +
      'serve models with `--engine openai`.',
  )

type Manifest = { dependencies: Record<string, string> }
type LockEntry = {
  version?: string
  integrity?: string
  optional?: boolean
  optionalDependencies?: Record<string, string>
  dependencies?: Record<string, string>
}
type Lock = { packages: Record<string, LockEntry> }

async function readLockFile<T extends Manifest | Lock>(name: string): Promise<T> {
  return JSON.parse(await readFile(new URL(`lock/${name}`, import.meta.url), 'utf8'))
}

const NPM_CI = [
  'ci',
  '--loglevel=error',
  '--omit=optional',
  '--ignore-scripts',
  '--no-audit',
  '--no-fund',
]
const COMPLAINT_CHARACTERS = 1000 // npm says why first, and explains its options after that

async function runNpm(npm: string, cwd: string): Promise<void> {
  const failed = await new Promise<string | null>((resolve) => {
    const child = spawn(npm, NPM_CI, { cwd, stdio: ['ignore', 'ignore', 'pipe'] })
    let complaint = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      complaint = (complaint + text).slice(0, COMPLAINT_CHARACTERS)
    })
    child.on('error', (error) => resolve(reasonOf(error)))
    child.on('close', (code, signal) =>
      resolve(code === 0 ? null : `exit ${code ?? signal}: ${complaint.trim()}`),
    )
  })
  if (failed === null) return
  throw new Fault(
    'engine_install_failed',
    `npm could not install llama.cpp (${failed}). Check that npm is installed and reaches its registry ` +
      '(`npm ping`), and run the same command again.',
    { retryable: true },
  )
}

/** False when another process put its own there first. */
async function moveInto(staging: string, folder: string): Promise<boolean> {
  try {
    await rename(staging, folder)
    return true
  } catch (error) {
    if (await exists(folder)) return false
    throw error
  }
}

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  )
