/** `baseload logs`: what containers wrote, also after their end; followed over restarts of gateway and node. */
import { setTimeout as pause } from 'node:timers/promises'
import type { Command } from 'commander'
import { readAccess, type Access } from '../shell/client-settings.ts'
import { EXIT, Failure, failureOf } from '../shell/failure.ts'
import type { GatewayClient } from '../shell/gateway-client.ts'
import { writeAll } from '../shell/stdio.ts'
import { openBoundTunnel, tunnelFailure } from '../shell/tunnel-client.ts'
import { clientOf, describeClient, type Flags, type Shell } from './command.ts'
import { fetchDeployment } from './deployment-answers.ts'
import { LogReader, type LogLine } from './log-reader.ts'
import { nameOf, targetsOf, withTarget, type Target } from './target.ts'
import { isPassing, pauseMs } from './try-again.ts'

export function logsCommand(command: Command, shell: Shell): Command {
  return withTarget(
    describeClient(
      command.argument('<deployment>', 'id or name'),
      'Show what the containers of a deployment wrote, all of them or one',
      'baseload logs shop --tail 100',
      'baseload logs -f shop --service web --timestamps',
    ),
  )
    .option('-f, --follow', 'go on with what they write, until Ctrl-C')
    .option('--tail <lines>', 'only so many of the last lines of each', lineCount)
    .option('--since <time>', 'only since then: 10m, 2h, 1d, or a date and time', sinceTime)
    .option('--timestamps', 'with the time of each line')
    .action(async (id: string, flags: Flags) => {
      const client = clientOf(flags, shell)
      const found = await fetchDeployment(client, id)
      const targets = targetsOf(found, flags)
      const source = { client, access: readAccess(flags, shell.env), deployment: found.id }
      const each = targets.map(
        (target) =>
          new LogFollower(source, target, flags, shell, printer(target, targets, flags, shell)),
      )
      if (flags['follow'] === true) await Promise.all(each.map((one) => one.run()))
      else for (const one of each) await one.run()
    })
}

type Source = {
  readonly client: GatewayClient
  readonly access: Access
  readonly deployment: string
}
type Print = (line: LogLine) => Promise<void>

/** A log that is not followed and does not come after so many tries does not come. */
const MAX_TRIES = 8

class LogFollower {
  readonly #source: Source
  readonly #target: Target
  readonly #flags: Flags
  readonly #shell: Shell
  readonly #print: Print
  readonly #reader = new LogReader()
  readonly #startedAt = Date.now()
  #opened = false
  #failures = 0

  constructor(source: Source, target: Target, flags: Flags, shell: Shell, print: Print) {
    this.#source = source
    this.#target = target
    this.#flags = flags
    this.#shell = shell
    this.#print = print
  }

  async run(): Promise<void> {
    const { signal, follow } = {
      signal: this.#shell.stops.stop,
      follow: this.#flags['follow'] === true,
    }
    for (;;) {
      try {
        await this.#readOnce(signal)
        if (!follow || (await this.#isOver())) return
        await pause(pauseMs(1), null, { signal })
      } catch (error) {
        const failure = signal.aborted ? interrupted(error) : failureOf(error)
        if (!(await this.#isWorthWaiting(failure, follow))) throw failure
        if (this.#failures === 0) this.#shell.terminal.err(`${failure.message}; trying again\n`)
        this.#failures += 1
        await pause(pauseMs(this.#failures), null, { signal })
      }
    }
  }

  async #readOnce(signal: AbortSignal): Promise<void> {
    const { access, deployment } = this.#source
    const wish = { kind: 'logs', ...this.#target, ...this.#range(), timestamps: true } as const
    const tunnel = await openBoundTunnel(access, deployment, wish, signal)
    this.#opened = true
    try {
      await this.#reader.read(tunnel, (line) => {
        this.#failures = 0
        return this.#print(line)
      })
    } catch (error) {
      throw tunnelFailure(error)
    } finally {
      tunnel.destroy()
    }
  }

  /** As it was asked, or from where the last stream broke off. */
  #range() {
    const { follow, tail, since } = this.#flags
    const begun = this.#reader.sinceMs
    const asked = { follow: follow === true, tailLines: numberOr(tail), sinceMs: numberOr(since) }
    if (begun !== null) return { ...asked, tailLines: null, sinceMs: begun }
    // `--tail 0` asks for what comes: after a break that is what came since.
    return this.#opened && tail === 0
      ? { ...asked, tailLines: null, sinceMs: this.#startedAt }
      : asked
  }

  async #isOver(): Promise<boolean> {
    const { client, deployment } = this.#source
    const { closed_at, leases } = await fetchDeployment(client, deployment)
    return (
      closed_at !== null ||
      leases.every(({ id, state }) => id !== this.#target.lease || state === 'closed')
    )
  }

  /** A way that is lost is found again; a container that does not run yet, or moves, is waited for. */
  async #isWorthWaiting(failure: Failure, follow: boolean): Promise<boolean> {
    if (failure.exitCode === EXIT.interrupted) return false
    if (isPassing(failure)) return follow || this.#failures < MAX_TRIES
    if (!follow || failure.code !== 'tunnel_refused') return false
    const { client, deployment } = this.#source
    const { leases } = await fetchDeployment(client, deployment)
    const state = leases.find(({ id }) => id === this.#target.lease)?.state ?? 'closed'
    return state !== 'closed' && (this.#opened || state !== 'running')
  }
}

function printer(target: Target, all: readonly Target[], flags: Flags, shell: Shell): Print {
  const { terminal, stdio } = shell
  if (flags['json'] === true) {
    const { service, replica } = target
    return ({ stream, time, text }) =>
      terminal.out(`${JSON.stringify({ service, replica, stream, time, text: text.toString() })}\n`)
  }
  const width = Math.max(...all.map((one) => nameOf(one, all).length))
  const name = all.length > 1 ? `${nameOf(target, all).padEnd(width)} | ` : ''
  return ({ time, text }) => {
    const stamp = flags['timestamps'] === true && time !== null ? `${time} ` : ''
    return writeAll(stdio.stdout, Buffer.concat([Buffer.from(name + stamp), text, NEWLINE]))
  }
}

const NEWLINE = Buffer.from('\n')

const interrupted = (cause: unknown): Failure =>
  new Failure(EXIT.interrupted, 'interrupted', { code: 'interrupted', cause })

const numberOr = (value: unknown): number | null => (typeof value === 'number' ? value : null)

function lineCount(text: string): number {
  if (/^\d{1,6}$/.test(text)) return Number(text)
  throw new Failure(EXIT.usage, `--tail takes a number of lines, at most 999999, not '${text}'`)
}

const UNIT_MS: Readonly<Record<string, number>> = {
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
}

function sinceTime(text: string): number {
  const ago = /^(\d{1,6})([smhd])$/.exec(text)
  const at = ago ? Date.now() - Number(ago[1]) * (UNIT_MS[ago[2] ?? ''] ?? 0) : Date.parse(text)
  if (at >= 0) return at
  throw new Failure(EXIT.usage, `--since takes 10m, 2h, 1d or a date and time, not '${text}'`)
}
