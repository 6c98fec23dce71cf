/** What the commands that run a part of the network share: settings of their role, logger, end. */
import { join } from 'node:path'
import type { z } from 'zod'
import { mergeSettings, readConfigFile, type Role } from '../settings/settings.ts'
import { homeFolder } from '../shell/home.ts'
import { textOf, type Flags, type Shell } from './command.ts'

/** A role's settings from everywhere they can come from. */
export function roleSettings<S extends z.ZodObject>(
  role: Role,
  schema: S,
  flags: Flags,
  shell: Shell,
  flagNames: Readonly<Record<string, string>> = {},
): { settings: z.output<S>; configFile: string } {
  const home = homeFolder(textOf(flags, 'home'), shell.env)
  const given = textOf(flags, 'config')
  const configFile = given ?? join(home, 'config.json')
  const settings = mergeSettings(schema, {
    role,
    fallback: {},
    file: readConfigFile(configFile, role, given !== undefined),
    env: shell.env,
    flags: { ...flags, home },
    flagNames,
  })
  return { settings, configFile }
}
