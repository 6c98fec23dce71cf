/** `baseload update`: a changed SDL file for a deployment that runs. */
import type { Command } from 'commander'
import { understand } from './answers.ts'
import { clientOf, describeClient, print, type Flags, type Shell } from './command.ts'
import { deployment, deploymentPath, fetchDeployment, stateOf } from './deployment-answers.ts'
import { servicesPage, showProgress } from './deploy-progress.ts'
import { pastEvents } from './follow-events.ts'
import { readInput } from './sdl-file.ts'

export function updateCommand(command: Command, shell: Shell): Command {
  return describeClient(
    command
      .argument('<deployment>', 'id or name')
      .argument('<file>', 'the new SDL file, whole, or - for standard input'),
    'Change image, env, resources, count or price of a deployment in place',
    'baseload update shop app.yaml',
  )
    .option('--detach', 'do not wait until it runs as changed')
    .action(async (id: string, file: string, flags: Flags) => {
      const { text: sdl } = await readInput(file)
      const client = clientOf(flags, shell)
      const found = await fetchDeployment(client, id)
      const path = deploymentPath(found.id)
      // Only what the change leads to is shown; what was before it has been told.
      let last = 0
      for await (const { seq } of pastEvents(client, found.id, 0)) last = seq
      const answer = await client.put(path, { sdl })
      const changed = understand(deployment, answer)
      const kept = changed.leases.filter(({ state }) => state !== 'closed' && state !== 'draining')
      const settled = kept.every(({ state }) => state === 'running')
      if (flags['detach'] !== true && !settled)
        return showProgress(client, changed, { after: last, leases: kept }, flags, shell)
      await print(flags, shell.terminal, answer, () => {
        shell.terminal.err(`${changed.name} is ${stateOf(changed)}\n`)
        return servicesPage(changed)
      })
    })
}
