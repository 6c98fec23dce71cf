/** An SDL file named on the command line: read, understood or refused, with everything there is to say about it. */
import { readFileSync, statSync } from 'node:fs'
import { text as readAll } from 'node:stream/consumers'
import type { Command } from 'commander'
import { reasonOf } from '../../../core/base/refusal.ts'
import { plural } from '../../../core/sdl/explain.ts'
import { parseUsdPerAkt } from '../../../core/sdl/price.ts'
import { remarkText, type Remark } from '../../../core/sdl/report.ts'
import { readSdl, type Sdl, type SdlReading } from '../../../core/sdl/sdl.ts'
import { EXIT, Failure } from '../shell/failure.ts'
import { MAX_SDL_BYTES } from '../../../core/sdl/yaml-tree.ts'
import type { Terminal } from '../shell/terminal.ts'
import { textOf, type Flags } from './command.ts'

/** The file as it was given and read. */
export type InputFile = { readonly path: string; readonly text: string }

export const withFile = (command: Command): Command =>
  command.argument('<file>', 'the file, or - for standard input')

export const withAktPrice = (command: Command): Command =>
  command.option('--akt-usd <usd>', 'what 1 AKT is worth, for prices in uakt, e.g. 0.45')

/** Throws Failure when there is no such file. */
export async function readInput(path: string): Promise<InputFile> {
  if (path === '-') return { path, text: await readAll(process.stdin) }
  try {
    checkFile(path)
    return { path, text: readFileSync(path, 'utf8') }
  } catch (error) {
    if (error instanceof Failure) throw error
    throw new Failure(EXIT.usage, `cannot read ${path}: ${reasonOf(error)}`, { cause: error })
  }
}

/** Before megabytes of something else are read and sent. */
function checkFile(path: string): void {
  const about = statSync(path, { throwIfNoEntry: false })
  if (about === undefined)
    throw new Failure(EXIT.usage, `cannot read ${path}: there is no such file`, {
      next: HELP,
    })
  if (about.isDirectory())
    throw new Failure(EXIT.usage, `cannot read ${path}: it is a folder`, {
      next: HELP,
    })
  if (about.size > MAX_SDL_BYTES)
    throw new Failure(
      EXIT.usage,
      `${path} has ${about.size} bytes; an SDL or compose file has at most ${MAX_SDL_BYTES}`,
      { next: HELP },
    )
}

const HELP = "name the YAML file that says what to run, like the repository's examples/hello.yaml"

/** Throws Failure when `--akt-usd` is no price. */
export function readingOf({ path, text }: InputFile, flags: Flags): SdlReading {
  const given = textOf(flags, 'aktUsd')
  if (given === undefined) return readSdl(text, path)
  const usdPerAkt = parseUsdPerAkt(given)
  if (usdPerAkt !== null) return readSdl(text, path, { usdPerAkt })
  throw new Failure(EXIT.usage, `--akt-usd takes a price above 0, as in 0.45; got '${given}'`)
}

/** Throws Failure, with every problem named on standard error, when the file is refused. */
export function understood(
  file: InputFile,
  flags: Flags,
  terminal: Terminal,
): { readonly sdl: Sdl; readonly warnings: readonly Remark[] } {
  const reading = readingOf(file, flags)
  if ('sdl' in reading) return reading
  throw refusal(file, reading.problems, flags, terminal)
}

/** The failure of a file that is refused; its problems go to standard error, unless a program reads that. */
export function refusal(
  { path }: InputFile,
  problems: readonly Remark[],
  flags: Flags,
  terminal: Terminal,
): Failure {
  if (flags['json'] !== true) terminal.err(marked('✗', problems))
  const first = flags['json'] === true ? problems[0] : undefined
  return new Failure(
    EXIT.failure,
    `${path} is refused: ${plural(problems.length, 'problem')}${first ? `; ${remarkText(first)}` : ''}`,
    { code: 'invalid_sdl' },
  )
}

/** One line a remark. */
export const marked = (mark: string, remarks: readonly Remark[]): string =>
  remarks.map((remark) => `${mark} ${remarkText(remark)}\n`).join('')
