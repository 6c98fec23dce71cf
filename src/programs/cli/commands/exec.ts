/** `baseload exec`: a command in a running container, with a terminal or without; it ends as that command did. */
import { randomBytes } from 'node:crypto'
import type { Command } from 'commander'
import { EndedWith, EXIT, Failure } from '../shell/failure.ts'
import { readAccess } from '../shell/client-settings.ts'
import { withRawTerminal } from '../shell/raw-terminal.ts'
import { openTunnel } from '../shell/tunnel-client.ts'
import { clientOf, describeClient, type Flags, type Shell } from './command.ts'
import { fetchDeployment } from './deployment-answers.ts'
import { ExecSession } from './exec-session.ts'
import { targetOf, withTarget } from './target.ts'

/** As shells do, for a command that was killed and has no code. */
const KILLED = 137

export function execCommand(command: Command, shell: Shell): Command {
  return withTarget(
    describeClient(
      command
        .argument('<deployment>', 'id or name')
        .argument('<command...>', 'after --, the command and its arguments'),
      'Run a command in a container; ends with its exit code',
      'baseload exec -it shop -- sh',
      'baseload exec shop --service db -- pg_dump app > app.sql',
    ),
  )
    .option('-i, --stdin', 'pass standard input on')
    .option('-t, --tty', 'give it a terminal')
    .action(async (id: string, words: string[], flags: Flags) => {
      const [stdin, tty] = [flags['stdin'] === true, flags['tty'] === true]
      const size = terminalSize(tty, flags, shell)
      const found = await fetchDeployment(clientOf(flags, shell), id)
      const target = targetOf(found, flags)
      const { stops, stdio } = shell
      const wish = { kind: 'exec', ...target, command: words, stdin, terminal: size } as const
      const access = readAccess(flags, shell.env)
      const secret = randomBytes(32).toString('base64url')
      const dial = (taken: number | null, signal: AbortSignal) =>
        openTunnel(access, found.id, { ...wish, session: { secret, taken } }, signal)
      const first = await dial(null, stops.stop)
      const session = new ExecSession({ dial, stdin, tty, json: flags['json'] === true, shell })
      const run = () => session.run(first)
      const { code, reason } = size && stdin ? await withRawTerminal(stdio, run) : await run()
      if (reason !== null && flags['json'] !== true) shell.terminal.err(`${reason}\n`)
      if (code !== 0) throw new EndedWith(code ?? KILLED)
    })
}

function terminalSize(tty: boolean, flags: Flags, { stdio: { stdin, stdout } }: Shell) {
  if (!tty) return null
  if (flags['json'] === true)
    throw new Failure(EXIT.usage, '--json has no use for a terminal', { next: 'leave out -t' })
  if (flags['stdin'] === true && stdin.isTTY !== true)
    throw new Failure(EXIT.usage, '-t needs a terminal, and standard input is none', {
      next: 'leave out -t',
    })
  return { columns: stdout.columns || 80, rows: stdout.rows || 24 }
}
