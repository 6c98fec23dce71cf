import type { Command } from 'commander'
import type { NodeConfig } from '../../node/config.ts'
import { describe, type Flags, type Shell } from './command.ts'
export function doctorCommand(command: Command, _shell: Shell): Command {
  return describe(command, 'Check this machine', 'baseload doctor')
}
export async function doctorFirst(
  _config: NodeConfig,
  _flags: Flags,
  _shell: Shell,
): Promise<void> {}
