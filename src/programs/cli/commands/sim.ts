/** `baseload sim …`: the same core under virtual time. */
import type { Command } from 'commander'
import type { Shell } from './command.ts'
import { simAvailabilityCommand } from './sim-availability.ts'
import { simEarningsCommand } from './sim-earnings.ts'
import { simReportCommand } from './sim-report.ts'

export function simCommand(command: Command, shell: Shell): Command {
  command.description('Simulate the network from traces: what would be earned, answered, leased')
  command.addHelpText('after', '\nExample:\n  $ baseload sim earnings --gpu "RTX 4090" --region eu')
  simEarningsCommand(command.command('earnings'), shell)
  simReportCommand(command.command('report'), shell)
  simAvailabilityCommand(command.command('availability'), shell)
  return command
}
