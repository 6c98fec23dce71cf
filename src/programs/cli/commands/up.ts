/** `baseload up`. */
import type { Command } from 'commander'
import { addOptions } from '../settings/manual.ts'
import { upConfig } from '../up/up-config.ts'
import { describe, type Flags, type Shell } from './command.ts'
import { roleSettings } from './role.ts'

export function upCommand(command: Command, shell: Shell): Command {
  describe(
    command,
    'Run a whole network on this machine: PostgreSQL, a gateway, nodes, a small model',
    'baseload up',
    'baseload up --port 8420 --nodes 5',
  )
  return addOptions(command, upConfig, ['home']).action(async (flags: Flags) => {
    const { settings, configFile } = roleSettings('up', upConfig, flags, shell)
    const { up } = await import('../up/up.ts')
    const { terminal, stops, env } = shell
    await up({ config: settings, configFile, json: flags['json'] === true, terminal, stops, env })
  })
}
