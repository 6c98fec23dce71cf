/** `baseload deploy`: from a file to a running deployment, each phase as it happens. */
import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { Option, type Command } from 'commander'
import { AUCTION_RULES } from '../../../core/market/auction.ts'
import { understand } from './answers.ts'
import { clientOf, describeClient, print, type Flags, type Shell } from './command.ts'
import { deployment, stateOf } from './deployment-answers.ts'
import { Failure } from '../shell/failure.ts'
import type { GatewayClient } from '../shell/gateway-client.ts'
import { isPassing, pauseMs } from './try-again.ts'
import { showProgress } from './deploy-progress.ts'
import { screenFile } from './screen.ts'
import { readInput } from './sdl-file.ts'
import { safeFile, sealNew } from './sealing.ts'
import { readSecrets, withSecretFlags } from './secret-flags.ts'

export function deployCommand(command: Command, shell: Shell): Command {
  return withSecretFlags(
    describeClient(
      command.argument('<file>', 'the SDL file, or - for standard input'),
      'Deploy an SDL file: auction, start, and where it is reached',
      'baseload deploy app.yaml --name shop',
      'baseload deploy app.yaml --secret web.DB_PASSWORD=@password.txt',
      'baseload deploy app.yaml --dry-run',
    ),
  )
    .option('--name <name>', 'to call it by; without it one is made up')
    .addOption(
      new Option('--rule <rule>', 'which bid wins; manual waits for `baseload bids --accept`')
        .choices(AUCTION_RULES)
        .default('cheapest'),
    )
    .option('--dry-run', 'only show who could run it, as `baseload screen` does')
    .option('--detach', 'do not wait until it runs')
    .action(async (file: string, flags: Flags) => {
      const given = readSecrets(flags, shell.env)
      if (flags['dryRun'] === true) return screenFile(file, flags, shell, given.size > 0)
      const { name, rule } = flags
      const safe = safeFile(await readInput(file), given, flags, shell)
      const client = clientOf(flags, shell)
      const secrets = await sealNew(client, safe, flags, shell)
      const { sdl } = safe
      const body = { sdl, rule, ...(name !== undefined && { name }), ...(secrets && { secrets }) }
      const answer = await deployOnce(client, body)
      const made = understand(deployment, answer)
      if (flags['detach'] !== true) {
        const { leases } = made
        return showProgress(client, made, { after: 0, leases }, flags, shell)
      }
      await print(flags, shell.terminal, answer, () => {
        shell.terminal.err(`${made.name} is ${stateOf(made)}; baseload events -f ${made.name}\n`)
        return `${made.id}\n`
      })
    })
}

const TRIES = 3

/** A lost answer is asked for again: under one key the gateway deploys once, however often it hears it. */
async function deployOnce(client: GatewayClient, body: unknown): Promise<unknown> {
  const key = randomUUID()
  for (let failures = 1; ; failures++) {
    try {
      return await client.post('/v1/deployments', body, key)
    } catch (error) {
      if (!(error instanceof Failure && isPassing(error)) || failures === TRIES) throw error
      await pause(pauseMs(failures))
    }
  }
}
