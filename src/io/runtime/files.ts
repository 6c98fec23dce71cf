/** Files in and out of containers, as tar streams that the engine packs and unpacks within the container's own root. */
import { Readable } from 'node:stream'
import type { Container } from 'dockerode'
import { ask } from './engine-socket.ts'

export async function putFiles(container: Container, folder: string, tar: Readable): Promise<void> {
  await ask(`extract files in ${folder}`, container.putArchive(tar, { path: folder }))
}

/** A path that ends in `/.` means the folder's contents. */
export async function getFiles(container: Container, path: string): Promise<Readable> {
  return asReadable(await ask(`read ${path}`, container.getArchive({ path })))
}

/** dockerode's streams are those of Node.js under an older type. */
export const asReadable = (stream: NodeJS.ReadableStream): Readable =>
  stream instanceof Readable ? stream : new Readable().wrap(stream)
