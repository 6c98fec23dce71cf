/** SHA-256 of model files. They are large, so a file that has not changed is not read again. */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, readFile, rename, stat, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { Fault, reasonOf } from '../../../core/base/refusal.ts'

/** `sha256:<hex>` of the file; `memory` is a JSON file of digests by path, size and time of change. */
export async function fileDigest(path: string, memory: string): Promise<string> {
  const { size, mtimeMs } = await stat(path).catch((cause: unknown) => {
    throw new Fault(
      'model_file_unreadable',
      `The model file cannot be read (${reasonOf(cause)}). Check the path.`,
      { cause },
    )
  })
  const key = `${path}|${size}|${mtimeMs}`
  const known = (await readMemory(memory))[key]
  if (known !== undefined) return known
  const hash = createHash('sha256')
  for await (const piece of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(piece)
  const digest = `sha256:${hash.digest('hex')}`
  // Read again: another process may have added to it meanwhile. Losing a race costs one more reading, no more.
  await writeMemory(memory, { ...(await readMemory(memory)), [key]: digest })
  return digest
}

async function readMemory(memory: string): Promise<Record<string, string>> {
  try {
    const stored: unknown = JSON.parse(await readFile(memory, 'utf8'))
    if (typeof stored !== 'object' || stored === null) return {}
    return Object.fromEntries(
      Object.entries(stored).filter((entry): entry is [string, string] =>
        /^sha256:[0-9a-f]{64}$/.test(String(entry[1])),
      ),
    )
  } catch {
    return {} // missing or damaged: it only saves time
  }
}

async function writeMemory(memory: string, digests: Record<string, string>): Promise<void> {
  const draft = `${memory}.${process.pid}`
  await mkdir(dirname(memory), { recursive: true })
  await writeFile(draft, JSON.stringify(digests, null, 1))
  await rename(draft, memory)
}
