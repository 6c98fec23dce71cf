/**
 * Payouts, open to everyone: a provider checks its leaf without asking for leave, and anybody can make the whole tree again.
 * What stands in the operator's wallet is the operator's to see.
 */
import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi'
import { isHex, parseAddress } from '../../../core/base/hex.ts'
import { refuse, type Refusal } from '../../../core/base/refusal.ts'
import { NANO_USD_PER_UNIT, type PayoutEpoch } from '../../../io/store/payout-records.ts'
import type { PayoutService } from '../money/payouts.ts'
import { jsonOf, money, moneySchema, refused, REFUSED, time, timeSchema } from './answers.ts'
import type { ControlParts } from './control-parts.ts'
import { BEARER, requires, type ControlEnv } from './guard.ts'

const units = z
  .string()
  .openapi({ description: 'Units of the token: millionths.', example: '1250000' })
const address = z.string().openapi({ example: '0x00000000000000000000000000000000000000a1' })
const hash = z.string().openapi({ description: '32 bytes, 0x and hex.' })

const epochSchema = z
  .object({
    object: z.literal('payout_epoch'),
    number: z.int(),
    fee_bps: z.int(),
    opened_at: timeSchema,
    closed_at: timeSchema.nullable(),
    root: hash.nullable(),
    total_units: units.nullable().openapi({ description: 'Owed by all epochs up to this one.' }),
    paid_units: units.nullable().openapi({ description: 'Added by this one.' }),
  })
  .openapi('PayoutEpoch')

const payoutsSchema = z.object({
  object: z.literal('payouts'),
  chain_id: z.int(),
  test_money: z.boolean(),
  contract: address,
  token: address,
  gateway: address.openapi({ description: "The operator's key: who owes." }),
  epoch_seconds: z.number(),
  fee_bps: z.int().openapi({ description: 'Of epochs that open from now on.' }),
  claims_pushed: z.boolean(),
  waiting: z.string().nullable().openapi({ description: 'Why the next root is not posted yet.' }),
  epochs: z.array(epochSchema).openapi({ description: 'The newest ten, newest first.' }),
})

const leafSchema = z.object({
  object: z.literal('payout_leaf'),
  address,
  cumulative_units: units,
  epoch: z.int(),
  root: hash,
  proof: z.array(hash),
})

const owedSchema = z.object({
  object: z.literal('payout_account'),
  address,
  owed_units: units.openapi({ description: 'Since the beginning, with what no root has yet.' }),
  epoch: z.int().openapi({ description: 'The open one.' }),
  fee_bps: z.int(),
  waiting: z.string().nullable(),
})

const operatorSchema = payoutsSchema.extend({
  object: z.literal('payout_operation'),
  wallet: moneySchema.nullable(),
  bond: moneySchema.nullable(),
  funds: moneySchema.nullable().openapi({ description: 'In the contract, not drawn yet.' }),
  claimed: moneySchema.nullable(),
  open_challenges: z.int(),
  unanswerable: z.array(z.object({ address, owed_units: units })),
  fees: moneySchema.openapi({ description: 'Kept of payouts since the beginning.' }),
  due: moneySchema.openapi({ description: 'What the open epoch would pay out now.' }),
})

const MAX_LEAVES = 10_000

export function payoutRoutes(app: OpenAPIHono<ControlEnv>, parts: ControlParts): void {
  summary(app, parts)
  leaves(app, parts)
  leaf(app, parts)
  account(app, parts)
  operation(app, parts)
}

function summary(app: OpenAPIHono<ControlEnv>, parts: ControlParts): void {
  const route = createRoute({
    method: 'get',
    path: '/v1/payouts',
    summary: 'How providers are paid on chain, and the newest payout epochs',
    responses: { 200: jsonOf('The contract and the epochs.', payoutsSchema), default: REFUSED },
  })
  app.openapi(route, async (c) => {
    const { payouts } = parts
    if (!payouts) return refused(c, off())
    return c.json({ object: 'payouts' as const, ...(await describe(payouts)) }, 200)
  })
}

function leaves(app: OpenAPIHono<ControlEnv>, parts: ControlParts): void {
  const route = createRoute({
    method: 'get',
    path: '/v1/payouts/epochs/{number}/leaves',
    summary: 'All leaves of a payout root, by address',
    request: {
      params: z.object({ number: z.coerce.number().int().min(1).max(0xffff_ffff) }),
      query: z.object({ after: z.string().max(42).optional() }),
    },
    responses: {
      200: jsonOf(
        `At most ${MAX_LEAVES} leaves.`,
        z.object({
          object: z.literal('list'),
          epoch: epochSchema,
          data: z.array(z.object({ address, cumulative_units: units })),
          has_more: z.boolean(),
        }),
      ),
      default: REFUSED,
    },
  })
  app.openapi(route, async (c) => {
    const { payouts } = parts
    if (!payouts) return refused(c, off())
    const { number } = c.req.valid('param')
    const epoch = await payouts.epoch(number)
    if (!epoch?.closed)
      return refused(c, refuse('not_found', `No payout epoch ${number} was closed here.`))
    const after = c.req.valid('query').after?.toLowerCase() ?? ''
    const rest = (await payouts.leaves(number)).filter((one) => one.address > after)
    const data = rest.slice(0, MAX_LEAVES).map((one) => ({
      address: one.address,
      cumulative_units: String(one.cumulativeUnits),
    }))
    const has_more = rest.length > data.length
    return c.json({ object: 'list' as const, epoch: epochJson(epoch), data, has_more }, 200)
  })
}

