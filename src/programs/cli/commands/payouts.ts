/** `baseload payouts`: for operators how payouts stand; for providers each step of their money, and claims without the gateway. */
import type { Command } from 'commander'
import { z } from 'zod'
import { formatUsd } from '../../../core/base/money.ts'
import { NANO_USD_PER_UNIT } from '../../../io/store/payout-records.ts'
import type { GatewayClient } from '../shell/gateway-client.ts'
import { EXIT, Failure } from '../shell/failure.ts'
import { table } from '../shell/terminal.ts'
import { understand } from './answers.ts'
import { clientOf, describe, describeClient, print, type Flags, type Shell } from './command.ts'

export function payoutsCommand(command: Command, shell: Shell): Command {
  describeClient(
    command,
    'Show payout epochs of a gateway; with an operator’s key its wallet, bond and fees, too',
    'baseload payouts --url https://gateway.example',
    'baseload payouts status --home ~/.baseload --rpc https://chain.example',
  ).action(async (flags: Flags) => {
    const client = clientOf(flags, shell)
    const found = await operationOf(client)
    await print(flags, shell.terminal, found, () => operationPage(found))
  })
  providerCommand(
    command.command('status'),
    'Your money with each gateway: earned, signed, in a root, claimable, claimed, and why not more',
    'status',
  ).action(async (_: Flags, own: Command) => {
    const flags: Flags = own.optsWithGlobals()
    const [{ readDebts }, { debtJson, debtPage }] = await loaded()
    const debts = await readDebts(flags, shell)
    await print(flags, shell.terminal, { debts: debts.map(debtJson) }, () =>
      debts.map(debtPage).join('\n'),
    )
  })
  providerCommand(
    command.command('verify'),
    'Check IOUs, leaves and proofs against the contract, without trusting the gateway',
    'verify',
  ).action(async (_: Flags, own: Command) => {
    const { verifyPayouts } = await import('./payout-acts.ts')
    await verifyPayouts(own.optsWithGlobals(), shell)
  })
  sendingCommand(
    command.command('claim'),
    'Claim by your leaf; by IOU where there is none, or the gateway is gone',
    'claim --gas-key gas.key',
  )
    .option('--by <way>', '`leaf`, `iou` (what no root has yet, too), or what works', 'either')
    .action(async (_: Flags, own: Command) => {
      const { claimPayouts } = await import('./payout-acts.ts')
      await claimPayouts(own.optsWithGlobals(), shell)
    })
  sendingCommand(
    command.command('challenge'),
    'Challenge a pending root that owes less than an IOU; later void it and take the penalty',
    'challenge --gas-key gas.key',
  )
    .option('--blind', 'challenge although the gateway does not show the root’s tree')
    .action(async (_: Flags, own: Command) => {
      const { challengeRoots } = await import('./payout-acts.ts')
      await challengeRoots(own.optsWithGlobals(), shell)
    })
  return command
}

const loaded = () => Promise.all([import('./payout-facts.ts'), import('./payout-report.ts')])

function providerCommand(command: Command, summary: string, example: string): Command {
  return describe(command, summary, `baseload payouts ${example} --rpc https://chain.example`)
    .option('--rpc <url>', 'a node of the chain [BASELOAD_CHAIN_RPC]')
    .option('--url <url>', 'the gateway [where the node dialled it]')
    .option('--debtor <address>', "only what this gateway's key owes")
}

const sendingCommand = (command: Command, summary: string, example: string): Command =>
  providerCommand(command, summary, example).option(
    '--gas-key <file>',
    'private key that pays the gas: 64 digits of hex, mode 0600',
  )

const sum = z.looseObject({ usd: z.string() }).nullable()
const epoch = z.looseObject({
  number: z.number(),
  fee_bps: z.number(),
  closed_at: z.string().nullable(),
  root: z.string().nullable(),
  total_units: z.string().nullable(),
  paid_units: z.string().nullable(),
})
const operation = z.looseObject({
  chain_id: z.number(),
  test_money: z.boolean(),
  contract: z.string(),
  gateway: z.string(),
  waiting: z.string().nullable(),
  epochs: z.array(epoch),
  wallet: sum.optional(),
  bond: sum.optional(),
  funds: sum.optional(),
  claimed: sum.optional(),
  fees: sum.optional(),
  due: sum.optional(),
  open_challenges: z.number().optional(),
})
type Operation = z.infer<typeof operation>

/** All of it for an operator; what everybody may see for everybody else. */
async function operationOf(client: GatewayClient): Promise<Operation> {
  try {
    return understand(operation, await client.get('/v1/payouts/operation'))
  } catch (error) {
    const mayNot =
      error instanceof Failure &&
      error.exitCode === EXIT.refused &&
      /_api_key$|^scope_missing$/.test(error.code)
    if (!mayNot) throw error
    return understand(operation, await client.get('/v1/payouts'))
  }
}

function operationPage(found: Operation): string {
  const rows = [
    ['gateway', `${found.gateway}${found.test_money ? ' (test money)' : ''}`],
    ['contract', `${found.contract} on chain ${found.chain_id}`],
    ...(['wallet', 'bond', 'funds', 'claimed', 'due', 'fees'] as const).flatMap((name) => {
      const amount = found[name]
      return amount ? [[name, `$${amount.usd}`]] : []
    }),
    ...(found.open_challenges ? [['challenges', `${found.open_challenges} open`]] : []),
    ['next', found.waiting ?? 'not looked yet'],
  ]
  const head = ['epoch', 'closed', 'fee', 'paid', 'total', 'root']
  const epochs = found.epochs.map((one) => [
    String(one.number),
    one.closed_at ?? 'open',
    `${one.fee_bps / 100} %`,
    unitsText(one.paid_units),
    unitsText(one.total_units),
    one.root ?? '–',
  ])
  return `${table(rows)}\n${table([head, ...epochs], [0, 2, 3, 4])}`
}

const unitsText = (units: string | null): string =>
  units === null ? '–' : `$${formatUsd(BigInt(units) * NANO_USD_PER_UNIT)}`
