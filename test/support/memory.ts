import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'

/** Resident memory of a process; where there is no /proc, `ps` knows only what it is now. */
export function memoryMiB(pid: number, what: 'VmRSS' | 'VmHWM'): number {
  const status = `/proc/${pid}/status`
  const kib = existsSync(status)
    ? new RegExp(`^${what}:\\s+(\\d+) kB`, 'm').exec(readFileSync(status, 'utf8'))?.[1]
    : execFileSync('ps', ['-o', 'rss=', '-p', String(pid)], { encoding: 'utf8' })
  return Math.round(Number(kib) / 1024)
}
