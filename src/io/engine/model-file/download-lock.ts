/** One download of one file at a time, over all processes of this machine: several nodes may share a folder. */
import { mkdir, open, readFile, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const LOOK_AGAIN_MS = 500

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
  const owner = Number(await readFile(path, 'utf8').catch(() => '0'))
  if (owner > 0 && !isAlive(owner)) await rm(path, { force: true })
  const file = await open(path, 'wx', 0o600).catch((error: unknown) => {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return null
    throw error
  })
  if (file === null) return false
  held.add(path)
  await file.writeFile(String(process.pid))
  await file.close()
  return true
}

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
