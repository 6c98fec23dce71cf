/** `baseload sdl check|explain|convert`: an SDL file looked at before anything is deployed. Needs no gateway. */
import { readFileSync } from 'node:fs'
import { text as readAll } from 'node:stream/consumers'
import type { Command } from 'commander'
import { reasonOf } from '../../../core/base/refusal.ts'
import { akashGroupsJson, akashManifestJson } from '../../../core/sdl/akash-json.ts'
import { sdlToCompose } from '../../../core/sdl/compose/from-sdl.ts'
import { composeToSdl } from '../../../core/sdl/compose/to-sdl.ts'
import { explainSdl, plural } from '../../../core/sdl/explain.ts'
import { parseUsdPerAkt } from '../../../core/sdl/price.ts'
import { remarkText, type Remark } from '../../../core/sdl/report.ts'
import { readSdl, type Sdl } from '../../../core/sdl/sdl.ts'
import { MAX_SDL_BYTES, parseYaml } from '../../../core/sdl/yaml-tree.ts'
import { EXIT, Failure } from '../shell/failure.ts'
import type { Terminal } from '../shell/terminal.ts'
import { describe, print, textOf, type Flags, type Shell } from './command.ts'

export function sdlCommand(command: Command, shell: Shell): Command {
  command.description('Check, explain and convert SDL files, the language of deployments')
  command.addHelpText('after', '\nExample:\n  $ baseload sdl check app.yaml')
  checkCommand(command.command('check'), shell)
  explainCommand(command.command('explain'), shell)
  convertCommand(command.command('convert'), shell)
  return command
}

const withFile = (command: Command): Command =>
  command.argument('<file>', 'the file, or - for standard input')

const withAktPrice = (command: Command): Command =>
  command.option('--akt-usd <usd>', 'what 1 AKT is worth, for prices in uakt, e.g. 0.45')

function checkCommand(command: Command, shell: Shell): void {
  withAktPrice(
    describe(
      withFile(command),
      'Say what is wrong with an SDL file, and where; ends with 1 when it is refused',
      'baseload sdl check app.yaml',
      'baseload sdl check app.yaml --json',
    ),
  ).action(async (path: string, flags: Flags) => {
    const reading = readSdl(await readInput(path), path, aktPrice(flags))
    const problems = 'problems' in reading ? reading.problems : []
    const { warnings } = reading
    const answer = { ok: problems.length === 0, problems, warnings }
    await print(flags, shell.terminal, answer, () => {
      const verdict = 'sdl' in reading ? verdictOf(reading.sdl, path) : ''
      return `${marked('✗', problems)}${marked('!', warnings)}${verdict}`
    })
    if (problems.length > 0) throw refusal(path, problems)
  })
}

const verdictOf = ({ planned }: Sdl, path: string): string => {
  const services = planned.flatMap(({ services: placed }) => placed).length
  return `✓ ${path}: ${plural(services, 'service')} in ${plural(planned.length, 'group')}\n`
}

function explainCommand(command: Command, shell: Shell): void {
  withAktPrice(
    describe(
      withFile(command),
      'Show what an SDL file asks for: groups, resources, endpoints, prices',
      'baseload sdl explain app.yaml',
      'baseload sdl explain app.yaml --akt-usd 0.45',
    ),
  ).action(async (path: string, flags: Flags) => {
    const { sdl, warnings } = await readFile(path, flags, shell.terminal)
    const { version } = sdl.document
    const answer = { version, groups: sdl.groups, prices: pricesOf(sdl), warnings }
    await print(flags, shell.terminal, answer, () => explainSdl(sdl))
  })
}

const pricesOf = ({ planned }: Sdl) =>
  planned.flatMap(({ placement, services }) =>
    services.map(({ service, count, price }) => ({
      placement: placement.name,
      service: service.name,
      count,
      denom: price.denom,
      atto_usd_per_second: String(price.rate),
      conversion: price.conversion,
    })),
  )

const TARGETS = ['sdl', 'compose', 'manifest', 'groups']

