/** `baseload sim earnings`: what a newcomer's machine would have earned in the last week of the traces, and why. */
import type { Command } from 'commander'
import { DAY } from '../../../core/base/time.ts'
import {
  earningsOf,
  earningsText,
  knownGpus,
  nearGpus,
  offersOf,
} from '../../simulator/capacity/earnings.ts'
import { settingsOf } from '../../simulator/capacity/settings.ts'
import { EXIT, Failure } from '../shell/failure.ts'
import { describe, print, textOf, type Flags, type Shell } from './command.ts'
import { numberOf, tracesOf, wholeOf, withTraces } from './sim-traces.ts'

export function simEarningsCommand(command: Command, shell: Shell): Command {
  return withTraces(
    describe(
      command,
      'What a machine with this GPU would have earned in a week here, and why',
      'baseload sim earnings --gpu "RTX 4090" --region eu',
      'baseload sim earnings --gpu "RTX 3090" --region us --price 0.15 --watt-price 0.30',
    ),
  )
    .requiredOption('--gpu <model>', 'as its maker calls it: "RTX 4090", "A100"')
    .option('--region <region>', 'where it stands: eu, us-wa, ap-jp', 'eu')
    .option('--price <usd>', 'what it asks an hour [the median of those who offer the same]')
    .option('--watt-price <usd>', 'USD for a kilowatt-hour: takes electricity off')
    .option('--nodes <number>', 'nodes of the simulated network', '1000')
    .option('--requests-per-s <rate>', 'requests a second to all of them', '5.5')
    .option('--load <part>', 'part of all GPUs that tenants want to lease', '0.72')
    .action((flags: Flags) => earn(flags, shell))
}

async function earn(flags: Flags, shell: Shell): Promise<void> {
  const traces = tracesOf(flags)
  const gpu = textOf(flags, 'gpu') ?? ''
  if (offersOf(gpu, traces.offers).length === 0) throw unknownGpu(gpu, traces.offers)
  const region = textOf(flags, 'region') ?? 'eu'
  if (!/^[a-z]{2}(-[a-z0-9]{1,20})?$/.test(region))
    throw new Failure(
      EXIT.usage,
      `--region is eu, us or ap, or a place in it as in eu-de; got '${region}'`,
    )
  const settings = settingsOf(traces, {
    seed: wholeOf(flags, 'seed', 0, 2 ** 32 - 1),
    nodes: wholeOf(flags, 'nodes', 10, 100_000),
    requestsPerS: numberOf(flags, 'requestsPerS', 0, 10_000),
    load: numberOf(flags, 'load', 0, 1),
    warmUpMs: DAY / 4,
  })
  const answer = earningsOf(settings, {
    gpu,
    region,
    usd: flags['price'] === undefined ? null : numberOf(flags, 'price', 0.001, 1000),
    wattPrice: flags['wattPrice'] === undefined ? null : numberOf(flags, 'wattPrice', 0, 10),
  })
  await print(flags, shell.terminal, answer, () => earningsText(answer))
}

function unknownGpu(gpu: string, offers: Parameters<typeof knownGpus>[0]): Failure {
  const near = nearGpus(gpu, offers)
  const next =
    near.length > 0
      ? `did you mean ${near.join(' or ')}?`
      : `known are ${knownGpus(offers).join(', ')}`
  return new Failure(EXIT.usage, `nobody in the price list offers a '${gpu}'`, {
    code: 'unknown_gpu',
    next,
  })
}
