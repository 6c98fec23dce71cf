/** `baseload sdl check|explain|convert`: an SDL file looked at before anything is deployed. Needs no gateway. */
import type { Command } from 'commander'
import { akashGroupsJson, akashManifestJson } from '../../../core/sdl/akash-json.ts'
import { sdlToCompose } from '../../../core/sdl/compose/from-sdl.ts'
import { composeToSdl } from '../../../core/sdl/compose/to-sdl.ts'
import { explainSdl, plural } from '../../../core/sdl/explain.ts'
import { remarkText } from '../../../core/sdl/report.ts'
import type { Sdl } from '../../../core/sdl/sdl.ts'
import { parseYaml } from '../../../core/sdl/yaml-tree.ts'
import { EXIT, Failure } from '../shell/failure.ts'
import type { Terminal } from '../shell/terminal.ts'
import { describe, print, textOf, type Flags, type Shell } from './command.ts'
import {
  marked,
  readingOf,
  readInput,
  refusal,
  understood,
  withAktPrice,
  withFile,
  type InputFile,
} from './sdl-file.ts'

export function sdlCommand(command: Command, shell: Shell): Command {
  command.description('Check, explain and convert SDL files, the language of deployments')
  command.addHelpText('after', '\nExample:\n  $ baseload sdl check app.yaml')
  checkCommand(command.command('check'), shell)
  explainCommand(command.command('explain'), shell)
  convertCommand(command.command('convert'), shell)
  return command
}

function checkCommand(command: Command, { terminal }: Shell): void {
  withAktPrice(
    describe(
      withFile(command),
      'Say what is wrong with an SDL file, and where; ends with 1 when it is refused',
      'baseload sdl check app.yaml',
      'baseload sdl check app.yaml --json',
    ),
  ).action(async (path: string, flags: Flags) => {
    const file = await readInput(path)
    const reading = readingOf(file, flags)
    const problems = 'problems' in reading ? reading.problems : []
    const { warnings } = reading
    const answer = { ok: problems.length === 0, problems, warnings }
    const verdict = 'sdl' in reading ? `✓ ${path}: ${sizeOf(reading.sdl)}\n` : ''
    await print(flags, terminal, answer, () => `${marked('!', warnings)}${verdict}`)
    if (problems.length > 0) throw refusal(file, problems, flags, terminal)
  })
}

function sizeOf({ planned }: Sdl): string {
  const services = planned.reduce((sum, group) => sum + group.services.length, 0)
  return `${plural(services, 'service')} in ${plural(planned.length, 'group')}`
}

function explainCommand(command: Command, { terminal }: Shell): void {
  withAktPrice(
    describe(
      withFile(command),
      'Show what an SDL file asks for: groups, resources, endpoints, prices',
      'baseload sdl explain app.yaml',
      'baseload sdl explain app.yaml --akt-usd 0.45',
    ),
  ).action(async (path: string, flags: Flags) => {
    const { sdl, warnings } = understood(await readInput(path), flags, terminal)
    const { version } = sdl.document
    const answer = { version, groups: sdl.groups, prices: pricesOf(sdl), warnings }
    if (flags['json'] !== true) terminal.err(marked('!', warnings))
    await print(flags, terminal, answer, () => explainSdl(sdl))
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

const FORMS = ['sdl', 'compose', 'manifest', 'groups']

function convertCommand(command: Command, { terminal }: Shell): void {
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
      `${FORMS.join(', ')} (Akash's manifest and group specifications) [the other of SDL and compose]`,
    )
    .action(async (path: string, flags: Flags) => {
      const file = await readInput(path)
      const to = textOf(flags, 'to') ?? (isSdl(file) ? 'compose' : 'sdl')
      if (!FORMS.includes(to))
        throw new Failure(EXIT.usage, `--to takes ${FORMS.join(', ')}; got '${to}'`)
      const convert = to === 'sdl' ? fromCompose : fromSdl
      const { text, notes } = convert(file, to, flags, terminal)
      await print(flags, terminal, { to, text, notes }, () => text)
      if (flags['json'] !== true) terminal.err(notes.map((note) => `! ${note}\n`).join(''))
    })
}

/** SDL says where it runs; docker-compose does not. */
function isSdl({ text }: InputFile): boolean {
  const { tree } = parseYaml(text)
  return tree.kind === 'mapping' && (tree.entries.has('profiles') || tree.entries.has('deployment'))
}

type Converted = { readonly text: string; readonly notes: readonly string[] }

function fromCompose(file: InputFile, _: string, flags: Flags, terminal: Terminal): Converted {
  const conversion = composeToSdl(file.text, file.path)
  if ('problems' in conversion) throw refusal(file, conversion.problems, flags, terminal)
  return { text: conversion.text, notes: conversion.notes.map(remarkText) }
}

function fromSdl(file: InputFile, to: string, flags: Flags, terminal: Terminal): Converted {
  const { sdl, warnings } = understood(file, flags, terminal)
  const notes = warnings.map(remarkText)
  if (to === 'manifest') return { text: `${akashManifestJson(sdl)}\n`, notes }
  if (to === 'groups') return { text: `${akashGroupsJson(sdl)}\n`, notes }
  const compose = sdlToCompose(sdl)
  return { text: compose.text, notes: [...notes, ...compose.notes] }
}
