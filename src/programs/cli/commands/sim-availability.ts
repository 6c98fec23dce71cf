/** `baseload sim availability`: three months of churn, and how many requests are answered all the same. */
import type { Command } from 'commander'
import { availabilityOf, availabilityText } from '../../simulator/capacity/availability.ts'
import { EXIT, EndedWith, Failure } from '../shell/failure.ts'
import { describe, print, textOf, type Flags, type Shell } from './command.ts'
import { numberOf, tracesOf, wholeOf, withTraces } from './sim-traces.ts'

const MAX_SPARES = 20

export function simAvailabilityCommand(command: Command, shell: Shell): Command {
  return withTraces(
    describe(
      command,
      'How many requests are answered, and how long leases are away, on nodes that come and go; ends with 1 below 99.99 %',
      'baseload sim availability',
      'baseload sim availability --days 7 --spare 50,100 --made-up',
    ),
  )
    .option('--days <number>', 'virtual days', '90')
    .option('--requests-per-s <rate>', 'mean rate of requests', '0.5')
    .option(
      '--spare <percents>',
      'spare capacity to try, in percent, one after another',
      '0,10,25,50,75,100,150',
    )
    .action((flags: Flags) => show(flags, shell))
}

async function show(flags: Flags, shell: Shell): Promise<void> {
  const answer = availabilityOf(tracesOf(flags), {
    days: numberOf(flags, 'days', 1, 365),
    requestsPerS: numberOf(flags, 'requestsPerS', 0.01, 100),
    seed: wholeOf(flags, 'seed', 0, 2 ** 32 - 1),
    sparePercents: sparesOf(textOf(flags, 'spare') ?? ''),
  })
  await print(flags, shell.terminal, answer, () => availabilityText(answer))
  if (!answer.enough) throw new EndedWith(EXIT.failure)
}

function sparesOf(text: string): number[] {
  const spares = text.split(',').map(Number)
  const wrong =
    text.trim() === '' ||
    spares.length > MAX_SPARES ||
    spares.some((one) => !(one >= 0 && one <= 1000))
  if (wrong)
    throw new Failure(
      EXIT.usage,
      `--spare is up to ${MAX_SPARES} numbers from 0 to 1000, as in 0,25,50; got '${text}'`,
    )
  return spares
}
