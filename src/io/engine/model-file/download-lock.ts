/** One download of one file at a time, over all processes of this machine: several nodes may share a folder. */
import { randomUUID } from 'node:crypto'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const LOOK_AGAIN_MS = 500
/** Far longer than between reading a lock and removing it. */
const SETTLE_MS = 50

/** Locks held by this process: its own id in a lock file may also be an earlier process's. */
const held = new Set<string>()

/** Waits for whoever downloads `target`, then runs `work` alone. A dead process's lock is taken over. */
export async function withDownloadLock<T>(
  target: string,
  signal: AbortSignal,
  say: (line: string) => void,
  work: () => Promise<T>,
): Promise<T> {
  const path = `${target}.lock`
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  for (let told = false; !(await take(path)); told = true) {
    if (!told) say(`another process downloads ${target}; waiting for it`)
    await sleep(LOOK_AGAIN_MS, undefined, { signal })
  }
  try {
    return await work()
  } finally {
    held.delete(path)
    await rm(path, { force: true })
  }
}

async function take(path: string): Promise<boolean> {
  if (held.has(path)) return false
  held.add(path)
  const taken = await takeFromOthers(path).catch((error: unknown) => {
    held.delete(path)
    throw error
  })
  if (!taken) held.delete(path)
  return taken
}

async function takeFromOthers(path: string): Promise<boolean> {
  const owner = Number.parseInt(await read(path), 10)
  if (owner > 0 && !isAlive(owner)) await rm(path, { force: true })
  const mark = `${process.pid} ${randomUUID()}`
  try {
    await writeFile(path, mark, { flag: 'wx', mode: 0o600 })
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false
    throw error
  }
  // Somebody who saw the same dead owner may have removed our lock for his: it is ours if it stays ours.
  await sleep(SETTLE_MS)
  return (await read(path)) === mark
}

const read = (path: string): Promise<string> => readFile(path, 'utf8').catch(() => '')

function isAlive(pid: number): boolean {
  if (pid === process.pid) return false // and not in `held`: an earlier process with our number
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // EPERM: it lives, under another account.
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}
