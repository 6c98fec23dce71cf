/** What every command shares: `--json`, how it reaches the gateway, and an example in its help. */
import type { Command } from 'commander'
import { addOptions } from '../settings/manual.ts'
import { clientConfig, readAccess, type Access } from '../shell/client-settings.ts'
import { gatewayClient, type GatewayClient } from '../shell/gateway-client.ts'
import { payingSend } from '../shell/paying.ts'
import type { Stdio } from '../shell/stdio.ts'
import type { StopRequests } from '../shell/stop-requests.ts'
import type { Terminal } from '../shell/terminal.ts'

/** The world around a command: given, so that tests can hold it. */
export type Shell = {
  readonly terminal: Terminal
  readonly stdio: Stdio
  readonly env: NodeJS.ProcessEnv
  readonly stops: StopRequests
}

/** Flags as commander collected them: field names to values. */
export type Flags = Readonly<Record<string, unknown>>

/** `--json`, `--home`, `--config`, and the examples below the options. */
export function describe(command: Command, summary: string, ...examples: string[]): Command {
  return command
    .description(summary)
    .option('--home <folder>', 'where keys, database and logs are [~/.baseload]')
    .option('--config <file>', 'another config file than config.json of the home')
    .option('--json', 'print JSON, one value a line')
    .option('--debug', 'show where an error comes from')
    .addHelpText('after', exampleText(...examples))
}

/** A flag's text, when it was given. */
export function textOf(flags: Flags, name: string): string | undefined {
  const value = flags[name]
  return typeof value === 'string' ? value : undefined
}

/** For options that may be repeated. */
export const collect = (text: string, before: string[] | undefined): string[] => [
  ...(before ?? []),
  text,
]

const exampleText = (...examples: string[]): string =>
  `\nExample:\n${examples.map((line) => `  $ ${line}`).join('\n')}`

/** A command that talks to a gateway. */
export function describeClient(command: Command, summary: string, ...examples: string[]): Command {
  return addOptions(describe(command, summary, ...examples), clientConfig)
}

export const clientOf = (flags: Flags, shell: Shell): GatewayClient =>
  clientFor(readAccess(flags, shell.env), flags, shell)

/** The same, where the access is known. */
export const clientFor = (access: Access, flags: Flags, shell: Shell): GatewayClient =>
  gatewayClient(access, shell.stops.stop, payingSend(access, shell, flags['json'] === true))

/** One value for a program, or what `render` makes of it for a person. */
export async function print(
  flags: Flags,
  terminal: Terminal,
  value: unknown,
  render: () => string,
): Promise<void> {
  await terminal.out(flags['json'] === true ? `${JSON.stringify(value)}\n` : render())
}
