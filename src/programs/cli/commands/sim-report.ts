/** `baseload sim report`: a week of the network as figures, and as one HTML file with plots. */
import { writeFileSync } from 'node:fs'
import type { Command } from 'commander'
import { reasonOf } from '../../../core/base/refusal.ts'
import { figuresFrom } from '../../simulator/capacity/figures.ts'
import { reportHtml, rowsOf } from '../../simulator/capacity/report.ts'
import { settingsOf } from '../../simulator/capacity/settings.ts'
import { simulate } from '../../simulator/capacity/simulation.ts'
import { EXIT, Failure } from '../shell/failure.ts'
import { describe, print, textOf, type Flags, type Shell } from './command.ts'
import { numberOf, tracesOf, wholeOf, withTraces } from './sim-traces.ts'

export function simReportCommand(command: Command, shell: Shell): Command {
  return withTraces(
    describe(
      command,
      'Simulate the network: utilisation, queueing, first tokens, availability, prices, earnings',
      'baseload sim report --out report.html',
      'baseload sim report --nodes 5600 --days 14 --json',
    ),
  )
    .option('--out <file>', 'write plots and figures as one HTML file')
    .option('--nodes <number>', 'nodes of the simulated network', '1000')
    .option('--days <number>', 'virtual days that count', '7')
    .option('--requests-per-s <rate>', 'requests a second', '5.5')
    .option('--load <part>', 'part of all GPUs that tenants want to lease', '0.72')
    .action((flags: Flags) => report(flags, shell))
}

async function report(flags: Flags, shell: Shell): Promise<void> {
  const outcome = simulate(
    settingsOf(tracesOf(flags), {
      seed: wholeOf(flags, 'seed', 0, 2 ** 32 - 1),
      nodes: wholeOf(flags, 'nodes', 10, 100_000),
      days: numberOf(flags, 'days', 0.01, 365),
      requestsPerS: numberOf(flags, 'requestsPerS', 0, 10_000),
      load: numberOf(flags, 'load', 0, 1),
    }),
  )
  const figures = figuresFrom(outcome)
  const out = textOf(flags, 'out')
  if (out !== undefined) {
    try {
      writeFileSync(out, reportHtml(figures, outcome.tally.hours))
    } catch (error) {
      throw new Failure(EXIT.failure, `cannot write ${out}: ${reasonOf(error)}`, { cause: error })
    }
  }
  await print(flags, shell.terminal, figures, () => {
    const wrote = out === undefined ? '' : `✓ plots in ${out}\n`
    const rows = rowsOf(figures).map(([name, value]) => `${name.padEnd(33)}${value}\n`)
    return `${rows.join('')}${wrote}`
  })
}
