#!/usr/bin/env node
/** The entry of `baseload`: the real terminal, the real signals, the real exit. */
import { runProgram } from './program.ts'
import { processStdio } from './shell/stdio.ts'
import { listenForStops } from './shell/stop-requests.ts'
import { endQuietlyOnClosedPipe, processTerminal } from './shell/terminal.ts'

endQuietlyOnClosedPipe()
const shell = {
  terminal: processTerminal(),
  stdio: processStdio(),
  env: process.env,
  stops: listenForStops(),
}
const exitCode = await runProgram(process.argv.slice(2), shell)
// Something may still be open (an agent's socket, an npm that Ctrl-C overtook); the command itself is over.
process.exit(exitCode)
