/** The machine under the comparison: which cores, how busy, and what a process has used of it. */
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { availableParallelism, loadavg } from 'node:os'

/** The gateway under test has the first core for itself; tenants, upstream, nodes and PostgreSQL share the second. */
export type Cores = { readonly gateway: number; readonly load: number }

/** Pins this process, and with it all that it starts, to the load's core. */
export function takeCores(): Cores {
  if (process.platform !== 'linux')
    throw new Error('this comparison reads CPU times from /proc: run it on Linux')
  const [gateway, load] = allowedCores()
  if (gateway === undefined || load === undefined)
    throw new Error('this comparison needs two cores: one for the gateway, one for the load')
  execFileSync('taskset', ['-a', '-c', '-p', String(load), String(process.pid)])
  return { gateway, load }
}

/** `0-3,8` → 0, 1, 2, 3, 8. A container may not begin at core 0. */
function allowedCores(): number[] {
  const list = /^Cpus_allowed_list:\s*(\S+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]
  return (list ?? '').split(',').flatMap((range) => {
    const [first = NaN, last = first] = range.split('-').map(Number)
    return Array.from({ length: last - first + 1 }, (_, i) => first + i)
  })
}

export const load = (): number => loadavg()[0] ?? 0

/** Somebody else works here too: ratios of interleaved rounds still hold roughly, single numbers do not. */
export const isBusy = (): boolean => load() > availableParallelism() / 2

/** CPU time of all threads of a process, nanosecond-exact, in milliseconds. */
export function cpuMs(pid: number): number {
  let nanos = 0
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    try {
      nanos += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0])
    } catch {
      // The thread ended meanwhile.
    }
  }
  return nanos / 1e6
}

/** Resident memory in MB (10⁶ bytes would flatter: MiB, as the kernel counts). */
export function residentMB(pid: number): number {
  const kiB = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
  return Number(kiB) / 1024
}

/** Each link is a file descriptor at both of its ends. */
export function openFilesLimit(): number {
  const soft = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1]
  return Number(soft ?? Infinity)
}
