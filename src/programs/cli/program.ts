/** `baseload …`: one binary, every role. This is the list of its commands, and how each of them ends. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Command, CommanderError } from 'commander'
import { accountCommand } from './commands/account.ts'
import { chatCommand } from './commands/chat.ts'
import type { Shell } from './commands/command.ts'
import { cpCommand } from './commands/cp.ts'
import { deployCommand } from './commands/deploy.ts'
import { closeCommand, deploymentsCommand, leasesCommand } from './commands/deployments.ts'
import { eventsCommand } from './commands/events.ts'
import { exportCommand } from './commands/export.ts'
import { execCommand } from './commands/exec.ts'
import { logsCommand } from './commands/logs.ts'
import { portForwardCommand } from './commands/port-forward.ts'
import { bidsCommand, screenCommand } from './commands/screen.ts'
import { snapshotCommand } from './commands/snapshot.ts'
import { statsCommand } from './commands/stats.ts'
import { updateCommand } from './commands/update.ts'
import { doctorCommand } from './commands/doctor.ts'
import { gatewayCommand } from './commands/gateway.ts'
import { helpCommand } from './commands/help.ts'
import { joinCommand } from './commands/join.ts'
import { keysCommand } from './commands/keys.ts'
import { modelsCommand, networkCommand } from './commands/network.ts'
import { payoutsCommand } from './commands/payouts.ts'
import { receiptsCommand } from './commands/receipts.ts'
import { sdlCommand } from './commands/sdl.ts'
import { simCommand } from './commands/sim.ts'
import { upCommand } from './commands/up.ts'
import { walletCommand } from './commands/wallet.ts'
import { EndedWith, EXIT, failureOf, failureText } from './shell/failure.ts'
import { packageRoot } from './shell/home.ts'

const COMMANDS = {
  up: upCommand,
  join: joinCommand,
  gateway: gatewayCommand,
  doctor: doctorCommand,
  chat: chatCommand,
  models: modelsCommand,
  network: networkCommand,
  deploy: deployCommand,
  screen: screenCommand,
  deployments: deploymentsCommand,
  leases: leasesCommand,
  bids: bidsCommand,
  update: updateCommand,
  close: closeCommand,
  events: eventsCommand,
  logs: logsCommand,
  exec: execCommand,
  cp: cpCommand,
  'port-forward': portForwardCommand,
  stats: statsCommand,
  snapshot: snapshotCommand,
  export: exportCommand,
  account: accountCommand,
  keys: keysCommand,
  wallet: walletCommand,
  receipts: receiptsCommand,
  payouts: payoutsCommand,
  sdl: sdlCommand,
  sim: simCommand,
  help: helpCommand,
}

const EPILOGUE = `
Example:
  $ baseload up                                  a network on this machine
  $ baseload chat                                talk with its model
  $ baseload deploy app.yaml                     a container, on the best bid
  $ baseload join https://gateway.example --model model.gguf
                                                 this machine earns

Exit codes:
  0  done                        3  the gateway refused
  1  failed                      4  the gateway cannot be reached
  2  wrong usage or settings   130  interrupted`

/** The whole command line, not yet run. */
export function buildProgram(shell: Shell): Command {
  const program = new Command('baseload')
    .description('Machines of many independent providers, one boring GPU cloud.')
    .version(version())
    .helpCommand(false)
    .addHelpText('after', EPILOGUE)
    .exitOverride()
    .showHelpAfterError('(--help shows what is understood)')
    .configureOutput({
      writeOut: (text) => void shell.terminal.out(text),
      writeErr: (text) => shell.terminal.err(text),
      outputError: (text, write) => write(text.replace(/^error: /, '✗ ')),
    })
  for (const [name, configure] of Object.entries(COMMANDS)) {
    // Settings that the program shares with its commands (how errors and help are printed).
    const command = new Command(name).copyInheritedSettings(program)
    program.addCommand(configure(command, shell))
  }
  return program
}

/** Runs one command line and says how it ended. Throws nothing: failures are printed, with the next step. */
export async function runProgram(args: readonly string[], shell: Shell): Promise<number> {
  const program = buildProgram(shell)
  try {
    await program.parseAsync(args, { from: 'user' })
    return EXIT.ok
  } catch (error) {
    if (error instanceof EndedWith) return error.exitCode
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage
    const failure = failureOf(error)
    const { terminal } = shell
    const debug = args.includes('--debug')
    if (args.includes('--json')) terminal.err(`${JSON.stringify(errorJson(failure))}\n`)
    else terminal.err(failureText(error, debug))
    return failure.exitCode
  }
}

const errorJson = ({ message, code, next }: ReturnType<typeof failureOf>) => ({
  error: { message, code, next },
})

function version(): string {
  const text = readFileSync(join(packageRoot(), 'package.json'), 'utf8')
  const { version: found = 'unknown' }: { version?: string } = JSON.parse(text)
  return found
}