function convertCommand(command: Command, shell: Shell): void {
  withAktPrice(
    describe(
      withFile(command),
      'Convert docker-compose to SDL and back, and SDL to what Akash makes of it',
      'baseload sdl convert docker-compose.yaml > app.yaml',
      'baseload sdl convert app.yaml --to compose > docker-compose.yaml',
    ),
  )
    .option(
      '--to <form>',
      `${TARGETS.join(', ')} (Akash's manifest and group specifications) [the other of SDL and compose]`,
    )
    .action(async (path: string, flags: Flags) => {
      const text = await readInput(path)
      const to = textOf(flags, 'to') ?? (isSdl(text) ? 'compose' : 'sdl')
      if (!TARGETS.includes(to))
        throw new Failure(EXIT.usage, `--to takes ${TARGETS.join(', ')}; got '${to}'`)
      const { result, notes } =
        to === 'sdl'
          ? fromCompose(text, path, shell.terminal)
          : fromSdl(text, path, to, flags, shell)
      await print(flags, shell.terminal, { to, text: result, notes }, () => result)
      if (flags['json'] !== true && notes.length > 0)
        shell.terminal.err(`${notes.map((note) => `! ${note}`).join('\n')}\n`)
    })
}

type Converted = { readonly result: string; readonly notes: readonly string[] }

function fromCompose(text: string, path: string, terminal: Terminal): Converted {
  const conversion = composeToSdl(text, path)
  if (!('problems' in conversion))
    return { result: conversion.text, notes: conversion.notes.map(remarkText) }
  terminal.err(marked('✗', conversion.problems))
  throw refusal(path, conversion.problems)
}

function fromSdl(text: string, path: string, to: string, flags: Flags, shell: Shell): Converted {
  const { sdl, warnings } = understood(text, path, flags, shell.terminal)
  const notes = warnings.map(remarkText)
  if (to === 'manifest') return { result: `${akashManifestJson(sdl)}\n`, notes }
  if (to === 'groups') return { result: `${akashGroupsJson(sdl)}\n`, notes }
  const compose = sdlToCompose(sdl)
  return { result: compose.text, notes: [...notes, ...compose.notes] }
}

/** SDL names where it runs; docker-compose does not. */
function isSdl(text: string): boolean {
  const { tree } = parseYaml(text)
  return tree.kind === 'mapping' && (tree.entries.has('profiles') || tree.entries.has('deployment'))
}

async function readFile(path: string, flags: Flags, terminal: Terminal) {
  const { sdl, warnings } = understood(await readInput(path), path, flags, terminal)
  if (flags['json'] !== true) terminal.err(marked('!', warnings))
  return { sdl, warnings }
}

/** Throws Failure, with all problems on standard error, when the file is refused. */
function understood(text: string, path: string, flags: Flags, terminal: Terminal) {
  const reading = readSdl(text, path, aktPrice(flags))
  if ('sdl' in reading) return reading
  terminal.err(marked('✗', reading.problems))
  throw refusal(path, reading.problems)
}

const marked = (mark: string, remarks: readonly Remark[]): string =>
  remarks.map((remark) => `${mark} ${remarkText(remark)}\n`).join('')

const refusal = (path: string, problems: readonly Remark[]): Failure =>
  new Failure(
    EXIT.failure,
    `${path} is refused: ${problems.length} problem${problems.length === 1 ? '' : 's'}`,
    { code: 'invalid_sdl' },
  )

function aktPrice(flags: Flags): { usdPerAkt?: bigint } {
  const text = textOf(flags, 'aktUsd')
  if (text === undefined) return {}
  const usdPerAkt = parseUsdPerAkt(text)
  if (usdPerAkt !== null) return { usdPerAkt }
  throw new Failure(EXIT.usage, `--akt-usd takes a price above 0, as in 0.45; got '${text}'`)
}

async function readInput(path: string): Promise<string> {
  if (path === '-') return readAll(process.stdin)
  try {
    return readFileSync(path, 'utf8').slice(0, MAX_SDL_BYTES + 1)
  } catch (error) {
    throw new Failure(EXIT.usage, `cannot read ${path}: ${reasonOf(error)}`, { cause: error })
  }
}
