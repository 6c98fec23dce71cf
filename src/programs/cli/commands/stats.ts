/** `baseload stats`: what each container uses now. */
import { createInterface } from 'node:readline'
import type { Command } from 'commander'
import { containerStatsSchema, type ContainerStats } from '../../../core/protocol/tunnel.ts'
import { readAccess } from '../shell/client-settings.ts'
import { EXIT, Failure, failureOf } from '../shell/failure.ts'
import { table } from '../shell/terminal.ts'
import { openBoundTunnel, tunnelFailure } from '../shell/tunnel-client.ts'
import { sizeText, understand } from './answers.ts'
import { clientOf, describeClient, print, type Flags, type Shell } from './command.ts'
import { fetchDeployment } from './deployment-answers.ts'
import { targetsOf, withTarget, type Target } from './target.ts'

export function statsCommand(command: Command, shell: Shell): Command {
  return withTarget(
    describeClient(
      command.argument('<deployment>', 'id or name'),
      'Show what each container uses: processor, memory, processes, network',
      'baseload stats shop',
      'baseload stats -f shop --json',
    ),
  )
    .option('-f, --follow', 'again every so often, until Ctrl-C')
    .option('--every <seconds>', 'how often', seconds, 2)
    .action(async (id: string, flags: Flags) => {
      const found = await fetchDeployment(clientOf(flags, shell), id)
      const targets = targetsOf(found, flags)
      const follow = flags['follow'] === true
      const everyMs = follow ? Number(flags['every']) * 1000 : SAMPLE_MS
      const gauges = targets.map(
        (target) => new Gauge(target, measure(found.id, target, everyMs, flags, shell)),
      )
      try {
        for (;;) {
          const rows = await Promise.all(gauges.map((gauge) => gauge.next()))
          await print(flags, shell.terminal, { containers: rows }, () => statsPage(rows))
          if (!follow || gauges.every((gauge) => !gauge.goesOn)) return
        }
      } finally {
        await Promise.all(gauges.map((gauge) => gauge.close()))
      }
    })
}

/** A share of processor time needs two looks. */
const SAMPLE_MS = 1_000

type Row = {
  readonly service: string
  readonly replica: number
  readonly cpu_cores: number | null
  readonly memory_bytes: number | null
  readonly memory_limit_bytes: number | null
  readonly pids: number | null
  readonly received_bytes: number | null
  readonly sent_bytes: number | null
  /** Why there are no figures. */
  readonly error: string | null
}

/** What one container uses, look by look. */
class Gauge {
  readonly #target: Target
  readonly #looks: AsyncGenerator<ContainerStats, void, void>
  #before: ContainerStats | null = null
  goesOn = true

  constructor(target: Target, looks: AsyncGenerator<ContainerStats, void, void>) {
    this.#target = target
    this.#looks = looks
  }

  async next(): Promise<Row> {
    const { service, replica } = this.#target
    try {
      const before = this.#before ?? (await this.#look())
      const now = await this.#look()
      this.#before = now
      return { service, replica, ...rowOf(before, now), error: null }
    } catch (error) {
      this.goesOn = false
      const failure = failureOf(error)
      if (failure.exitCode === EXIT.interrupted) throw failure
      return { service, replica, ...NO_FIGURES, error: failure.message }
    }
  }

  async close(): Promise<void> {
    await this.#looks.return()
  }

  async #look(): Promise<ContainerStats> {
    const { value } = await this.#looks.next()
    if (value) return value
    throw new Failure(EXIT.refused, 'it ended')
  }
}

async function* measure(
  deployment: string,
  target: Target,
  everyMs: number,
  flags: Flags,
  { env, stops }: Shell,
): AsyncGenerator<ContainerStats, void, void> {
  const wish = { kind: 'stats', ...target, everyMs } as const
  const tunnel = await openBoundTunnel(readAccess(flags, env), deployment, wish, stops.stop)
  try {
    for await (const line of createInterface({ input: tunnel }))
      yield understand(containerStatsSchema, JSON.parse(line))
    if (tunnel.errored) throw tunnelFailure(tunnel.errored)
  } finally {
    tunnel.destroy()
  }
}

const rowOf = (before: ContainerStats, now: ContainerStats) => ({
  cpu_cores: coresOf(before, now),
  memory_bytes: now.memoryBytes,
  memory_limit_bytes: now.memoryLimitBytes,
  pids: now.pids,
  received_bytes: now.receivedBytes,
  sent_bytes: now.sentBytes,
})

const NO_FIGURES = {
  cpu_cores: null,
  memory_bytes: null,
  memory_limit_bytes: null,
  pids: null,
  received_bytes: null,
  sent_bytes: null,
}

/** Null after a restart in between: its time began anew. */
function coresOf(before: ContainerStats, now: ContainerStats): number | null {
  const nanos = BigInt(now.cpuNanos) - BigInt(before.cpuNanos)
  const ms = now.atMs - before.atMs
  return nanos < 0n || ms <= 0 ? null : Math.round(Number(nanos) / ms / 10_000) / 100
}

function statsPage(rows: readonly Row[]): string {
  const head = ['service', 'replica', 'cores', 'memory', 'of', 'processes', 'received', 'sent']
  const body = rows.map((one) => [
    one.service,
    String(one.replica),
    one.cpu_cores === null ? (one.error ?? '–') : one.cpu_cores.toFixed(2),
    size(one.memory_bytes),
    size(one.memory_limit_bytes),
    one.pids === null ? '–' : String(one.pids),
    size(one.received_bytes),
    size(one.sent_bytes),
  ])
  return table([head, ...body], [1, 2, 3, 4, 5, 6, 7])
}

const size = (bytes: number | null): string => (bytes === null ? '–' : sizeText(bytes))

function seconds(text: string): number {
  const value = Number(text)
  if (value >= 0.5 && value <= 60) return value
  throw new Failure(EXIT.usage, `--every takes 0.5 to 60 seconds, not '${text}'`)
}
