/**
 * Tar streams of one file or folder, which may get another name on the way. What comes out of a container is hostile
 * until proven otherwise: it is written under the one name that was asked for, and nowhere else.
 */
import { once } from 'node:events'
import { realpathSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import type { Duplex } from 'node:stream'
import { create, Parser, Unpack, type ReadEntry } from 'tar'
import { reasonOf } from '../../../core/base/refusal.ts'
import { EXIT, Failure } from '../shell/failure.ts'
import { writeAll } from '../shell/stdio.ts'

export type Copied = { readonly files: number; readonly bytes: number }

/** Sends `path` as `name`, and waits until the other end has written it. */
export async function packInto(tunnel: Duplex, path: string, name: string): Promise<Copied> {
  const count = { files: 0, bytes: 0 }
  const pack = create(
    {
      cwd: dirname(path),
      // Owners of this machine mean nothing over there.
      portable: true,
      onWriteEntry(entry) {
        const ending = entry.type === 'Directory' ? '/' : ''
        entry.path = renamed(entry.path, name) + ending
        if (entry.type === 'Link') entry.linkpath = renamed(entry.linkpath ?? '', name)
        if (entry.type !== 'File') return
        count.files += 1
        count.bytes += entry.stat?.size ?? 0
      },
    },
    // Without ./ a name that begins with @ would be read as an archive.
    [`./${basename(path)}`],
  )
  const written = tunnel.resume().readableEnded ? Promise.resolve() : once(tunnel, 'end')
  const sent = (async () => {
    for await (const chunk of pack) await writeAll(tunnel, chunk)
    tunnel.end()
  })()
  await Promise.all([sent, written])
  return count
}

/** Unpacks what comes as `name` in `folder`. Throws Failure for an archive that would write elsewhere. */
export async function unpackAs(
  tunnel: Duplex,
  folder: string,
  name: string,
  note: (text: string) => void,
): Promise<Copied> {
  const count = { files: 0, bytes: 0 }
  let wrong: string | null = null
  const unpack = new Unpack({
    cwd: realpathSync(folder),
    preserveOwner: false,
    onReadEntry(entry) {
      entry.path = renamed(entry.path, name)
      if (entry.type === 'Link') entry.linkpath = renamed(entry.linkpath ?? '', name)
      if (!isFile(entry)) return
      count.files += 1
      count.bytes += entry.size
    },
    onwarn(code, message) {
      if (code === 'TAR_ENTRY_UNSUPPORTED') note(`left out: ${message}`)
      else if (code !== 'TAR_ENTRY_INFO') wrong ??= message
    },
  })
  const broken = new Promise<never>((_, reject) =>
    unpack.on('error', (error) => reject(refusedArchive(reasonOf(error)))),
  )
  const closed = once(unpack, 'close')
  const receive = (async () => {
    for await (const chunk of tunnel.iterator({ destroyOnReturn: false })) {
      if (wrong !== null) throw refusedArchive(wrong)
      if (!unpack.write(chunk)) await once(unpack, 'drain')
    }
    tunnel.end()
    unpack.end()
    await closed
  })()
  try {
    await Promise.race([receive, broken])
  } catch (error) {
    tunnel.destroy()
    throw error
  }
  if (wrong !== null) throw refusedArchive(wrong)
  return count
}

/** The type of an archive's first entry, `Directory` or `File`; the rest is not read. */
export async function firstType(tunnel: Duplex): Promise<string | null> {
  let type: string | null = null
  const parser = new Parser({
    onReadEntry(entry) {
      type ??= entry.type
      entry.resume()
    },
  })
  for await (const chunk of tunnel) {
    parser.write(chunk)
    if (type !== null) break
  }
  return type
}

/** The first part of the path becomes `name`; the rest stays below it. */
function renamed(path: string, name: string): string {
  const [, ...rest] = path.split('/').filter((part) => part !== '' && part !== '.')
  return [name, ...rest].join('/')
}

const isFile = ({ type }: ReadEntry): boolean => type === 'File' || type === 'OldFile'

const refusedArchive = (why: string): Failure =>
  new Failure(EXIT.refused, `the archive was refused: ${why}`, {
    code: 'archive_refused',
    next: 'its container sent what no honest one does; nothing was written outside of the target',
  })
