/** Data goes to standard output, everything said meanwhile to standard error. */
import { once } from 'node:events'

export type Terminal = {
  /** Data: what a pipe should get. Resolves when the reader has room again. */
  out(text: string): Promise<void>
  /** Progress, questions, warnings. */
  err(text: string): void
  /** Whether a person sees standard output, and whether one can answer. */
  readonly isTty: boolean
  readonly canAsk: boolean
  /** Text that stays in the background; plain when nobody sees it or NO_COLOR is set. */
  dim(text: string): string
  bold(text: string): string
}

export function processTerminal(): Terminal {
  const colour = process.stdout.isTTY && !process.env['NO_COLOR']
  const style = (code: number) => (text: string) =>
    colour ? `\u001B[${code}m${text}\u001B[0m` : text
  return {
    async out(text) {
      if (!process.stdout.write(text)) await once(process.stdout, 'drain')
    },
    err: (text) => void process.stderr.write(text),
    isTty: process.stdout.isTTY,
    canAsk: process.stdin.isTTY && process.stdout.isTTY,
    dim: style(2),
    bold: style(1),
  }
}

/** `baseload models | head -1` closes the pipe early: that is the reader's right, not an error. */
export function endQuietlyOnClosedPipe(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EPIPE') process.exit(0)
      throw error
    })
  }
}

/** Rows as aligned columns, the first row being the head; numbers (by `right`) align right. */
export function table(rows: readonly (readonly string[])[], right: readonly number[] = []): string {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? '').length)),
  )
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) => {
        const width = widths[column] ?? 0
        return right.includes(column) ? cell.padStart(width) : cell.padEnd(width)
      })
      .join('  ')
      .trimEnd()
  return `${rows.map(line).join('\n')}\n`
}
