/**
 * One node a home: two with the same key would take each other's links and break the chain of receipts. The
 * lock names its process by pid and start time, so that a crash, or the pid's next owner, locks nobody out.
 */
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Fault } from '../../core/base/refusal.ts'

/** Returns what gives the home free again. Throws Fault `home_in_use` with the pid of who has it. */
export function lockHome(home: string): () => void {
  const path = join(home, 'node.lock')
  const own = `${process.pid} ${startOf(process.pid)}\n`
  for (let attempt = 0; attempt < 3; attempt++) {
    if (create(path, own)) {
      return () => {
        if (read(path) === own) rmSync(path, { force: true })
      }
    }
    const found = read(path)
    if (found !== null && isRunning(found)) throw inUse(home, found)
    if (found !== null) takeAway(path, found)
  }
  throw inUse(home, read(path) ?? 'another process')
}

/** A link appears whole and only once; a file that is opened first and written then could be seen empty. */
function create(path: string, text: string): boolean {
  const draft = `${path}.${process.pid}.new`
  writeFileSync(draft, text, { mode: 0o600 })
  try {
    linkSync(draft, path)
    return true
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false
    throw error
  } finally {
    rmSync(draft, { force: true })
  }
}

/** Removes a stale lock; when someone else has just replaced it, theirs is put back. */
function takeAway(path: string, stale: string): void {
  const aside = `${path}.${process.pid}.old`
  try {
    renameSync(path, aside)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return
    throw error
  }
  const taken = read(aside)
  if (taken !== null && taken !== stale) create(path, taken)
  rmSync(aside, { force: true })
}

function read(path: string): string | null {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return null
    throw error
  }
}

function isRunning(lock: string): boolean {
  const [pid = '', start = ''] = lock.trim().split(' ')
  if (!/^\d+$/.test(pid) || !isAlive(Number(pid))) return false
  return startOf(Number(pid)) === start
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return codeOf(error) === 'EPERM'
  }
}

/** Boot and start tick where the system tells them (Linux), else a constant: then the pid alone must do. */
function startOf(pid: number): string {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // After the command in parentheses come the state and, 19 fields later, the start in clock ticks.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return `${boot}/${fields[19]}`
  } catch {
    return 'unknown'
  }
}

const inUse = (home: string, lock: string): Fault =>
  new Fault(
    'home_in_use',
    `a node already runs from ${home} (pid ${lock.split(' ')[0]}); stop it first, or give this one a home of its own`,
  )

const codeOf = (error: unknown): unknown =>
  error instanceof Error && 'code' in error ? error.code : null
