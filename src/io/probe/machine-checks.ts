/** Node.js, processor and memory: what the machine is, judged for a node. */
import { readFileSync } from 'node:fs'
import { availableParallelism, cpus, freemem, loadavg, totalmem } from 'node:os'
import { fail, gib, GIB, ok, warn, type CheckResult } from './check-result.ts'

/** As `engines` in package.json. */
const OLDEST_NODE = [20, 19] as const

export function checkNodeVersion(version: string = process.versions.node): CheckResult {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const [oldest, oldestMinor] = OLDEST_NODE
  const found = `Node.js ${version}`
  if (major > oldest || (major === oldest && minor >= oldestMinor))
    return ok('node.js', found, { version })
  return fail('node.js', {
    found,
    cause: `Baseload needs Node.js ${OLDEST_NODE.join('.')} or newer`,
    fix: 'install a current Node.js, from your distribution or from nodejs.org',
    details: { version },
  })
}

export type Processor = {
  readonly model: string
  readonly architecture: string
  readonly cores: number
  /** Cores that a container's limit leaves us; null: no limit. */
  readonly quota: number | null
  /** Runnable processes, averaged over a minute. */
  readonly load: number
}

export function checkProcessor(processor: Processor = readProcessor()): CheckResult {
  const { model, architecture, cores, quota, load } = processor
  const found = `${model}, ${cores} cores${quota === null ? '' : `, limited to ${quota}`}`
  const details = { model, architecture, cores, quota, load }
  if (architecture !== 'x64' && architecture !== 'arm64')
    return fail('processor', {
      found: `${found}, ${architecture}`,
      cause: 'the llama.cpp engine comes for x64 and arm64',
      fix: 'serve a model of another machine here: --engine openai --upstream http://…',
      details,
    })
  if (quota !== null && quota < 1)
    return warn('processor', {
      found,
      cause: 'less than one core: tokens will come slowly and heartbeats late',
      fix: "raise the container's CPU limit to at least 1",
      details,
    })
  if (load > cores * 1.5)
    return warn('processor', {
      found: `${found}, load ${load.toFixed(1)}`,
      cause: 'other programs keep all cores busy, and inference shares them badly',
      fix: 'stop them, or offer fewer slots',
      details,
    })
  return ok('processor', found, details)
}

export function readProcessor(): Processor {
  return {
    model: cpus()[0]?.model.trim() || 'unknown processor',
    architecture: process.arch,
    cores: availableParallelism(),
    quota: readQuota(),
    load: loadavg()[0] ?? 0,
  }
}

/** cgroup v2's `cpu.max`: microseconds per period, or "max". */
function readQuota(): number | null {
  try {
    const [quota, period] = readFileSync('/sys/fs/cgroup/cpu.max', 'utf8').split(' ').map(Number)
    return quota && period ? Math.round((quota / period) * 100) / 100 : null
  } catch {
    return null
  }
}

export type Memory = { readonly totalBytes: number; readonly availableBytes: number }

/** Beside the weights: caches of a few thousand tokens, the runtime, the node agent. */
const OVERHEAD = 1.2
const AGENT_BYTES = 0.3 * GIB

export function checkMemory(modelBytes: number, memory: Memory = readMemory()): CheckResult {
  const { totalBytes, availableBytes } = memory
  const neededBytes = Math.ceil(modelBytes * OVERHEAD + AGENT_BYTES)
  const found = `${gib(availableBytes)} of ${gib(totalBytes)} are free, about ${gib(neededBytes)} needed`
  const details = { totalBytes, availableBytes, neededBytes, modelBytes }
  if (neededBytes > totalBytes)
    return fail('memory', {
      found,
      cause: 'the models are larger than the memory of this machine',
      fix: 'serve a smaller model or quantization, or raise the memory limit of the container',
      details,
    })
  if (neededBytes > availableBytes)
    return warn('memory', {
      found,
      cause: 'other programs hold the memory that the models need: the system may swap or kill',
      fix: 'stop some of them, or serve a smaller quantization',
      details,
    })
  return ok('memory', found, details)
}

/** A container's limit counts where there is one. */
function readMemory(): Memory {
  const limit = process.constrainedMemory()
  const limited = limit > 0 && limit < totalmem()
  if (!limited) return { totalBytes: totalmem(), availableBytes: freemem() }
  return { totalBytes: limit, availableBytes: Math.min(freemem(), process.availableMemory()) }
}
