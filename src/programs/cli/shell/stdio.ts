/** The process's own streams, as bytes: for commands that carry another program's input and output. */
import type { Readable, Writable } from 'node:stream'

export type Stdio = {
  readonly stdin: Readable & { readonly isTTY?: boolean; setRawMode?(raw: boolean): unknown }
  readonly stdout: Writable & {
    readonly isTTY?: boolean
    readonly columns?: number
    readonly rows?: number
  }
  readonly stderr: Writable
}

/** Looked up when they are used: to open standard input is to hold it. */
export const processStdio = (): Stdio => ({
  get stdin() {
    return process.stdin
  },
  get stdout() {
    return process.stdout
  },
  get stderr() {
    return process.stderr
  },
})

/** Resolves when the reader has room again, or is gone. */
export async function writeAll(to: Writable, bytes: Uint8Array): Promise<void> {
  if (to.destroyed || to.write(bytes)) return
  await new Promise<void>((resolve) => {
    const done = (): void => {
      to.off('drain', done).off('close', done)
      resolve()
    }
    to.on('drain', done).on('close', done)
  })
}
