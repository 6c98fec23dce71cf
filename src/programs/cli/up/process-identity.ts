/**
 * A pid alone is a weak name: it is reused. Together with the moment it started it names one process, so that we never signal
 * a stranger who got an old child's number.
 */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

export type ProcessIdentity = { readonly pid: number; readonly startedAt: string }

/** Null when no such process runs (a zombie runs no more). */
export function identify(pid: number): ProcessIdentity | null {
  const startedAt = process.platform === 'linux' ? linuxStart(pid) : unixStart(pid)
  return startedAt === null ? null : { pid, startedAt }
}

export function isRunning({ pid, startedAt }: ProcessIdentity): boolean {
  return identify(pid)?.startedAt === startedAt
}

/** /proc/<pid>/stat: after the command in parentheses come the state and, 19 fields later, the start in clock ticks. */
function linuxStart(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return fields[0] === 'Z' || fields[0] === 'X' ? null : `${bootId()}/${fields[19]}`
  } catch {
    return null
  }
}

/** Ticks count from boot: a process of an earlier boot must not look like one of this. */
const bootId = (): string => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()

function unixStart(pid: number): string | null {
  try {
    const text = execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8' })
    return text.trim() === '' ? null : text.trim()
  } catch {
    return null
  }
}
