/** A question whose answer nobody sees: what is typed does not come back on the screen. */
import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'
import { EXIT, Failure } from './failure.ts'
import type { Stdio } from './stdio.ts'

/** Throws Failure `interrupted` on Ctrl-C, on Ctrl-D, and when `signal` is aborted. */
export function askSecret(stdio: Stdio, question: string, signal: AbortSignal): Promise<string> {
  stdio.stderr.write(question)
  // readline edits and echoes into this, in raw mode, so that the terminal itself echoes nothing either.
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() })
  const lines = createInterface({ input: stdio.stdin, output: nowhere, terminal: true })
  return new Promise<string>((resolve, reject) => {
    const stop = (): void => lines.close()
    signal.addEventListener('abort', stop)
    let answer: string | null = null
    lines.on('line', (line) => {
      answer = line
      lines.close()
    })
    lines.on('SIGINT', stop)
    lines.on('close', () => {
      signal.removeEventListener('abort', stop)
      stdio.stderr.write('\n')
      if (answer !== null) return resolve(answer)
      reject(new Failure(EXIT.interrupted, 'interrupted', { code: 'interrupted' }))
    })
    if (signal.aborted) stop()
  })
}
