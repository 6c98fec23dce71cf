/** A terminal that hands every key on as it is: for a shell elsewhere. Whatever happens, it is given back as it was. */
import type { Stdio } from './stdio.ts'

/** Runs `work` with the terminal in raw mode. */
export async function withRawTerminal<T>({ stdin }: Stdio, work: () => Promise<T>): Promise<T> {
  const restore = (): void => void stdin.setRawMode?.(false)
  // Also where the process ends in the middle of it.
  process.once('exit', restore)
  stdin.setRawMode?.(true)
  try {
    return await work()
  } finally {
    restore()
    process.off('exit', restore)
  }
}
