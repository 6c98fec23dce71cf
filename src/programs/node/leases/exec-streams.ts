/** A command's or a log's streams in the frames of a tunnel, with back-pressure both ways; `exec-session.ts` outlives the tunnel. */
import { constants } from 'node:os'
import { Writable, type Duplex } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { Fault, reasonOf } from '../../../core/base/refusal.ts'
import {
  decodeResize,
  encodeExecFrame,
  EXEC_CHANNEL,
  ExecDecoder,
  MAX_EXEC_PAYLOAD_BYTES,
  type ExecExit,
} from '../../../core/protocol/tunnel.ts'
import type { Exec, Output } from '../../../io/runtime/runtime.ts'

/** A command that hears no SIGHUP is killed after so long. */
const HANG_UP_MS = 5_000

/** Resolves when the command has ended and its output left. A tunnel that breaks off ends the command. */
export async function carryExec(
  stream: Duplex,
  exec: Exec,
  { stdin }: { stdin: boolean },
): Promise<void> {
  let over = false
  stream.once('close', () => {
    if (!over) hangUp(exec)
  })
  // It may end before it has read all.
  exec.stdin.on('error', () => {})
  if (!stdin) exec.stdin.end()
  // The gateway may end its direction any time later, or break it off: the output tells how it went.
  pipeline(stream, inputOf(exec)).catch(() => {})
  await pipeline(execFrames(exec), stream)
  over = true
}

/** What a terminal does when its line breaks. */
export function hangUp(exec: Exec): void {
  const signal = (name: NodeJS.Signals) => void exec.signal(name).catch(() => {})
  exec.stdin.destroy()
  signal('SIGHUP')
  const timer = setTimeout(() => signal('SIGKILL'), HANG_UP_MS)
  const ended = () => clearTimeout(timer)
  exec.exitCode.then(ended, ended)
}

/** Frames of a log. */
export async function* logFrames(
  output: AsyncIterable<Output>,
): AsyncGenerator<Uint8Array, void, void> {
  for await (const { stream, data } of output) {
    const channel = stream === 'stdout' ? EXEC_CHANNEL.STDOUT : EXEC_CHANNEL.STDERR
    for (let at = 0; at < data.length; at += MAX_EXEC_PAYLOAD_BYTES)
      yield encodeExecFrame(channel, data.subarray(at, at + MAX_EXEC_PAYLOAD_BYTES))
  }
}

/** Its output and, last, how it ended. Throws when the output breaks off. */
export async function* execFrames(exec: Exec): AsyncGenerator<Uint8Array, void, void> {
  yield* logFrames(exec.output)
  const exit = Buffer.from(JSON.stringify(await exitOf(exec)))
  yield encodeExecFrame(EXEC_CHANNEL.EXIT, exit)
}

async function exitOf(exec: Exec): Promise<ExecExit> {
  try {
    return { code: await exec.exitCode, reason: null }
  } catch (error) {
    return { code: null, reason: reasonOf(error).slice(0, 2000) }
  }
}

/** Takes the gateway's frames: input, resizes and signals. Waits while the command does not read. */
function inputOf(exec: Exec): Writable {
  const { stdin } = exec
  const decoder = new ExecDecoder((channel, payload) => giveFrame(exec, channel, payload))
  return new Writable({
    write(chunk: Buffer, _encoding, done) {
      const problem = decoder.push(chunk)
      if (problem !== null) done(new Fault('tunnel_malformed', problem))
      else whenDrained(stdin, done)
    },
    final(done) {
      if (stdin.writable) stdin.end()
      done()
    },
  })
}

/** One frame for the command; what it has no use for any more is thrown away. */
export function giveFrame(exec: Exec, channel: number, payload: Uint8Array): void {
  const { stdin } = exec
  if (channel === EXEC_CHANNEL.RESIZE) resize(exec, payload)
  if (channel === EXEC_CHANNEL.SIGNAL) passOn(exec, payload)
  if (channel !== EXEC_CHANNEL.STDIN || !stdin.writable) return
  if (payload.length === 0) stdin.end()
  else stdin.write(Buffer.from(payload))
}

/** At once where there is room, or nobody who reads. */
export function whenDrained(stdin: Writable, done: () => void): void {
  if (!stdin.writable || !stdin.writableNeedDrain) return done()
  const go = () => {
    stdin.off('drain', go)
    stdin.off('close', go)
    done()
  }
  stdin.on('drain', go)
  stdin.on('close', go)
}

function resize(exec: Exec, payload: Uint8Array): void {
  const size = decodeResize(payload)
  // A terminal of the wrong size is a nuisance, not a reason to lose the shell.
  if (size !== null) exec.resize(size).catch(() => {})
}

function passOn(exec: Exec, payload: Uint8Array): void {
  const name = Buffer.from(payload).toString('latin1')
  // A name that this system does not know is no signal; one that comes too late has no command.
  if (isSignal(name)) exec.signal(name).catch(() => {})
}

const isSignal = (name: string): name is NodeJS.Signals => Object.hasOwn(constants.signals, name)
