/** What the simulation commands share: where the traces are, and numbers within their limits. */
import { resolve } from 'node:path'
import type { Command } from 'commander'
import { reasonOf } from '../../../core/base/refusal.ts'
import { missingData } from '../../simulator/capacity/data-folder.ts'
import { madeUpTraces } from '../../simulator/capacity/made-up.ts'
import { readTraces, REQUEST_TRACES, type Traces } from '../../simulator/capacity/traces.ts'
import { EXIT, Failure } from '../shell/failure.ts'
import { packageRoot } from '../shell/home.ts'
import { textOf, type Flags } from './command.ts'

export const withTraces = (command: Command): Command =>
  command
    .option('--data <folder>', 'where the traces are [../shared/data beside the project]')
    .option('--made-up', 'run on a small made-up trace instead')
    .option('--trace <name>', `requests of ${REQUEST_TRACES.join(' or ')}`, 'azure')
    .option('--seed <number>', 'another seed, another run', '1')

export function tracesOf(flags: Flags): Traces {
  const wanted = textOf(flags, 'trace')
  const trace = REQUEST_TRACES.find((name) => name === wanted)
  if (!trace)
    throw new Failure(EXIT.usage, `--trace knows ${REQUEST_TRACES.join(', ')}; got '${wanted}'`)
  if (flags['madeUp'] === true) return madeUpTraces()
  const folder = resolve(textOf(flags, 'data') ?? resolve(packageRoot(), '../shared/data'))
  const missing = missingData(folder)
  if (missing.length > 0)
    throw new Failure(
      EXIT.usage,
      `${missing.length} trace files are not in ${folder}:\n${missing.map((one) => `    ${one}`).join('\n')}`,
      {
        code: 'data_missing',
        next: 'get them from there, name their folder with --data, or look around with --made-up',
      },
    )
  try {
    return readTraces(folder, trace)
  } catch (error) {
    throw new Failure(EXIT.failure, `cannot read the traces in ${folder}: ${reasonOf(error)}`, {
      cause: error,
    })
  }
}

/** A number from a flag; outside its limits a usage error that names both. */
export function numberOf(flags: Flags, name: string, from: number, to: number): number {
  const text = textOf(flags, name) ?? ''
  const value = Number(text)
  if (text.trim() !== '' && value >= from && value <= to) return value
  throw new Failure(
    EXIT.usage,
    `--${name.replaceAll(/[A-Z]/g, (one) => `-${one.toLowerCase()}`)} is a number from ${from} to ${to}; got '${text}'`,
  )
}

export function wholeOf(flags: Flags, name: string, from: number, to: number): number {
  const value = numberOf(flags, name, from, to)
  if (Number.isInteger(value)) return value
  throw new Failure(EXIT.usage, `--${name} is a whole number; got '${value}'`)
}
