/** `baseload help <command>` and `baseload help config <role>`, the manual of all settings. */
import type { Command } from 'commander'
import type { z } from 'zod'
import { gatewayConfig } from '../../gateway/config.ts'
import { nodeConfig } from '../../node/config.ts'
import { fieldsOf } from '../settings/fields.ts'
import { manual } from '../settings/manual.ts'
import { ROLES, type Role } from '../settings/settings.ts'
import { clientConfig } from '../shell/client-settings.ts'
import { EXIT, Failure } from '../shell/failure.ts'
import { upConfig } from '../up/up-config.ts'
import { describe, print, type Flags, type Shell } from './command.ts'

const SCHEMAS: Record<Role, z.ZodObject> = {
  up: upConfig,
  gateway: gatewayConfig,
  node: nodeConfig,
  client: clientConfig,
}

export function helpCommand(command: Command, shell: Shell): Command {
  return describe(
    command.argument('[topic]', 'a command, or `config`').argument('[role]', ROLES.join(', ')),
    'Show the help of a command, or the manual of all settings',
    'baseload help chat',
    'baseload help config gateway',
  ).action(async (topic: string | undefined, role: string | undefined, flags: Flags) => {
    if (topic === 'config') return printManuals(role, flags, shell)
    const program = command.parent
    const found =
      topic === undefined ? program : program?.commands.find((one) => one.name() === topic)
    if (!found)
      throw new Failure(EXIT.usage, `there is no command '${topic}'`, {
        next: '`baseload --help` lists them',
      })
    await print(flags, shell.terminal, { help: found.helpInformation() }, () =>
      found.helpInformation(),
    )
  })
}

async function printManuals(role: string | undefined, flags: Flags, shell: Shell): Promise<void> {
  const roles = ROLES.filter((one) => role === undefined || one === role)
  if (roles.length === 0)
    throw new Failure(EXIT.usage, `there is no role '${role}'; the roles are ${ROLES.join(', ')}`)
  const fields = Object.fromEntries(roles.map((one) => [one, fieldsOf(SCHEMAS[one])]))
  await print(flags, shell.terminal, fields, () =>
    roles.map((one) => manual(one, SCHEMAS[one])).join('\n'),
  )
}
