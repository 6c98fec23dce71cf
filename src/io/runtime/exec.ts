/** Commands inside of running containers, with and without a terminal. */
import type { Duplex } from 'node:stream'
import { finished } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type Docker from 'dockerode'
import { Fault, reasonOf } from '../../core/base/refusal.ts'
import type { Context } from './context.ts'
import { ask, statusOf } from './engine-socket.ts'
import { plainOutput, splitOutput } from './output.ts'
import type { Exec, ExecTask, TerminalSize } from './runtime.ts'

export async function startExec(context: Context, id: string, task: ExecTask): Promise<Exec> {
  const tty = task.terminal !== null
  const exec = await ask(
    `prepare ${task.command[0] ?? 'a command'}`,
    context.docker.getContainer(id).exec({
      Cmd: [...task.command],
      Env: [...(tty ? ['TERM=xterm-256color'] : []), ...(task.env ?? [])],
      Tty: tty,
      AttachStdin: true,
      AttachStdout: true,
      AttachStderr: true,
    }),
  )
  const stream = await ask(
    `start ${task.command[0] ?? 'a command'}`,
    exec.start({ hijack: true, stdin: true, Tty: tty }),
  )
  const resize = (size: TerminalSize): Promise<void> => resizeExec(context, exec, size)
  if (task.terminal !== null) await resize(task.terminal)
  return {
    stdin: stream,
    ...outputOf(stream, exec, tty),
    resize,
    signal: (name) => signalExec(exec, name),
  }
}

/** The code is asked for when all output was read: only then has the command surely ended. */
function outputOf(
  stream: Duplex,
  exec: Docker.Exec,
  tty: boolean,
): Pick<Exec, 'output' | 'exitCode'> {
  const ended = finished(stream, { writable: false }).catch(() => {})
  const exitCode = ended.then(() => exitCodeOf(exec))
  // Whoever asked for it hears of a failure; who did not must not be brought down by it.
  exitCode.catch(() => {})
  return { output: tty ? plainOutput(stream) : splitOutput(stream), exitCode }
}

const LOOK_MS = 20
/** An engine notes the code a moment after the stream has ended. */
const MAX_LOOKS = 250

async function exitCodeOf(exec: Docker.Exec): Promise<number> {
  for (let look = 0; look < MAX_LOOKS; look += 1) {
    const { Running, ExitCode } = await ask('look at a command', exec.inspect())
    if (!Running && ExitCode !== null) return ExitCode
    await sleep(LOOK_MS)
  }
  throw new Fault(
    'engine_failed',
    'The command closed its output and runs on; its exit code is not known.',
  )
}

async function resizeExec(
  { facts }: Context,
  exec: Docker.Exec,
  { columns, rows }: TerminalSize,
): Promise<void> {
  try {
    await exec.resize({ h: rows, w: columns })
  } catch (thrown) {
    if (facts.quirks.resizeAnswers201 && statusOf(thrown) === 201) return
    // The command may have ended before its terminal was resized.
    if (statusOf(thrown) === null) throw thrown
  }
}

/** Engines have no call for it, but tell the process's id on this host; Docker a moment after the start. */
async function signalExec(exec: Docker.Exec, name: NodeJS.Signals): Promise<void> {
  for (let look = 0; look < MAX_LOOKS; look += 1) {
    const { Running, Pid, ExitCode } = await ask('look at a command', exec.inspect())
    if (!Running && ExitCode !== null) return
    if (Running && Pid > 0) return kill(Pid, name)
    await sleep(LOOK_MS)
  }
}

function kill(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name)
  } catch (thrown) {
    throw new Fault('engine_failed', `Process ${pid} took no ${name}: ${reasonOf(thrown)}`, {
      cause: thrown,
    })
  }
}
