/** The node's home folder: room, speed and privacy. */
import { mkdir, open, readdir, rm, stat, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { reasonOf } from '../../core/base/refusal.ts'
import { fail, gib, GIB, ok, warn, type CheckResult } from './check-result.ts'

const LEAST_FREE_BYTES = 0.25 * GIB
const COMFORTABLE_FREE_BYTES = 2 * GIB
/** A receipt is on the disk before its answer is over; slower disks show in every request's end. */
const SLOW_FSYNC_MS = 50
const FSYNC_TRIES = 5

export type DiskFacts = { readonly freeBytes: number; readonly fsyncMs: number }

/** Makes the folder when it is missing, as a node would. */
export async function checkDisk(
  home: string,
  measure: (home: string) => Promise<DiskFacts> = measureDisk,
): Promise<CheckResult> {
  let facts: DiskFacts
  try {
    facts = await measure(home)
  } catch (error) {
    return fail('disk', {
      found: `${home} cannot be written`,
      cause: reasonOf(error),
      fix: 'choose another folder with --home or BASELOAD_HOME, or correct its owner',
    })
  }
  const { freeBytes, fsyncMs } = facts
  const found = `${gib(freeBytes)} free, ${fsyncMs.toFixed(1)} ms to make a write durable`
  const details = { freeBytes, fsyncMs }
  if (freeBytes < LEAST_FREE_BYTES)
    return fail('disk', {
      found,
      cause: `below ${gib(LEAST_FREE_BYTES)} receipts could get lost on a full disk`,
      fix: `make room on the disk of ${home}, or choose another with --home`,
      details,
    })
  if (fsyncMs > SLOW_FSYNC_MS)
    return warn('disk', {
      found,
      cause: 'a slow disk delays the end of each answer',
      fix: 'put the home folder on a local SSD, not on a network share',
      details,
    })
  if (freeBytes < COMFORTABLE_FREE_BYTES)
    return warn('disk', {
      found,
      cause: 'logs, engines and models will soon fill it',
      fix: `make room on the disk of ${home}`,
      details,
    })
  return ok('disk', found, details)
}

/** Median of a few 4 KiB writes with fsync. */
async function measureDisk(home: string): Promise<DiskFacts> {
  await mkdir(home, { recursive: true, mode: 0o700 })
  const path = join(home, `.self-test-${process.pid}`)
  const file = await open(path, 'w', 0o600)
  const times: number[] = []
  try {
    for (let i = 0; i < FSYNC_TRIES; i++) {
      const start = performance.now()
      await file.write(Buffer.alloc(4096, i), 0, 4096, 0)
      await file.sync()
      times.push(performance.now() - start)
    }
  } finally {
    await file.close()
    await rm(path, { force: true })
  }
  const { bavail, bsize } = await statfs(home)
  const fsyncMs = times.toSorted((a, b) => a - b)[FSYNC_TRIES >> 1] ?? 0
  return { freeBytes: bavail * bsize, fsyncMs }
}

/** Keys, and the file with the first API key: who reads them can be this node, or spend its tenant's money. */
const SECRET = /\.(key|pem|secret)$|^network\.json$/
/** Keys lie near the top; models and the database below need not be walked. */
const MAX_DEPTH = 3
const OTHERS = 0o077

/** Whether anyone but the owner can look in. Windows has other rules and is not judged. */
export async function checkHomePermissions(
  home: string,
  platform: string = process.platform,
): Promise<CheckResult> {
  if (platform === 'win32') return ok('home folder', `${home}, not judged on Windows`)
  const exposed = await openToOthers(home).catch((error: unknown) => reasonOf(error))
  if (typeof exposed === 'string')
    return fail('home folder', {
      found: `${home} cannot be read`,
      cause: exposed,
      fix: 'choose another folder with --home, or correct its owner',
    })
  if (exposed.length === 0) return ok('home folder', `${home} is private`)
  const [way, secret] = [exposed.includes(home), exposed.find((path) => path !== home)]
  const problem = {
    found: `others may open ${exposed.join(', ')}`,
    cause: secret
      ? 'whoever reads a key can act as its owner'
      : 'receipts and logs are private too',
    fix: `chmod go= ${exposed.map((path) => `'${path}'`).join(' ')}`,
    details: { exposed: exposed.length },
  }
  // Behind a closed folder nobody gets at an open file; it is one careless chmod away, though.
  return way && secret !== undefined ? fail('home folder', problem) : warn('home folder', problem)
}

async function openToOthers(home: string): Promise<string[]> {
  const folder = await stat(home).catch((error: unknown) => {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null
    throw error
  })
  if (folder === null) return []
  const secrets = await secretsIn(home, 1)
  const modes = await Promise.all(secrets.map(async (path) => (await stat(path)).mode))
  const exposed = secrets.filter((_, index) => ((modes[index] ?? 0) & OTHERS) !== 0)
  return (folder.mode & OTHERS) === 0 ? exposed : [home, ...exposed]
}

async function secretsIn(folder: string, depth: number): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true })
  const lists = entries.map((entry) => {
    const path = join(folder, entry.name)
    if (entry.isFile()) return Promise.resolve(SECRET.test(entry.name) ? [path] : [])
    // A database's folder belongs to another account and keeps its own privacy.
    const descend = entry.isDirectory() && depth < MAX_DEPTH && !SKIPPED.has(entry.name)
    return descend ? secretsIn(path, depth + 1).catch(() => []) : Promise.resolve([])
  })
  return (await Promise.all(lists)).flat()
}

const SKIPPED = new Set(['engines', 'models', 'node_modules', 'postgres', 'logs'])
