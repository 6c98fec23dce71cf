/** A new file that is there whole or not at all, and never in the place of another. */
import { randomBytes } from 'node:crypto'
import { existsSync, statSync } from 'node:fs'
import { link, open, rename, rm } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { reasonOf } from '../../../core/base/refusal.ts'
import { EXIT, Failure } from '../shell/failure.ts'

export type Write = (piece: Uint8Array) => Promise<void>

/** Throws Failure where no such file can be made. */
export function checkTarget(file: string): void {
  const folder = dirname(resolve(file))
  if (!existsSync(folder))
    throw new Failure(EXIT.usage, `there is no folder ${folder}`, { next: `mkdir -p ${folder}` })
  if (!existsSync(file)) return
  throw statSync(file).isDirectory()
    ? new Failure(EXIT.usage, `${file} is a folder`, { next: 'name a file in it' })
    : taken(file)
}

/** Runs `fill` with what writes; the file has its name when that is done. What fails, or is interrupted, leaves nothing. */
export async function saveAs(file: string, fill: (write: Write) => Promise<void>): Promise<void> {
  const path = resolve(file)
  const part = join(dirname(path), `.${basename(path)}.${randomBytes(4).toString('hex')}.part`)
  try {
    // What a tenant stored is not for everyone on this machine.
    const handle = await open(part, 'wx', 0o600)
    try {
      await fill(async (piece) => handle.appendFile(piece))
      await handle.sync()
    } finally {
      await handle.close()
    }
    await nameIt(part, path, file)
  } catch (error) {
    throw isFileError(error)
      ? new Failure(EXIT.failure, `cannot write ${file}: ${reasonOf(error)}`, { cause: error })
      : error
  } finally {
    await rm(part, { force: true })
  }
}

/** A link is made only where the name is free. */
async function nameIt(part: string, path: string, file: string): Promise<void> {
  try {
    await link(part, path)
  } catch (error) {
    if (existsSync(path)) throw taken(file)
    // A disk without links.
    if (isFileError(error)) await rename(part, path)
    else throw error
  }
}

const taken = (file: string): Failure =>
  new Failure(EXIT.usage, `${file} is there already`, {
    code: 'file_exists',
    next: 'move it away, or name another with -o',
  })

const isFileError = (error: unknown): boolean =>
  error instanceof Error && !(error instanceof Failure) && 'syscall' in error