function leaf(app: OpenAPIHono<ControlEnv>, parts: ControlParts): void {
  const route = createRoute({
    method: 'get',
    path: '/v1/payouts/leaves/{address}',
    summary: "A provider's leaf and its proof, in the newest root or in the one asked for",
    request: {
      params: z.object({ address: z.string().max(42) }),
      query: z.object({ root: z.string().max(66).optional() }),
    },
    responses: { 200: jsonOf('The leaf.', leafSchema), default: REFUSED },
  })
  app.openapi(route, async (c) => {
    const { payouts } = parts
    if (!payouts) return refused(c, off())
    const { root } = c.req.valid('query')
    const provider = parseAddress(c.req.valid('param').address)
    if (provider === null) return refused(c, noAddress(c.req.valid('param').address))
    if (root !== undefined && !isHex(root, 32))
      return refused(
        c,
        refuse('invalid_value', "'root' must be 0x and 32 bytes of hex.", { param: 'root' }),
      )
    const found = await payouts.leaf(provider, root)
    if (!found) {
      const where = root === undefined ? 'the newest payout root' : `the payout root ${root}`
      return refused(c, refuse('not_found', `${provider} has no leaf in ${where}.`))
    }
    return c.json(
      {
        object: 'payout_leaf' as const,
        address: provider,
        cumulative_units: String(found.cumulativeUnits),
        epoch: found.epoch,
        root: found.root,
        proof: [...found.proof],
      },
      200,
    )
  })
}

function account(app: OpenAPIHono<ControlEnv>, parts: ControlParts): void {
  const route = createRoute({
    method: 'get',
    path: '/v1/payouts/accounts/{address}',
    summary: 'What an address is owed now, with what no root has yet',
    request: { params: z.object({ address: z.string().max(42) }) },
    responses: { 200: jsonOf('What is owed.', owedSchema), default: REFUSED },
  })
  app.openapi(route, async (c) => {
    const { payouts } = parts
    if (!payouts) return refused(c, off())
    const provider = parseAddress(c.req.valid('param').address)
    if (provider === null) return refused(c, noAddress(c.req.valid('param').address))
    const owed = await payouts.owedTo(provider)
    if (!owed)
      return refused(c, refuse('not_found', `No node here has named ${provider} for its earnings.`))
    return c.json(
      {
        object: 'payout_account' as const,
        address: provider,
        owed_units: String(owed.cumulativeUnits),
        epoch: owed.epoch,
        fee_bps: owed.feeBps,
        waiting: payouts.status.waiting,
      },
      200,
    )
  })
}

function operation(app: OpenAPIHono<ControlEnv>, parts: ControlParts): void {
  const route = createRoute({
    method: 'get',
    path: '/v1/payouts/operation',
    summary: 'Wallet, bond, funds and fees of payouts (operator)',
    security: BEARER,
    middleware: requires(parts, 'operator'),
    responses: { 200: jsonOf('How payouts stand.', operatorSchema), default: REFUSED },
  })
  app.openapi(route, async (c) => {
    const { payouts } = parts
    if (!payouts) return refused(c, off())
    const { state, wallet, unanswerable } = payouts.status
    const [fees, due] = await Promise.all([payouts.fees(), payouts.due()])
    return c.json(
      {
        ...(await describe(payouts)),
        object: 'payout_operation' as const,
        wallet: wallet && moneyOf(wallet.balanceUnits),
        bond: state && moneyOf(state.bondUnits),
        funds: state && moneyOf(state.depositedUnits - state.paidUnits),
        claimed: state && moneyOf(state.paidUnits),
        open_challenges: state?.openChallenges ?? 0,
        unanswerable: unanswerable.map((one) => ({
          address: one.provider,
          owed_units: String(one.owedUnits),
        })),
        fees: money(fees),
        due: moneyOf(due),
      },
      200,
    )
  })
}

async function describe(payouts: PayoutService) {
  const { settings } = payouts
  return {
    chain_id: payouts.chainId,
    test_money: payouts.testMoney,
    contract: payouts.contract,
    token: payouts.token,
    gateway: payouts.operator,
    epoch_seconds: settings.epochMs / 1000,
    fee_bps: settings.feeBps,
    claims_pushed: settings.pushClaimsFromUnits !== null,
    waiting: payouts.status.waiting,
    epochs: (await payouts.epochs({ limit: 10 })).map(epochJson),
  }
}

const epochJson = ({ number, feeBps, openedAt, closed }: PayoutEpoch) => ({
  object: 'payout_epoch' as const,
  number,
  fee_bps: feeBps,
  opened_at: time(openedAt),
  closed_at: closed && time(closed.at),
  root: closed && closed.root,
  total_units: closed && String(closed.totalUnits),
  paid_units: closed && String(closed.paidUnits),
})

const moneyOf = (amount: bigint) => money(amount * NANO_USD_PER_UNIT)

const off = (): Refusal =>
  refuse(
    'settlement_off',
    'This gateway pays nothing on chain: what nodes earn stays in its ledger.',
  )

const noAddress = (text: string): Refusal =>
  refuse('invalid_value', `'${text}' is no address: 0x and 40 hexadecimal digits.`, {
    param: 'address',
  })
