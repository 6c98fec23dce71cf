/** `baseload events`: what happened to a deployment, and what happens. */
import type { Command } from 'commander'
import { EXIT, Failure } from '../shell/failure.ts'
import { clientOf, describeClient, type Flags, type Shell } from './command.ts'
import { fetchDeployment, type DeploymentEvent } from './deployment-answers.ts'
import { followEvents, pastEvents } from './follow-events.ts'

export function eventsCommand(command: Command, shell: Shell): Command {
  return describeClient(
    command.argument('<deployment>', 'id or name'),
    'Show what happened to a deployment',
    'baseload events shop',
    'baseload events -f shop --json',
  )
    .option('-f, --follow', 'go on with what happens, until it is closed or Ctrl-C')
    .option('--after <number>', 'only events after this one', wholeNumber, 0)
    .action(async (id: string, flags: Flags) => {
      const { terminal, stops } = shell
      const client = clientOf(flags, shell)
      const found = await fetchDeployment(client, id)
      const after = Number(flags['after'])
      const lost = (why: string): void => terminal.err(`${why}; trying again\n`)
      const events =
        flags['follow'] === true
          ? followEvents(client, found.id, after, { signal: stops.stop, lost })
          : pastEvents(client, found.id, after)
      for await (const event of events)
        await terminal.out(flags['json'] === true ? `${JSON.stringify(event)}\n` : eventLine(event))
    })
}

function eventLine({ seq, at, type, service, message }: DeploymentEvent): string {
  const time = at.slice(0, 19).replace('T', ' ')
  const what = service === null ? type : `${type} ${service}`
  return `${String(seq).padStart(4)}  ${time}  ${what.padEnd(24)}  ${message}\n`
}

function wholeNumber(text: string): number {
  if (/^\d{1,15}$/.test(text)) return Number(text)
  throw new Failure(EXIT.usage, `'${text}' is not a whole number`)
}
