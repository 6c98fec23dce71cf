/** Files that are there whole or not at all, and never in the place of another: on the disk itself when this returns. */
import { randomBytes } from 'node:crypto'
import { link, mkdir, open, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'

/** Writes and syncs. False: there is a file of that name, and it stays as it is. Mode 0600, its folder 0700. */
export async function writeNewFile(path: string, text: string): Promise<boolean> {
  const folder = dirname(path)
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const part = join(folder, `.${basename(path)}.${randomBytes(6).toString('hex')}.part`)
  try {
    const file = await open(part, 'wx', 0o600)
    try {
      await file.writeFile(text)
      await file.sync()
    } finally {
      await file.close()
    }
    // A link is made only where the name is free: of several processes one makes it.
    await link(part, path)
    await syncFolder(folder)
    return true
  } catch (error) {
    if (isCode(error, 'EEXIST')) return false
    throw error
  } finally {
    await rm(part, { force: true })
  }
}

export const isCode = (error: unknown, code: string): boolean =>
  error instanceof Error && 'code' in error && error.code === code

/** The name is on the disk, too. Windows cannot open folders, and writes names through by itself. */
async function syncFolder(folder: string): Promise<void> {
  if (process.platform === 'win32') return
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
