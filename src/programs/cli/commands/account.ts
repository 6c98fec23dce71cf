/** `baseload account`: balance and what was used. */
import type { Command } from 'commander'
import { z } from 'zod'
import { table } from '../shell/terminal.ts'
import { money, understand } from './answers.ts'
import { clientOf, describeClient, print, type Flags, type Shell } from './command.ts'

const account = z.looseObject({
  id: z.string(),
  kind: z.string(),
  name: z.string(),
  test_credit: z.boolean(),
  balance: money,
  held: money,
  available: money,
})
const row = z.looseObject({
  requests: z.number(),
  input_tokens: z.number(),
  output_tokens: z.number(),
  cost: money,
})
type Row = z.infer<typeof row>
const usage = z.looseObject({
  from: z.string(),
  totals: row,
  by_model: z.array(row.extend({ model: z.string() })),
  by_node: z.array(row.extend({ node: z.string() })),
})

export function accountCommand(command: Command, shell: Shell): Command {
  return describeClient(
    command,
    'Show the balance, and what was used in the last 30 days',
    'baseload account',
    "baseload account --json | jq -r '.account.balance.usd'",
  ).action(async (flags: Flags) => {
    const client = clientOf(flags, shell)
    const [accountJson, usageJson] = await Promise.all([
      client.get('/v1/account'),
      client.get('/v1/usage?recent=0'),
    ])
    const both = { account: accountJson, usage: usageJson }
    await print(flags, shell.terminal, both, () => page(accountJson, usageJson))
  })
}

function page(accountJson: unknown, usageJson: unknown): string {
  const { id, kind, name, balance, held, available, test_credit } = understand(account, accountJson)
  const used = understand(usage, usageJson)
  const label = test_credit ? '  test credit' : ''
  const head = table([
    ['account', `${name} (${kind}, ${id})`],
    ['balance', `$${balance.usd}${label}`],
    ['held', `$${held.usd}  for requests and leases that run now`],
    ['available', `$${available.usd}`],
  ])
  if (used.totals.requests === 0)
    return `${head}\nNothing was used since ${used.from.slice(0, 10)}.\n`
  const rows = [
    [`since ${used.from.slice(0, 10)}`, 'requests', 'tokens in', 'tokens out', 'cost'],
    usageRow('all', used.totals),
    ...used.by_model.map((one) => usageRow(one.model, one)),
    ...used.by_node.map((one) => usageRow(one.node, one)),
  ]
  return `${head}\n${table(rows, [1, 2, 3, 4])}`
}

const usageRow = (of: string, used: Row): string[] => [
  of,
  String(used.requests),
  String(used.input_tokens),
  String(used.output_tokens),
  `$${used.cost.usd}`,
]
