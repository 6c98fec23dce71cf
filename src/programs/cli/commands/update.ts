/** `baseload update`: a changed SDL file for a deployment that runs. */
import type { Command } from 'commander'
import { understand } from './answers.ts'
import { EXIT, Failure } from '../shell/failure.ts'
import { clientOf, collect, describeClient, print, type Flags, type Shell } from './command.ts'
import { deployment, deploymentPath, fetchDeployment, stateOf } from './deployment-answers.ts'
import { servicesPage, showProgress } from './deploy-progress.ts'
import { pastEvents } from './follow-events.ts'
import { readInput } from './sdl-file.ts'
import { safeFile, sealAgain } from './sealing.ts'
import { readSecrets, withSecretFlags } from './secret-flags.ts'

export function updateCommand(command: Command, shell: Shell): Command {
  return withSecretFlags(
    describeClient(
      command
        .argument('<deployment>', 'id or name')
        .argument(
          '[file]',
          'the new SDL file, whole, or - for standard input; without it, as it is',
        ),
      'Change image, env, resources, count or price of a deployment in place',
      'baseload update shop app.yaml',
      'baseload update shop --secrets shop.secrets   seals them for the nodes of today',
    ),
  )
    .option('--drop-secret <name>', 'a sealed one that it needs no more (repeatable)', collect)
    .option('--detach', 'do not wait until it runs as changed')
    .action(async (id: string, file: string | undefined, flags: Flags) => {
      const given = readSecrets(flags, shell.env)
      const client = clientOf(flags, shell)
      const found = await fetchDeployment(client, id)
      const path = deploymentPath(found.id)
      if (file === undefined && given.size === 0 && flags['dropSecret'] === undefined)
        throw new Failure(EXIT.usage, 'nothing is to change: name a file, or secrets')
      const input =
        file === undefined
          ? { path: `${found.name}.yaml`, text: found.sdl ?? '' }
          : await readInput(file)
      const safe = safeFile(input, given, flags, shell)
      const sealed = [...new Set(found.leases.flatMap((lease) => lease.secrets))]
      const secrets = await sealAgain(client, { file: safe, id: found.id, sealed }, flags, shell)
      // Only what the change leads to is shown; what was before it has been told.
      let last = 0
      for await (const { seq } of pastEvents(client, found.id, 0)) last = seq
      const answer = await client.put(path, { sdl: safe.sdl, ...(secrets && { secrets }) })
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
