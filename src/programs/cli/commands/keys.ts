/** `baseload keys`: list, create and revoke API keys of the own account. */
import type { Command } from 'commander'
import { z } from 'zod'
import { EXIT, Failure } from '../shell/failure.ts'
import { table } from '../shell/terminal.ts'
import { listOf, minutes, money, understand } from './answers.ts'
import { clientOf, collect, describeClient, print, type Flags, type Shell } from './command.ts'

const key = z.looseObject({
  id: z.string(),
  name: z.string(),
  hint: z.string(),
  status: z.string(),
  scopes: z.array(z.string()),
  budget: money.nullable(),
  spent: money,
  expires_at: z.string().nullable(),
})
const newKey = key.extend({ secret: z.string() })

export function keysCommand(command: Command, shell: Shell): Command {
  command.description('List, create and revoke API keys')
  command.addHelpText('after', '\nExample:\n  $ baseload keys create laptop --budget-usd 1.00')
  listCommand(command.command('list', { isDefault: true }), shell)
  createCommand(command.command('create'), shell)
  revokeCommand(command.command('revoke'), shell)
  return command
}

function listCommand(command: Command, shell: Shell): void {
  describeClient(command, 'List the keys of this account', 'baseload keys list').action(
    async (flags: Flags) => {
      const answer = await clientOf(flags, shell).get('/v1/keys')
      await print(flags, shell.terminal, answer, () => {
        const rows = understand(listOf(key), answer).data.map((one) => [
          one.id,
          one.name,
          `${one.hint}…`,
          one.status,
          one.scopes.join(','),
          `$${one.spent.usd}`,
          one.budget === null ? 'no limit' : `$${one.budget.usd}`,
          minutes(one.expires_at),
        ])
        const head = ['id', 'name', 'key', 'status', 'scopes', 'spent', 'budget', 'expires']
        return table([head, ...rows], [5, 6])
      })
    },
  )
}

function createCommand(command: Command, shell: Shell): void {
  describeClient(
    command.argument('<name>', 'what to recognise it by'),
    'Create a key; it is printed once, to standard output',
    'baseload keys create laptop --budget-usd 1.00 --days 30',
    'baseload keys create ci > key.txt',
  )
    .option(
      '--scope <scope>',
      'inference, account, keys, deployments (repeatable) [inference]',
      collect,
    )
    .option('--budget-usd <usd>', 'all it may ever spend, e.g. 1.00')
    .option('--days <number>', 'how long it works; without it, until it is revoked', wholeDays)
    .option('--requests-per-minute <number>', 'limit of this key', wholeNumber)
    .option('--tokens-per-minute <number>', 'limit of this key', wholeNumber)
    .option('--concurrency <number>', 'limit of this key', wholeNumber)
    .action(async (name: string, flags: Flags) => {
      const answer = await clientOf(flags, shell).post('/v1/keys', newKeyBody(name, flags))
      await print(flags, shell.terminal, answer, () => {
        const made = understand(newKey, answer)
        shell.terminal.err(
          `${made.id} (${made.scopes.join(', ')}); keep it, it is not shown again\n`,
        )
        return `${made.secret}\n`
      })
    })
}

function newKeyBody(name: string, flags: Flags): Record<string, unknown> {
  const limits = {
    ...(flags['requestsPerMinute'] === undefined
      ? {}
      : { requests_per_minute: flags['requestsPerMinute'] }),
    ...(flags['tokensPerMinute'] === undefined
      ? {}
      : { tokens_per_minute: flags['tokensPerMinute'] }),
    ...(flags['concurrency'] === undefined ? {} : { concurrency: flags['concurrency'] }),
  }
  return {
    name,
    limits,
    ...(flags['scope'] === undefined ? {} : { scopes: flags['scope'] }),
    ...(flags['budgetUsd'] === undefined ? {} : { budget_usd: flags['budgetUsd'] }),
    ...(flags['days'] === undefined ? {} : { expires_at: flags['days'] }),
  }
}

function revokeCommand(command: Command, shell: Shell): void {
  describeClient(
    command.argument('<id>', 'the id that `keys list` shows'),
    'Revoke a key, at once and for ever',
    'baseload keys revoke key_0123456789abcdefghjkmnpq',
  ).action(async (id: string, flags: Flags) => {
    const answer = await clientOf(flags, shell).delete(`/v1/keys/${encodeURIComponent(id)}`)
    await print(flags, shell.terminal, answer, () => `${id} is revoked\n`)
  })
}

function wholeNumber(text: string): number {
  if (/^[1-9]\d{0,9}$/.test(text)) return Number(text)
  throw new Failure(EXIT.usage, `'${text}' is not a whole number above 0`)
}

const wholeDays = (text: string): string =>
  new Date(Date.now() + wholeNumber(text) * 24 * 3600 * 1000).toISOString()
