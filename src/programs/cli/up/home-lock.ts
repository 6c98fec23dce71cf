/**
 * One supervisor a home. The lock file also names the children, so that whoever starts after a killed supervisor can end what it
 * left behind.
 */
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { EXIT, Failure } from '../shell/failure.ts'
import { identify, isRunning, type ProcessIdentity } from './process-identity.ts'

const identity = z.object({ pid: z.int().min(1), startedAt: z.string() })
const lockFile = z.object({ supervisor: identity, children: z.array(identity) })
type LockFile = z.infer<typeof lockFile>

export type HomeLock = {
  /** Processes of an earlier supervisor that still run. */
  readonly leftovers: readonly ProcessIdentity[]
  /** Notes which children run now. */
  noteChildren(pids: readonly number[]): void
  release(): void
}

/** Throws Failure when another supervisor runs in this home. */
export function lockHome(home: string): HomeLock {
  const path = join(home, 'supervisor.json')
  const earlier = read(path)
  if (earlier && isRunning(earlier.supervisor)) throw alreadyRunning(home, earlier.supervisor.pid)
  const leftovers = earlier?.children.filter(isRunning) ?? []
  const supervisor = identify(process.pid)
  if (supervisor === null) throw new Error('this process cannot find itself')
  rmSync(path, { force: true })
  const own = `${path}.${process.pid}`
  writeFileSync(own, text({ supervisor, children: leftovers }), { mode: 0o600 })
  try {
    // A link is made whole or not at all: of two that start together, one gets the name.
    linkSync(own, path)
  } catch (error) {
    throw alreadyRunning(home, read(path)?.supervisor.pid ?? null, error)
  } finally {
    rmSync(own)
  }
  return {
    leftovers,
    noteChildren(pids) {
      const children = pids.map(identify).filter((child) => child !== null)
      writeFileSync(`${path}.new`, text({ supervisor, children }), { mode: 0o600 })
      renameSync(`${path}.new`, path)
    },
    release: () => rmSync(path, { force: true }),
  }
}

function read(path: string): LockFile | null {
  try {
    return lockFile.parse(JSON.parse(readFileSync(path, 'utf8')))
  } catch {
    // None, or one torn by a crash of the machine: nothing in it can still run.
    return null
  }
}

const text = (lock: LockFile): string => `${JSON.stringify(lock)}\n`

const alreadyRunning = (home: string, pid: number | null, cause?: unknown): Failure =>
  new Failure(EXIT.failure, `a network already runs from ${home}${pid ? ` (pid ${pid})` : ''}`, {
    code: 'already_running',
    next: `stop it with Ctrl-C in its terminal${pid ? ` or \`kill ${pid}\`` : ''}, or start another with --home <folder>`,
    cause,
  })
