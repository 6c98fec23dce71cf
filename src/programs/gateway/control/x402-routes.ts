/** x402 beside the model routes: money into an account by one transfer, this gateway as facilitator, and its card for agents. */
import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi'
import type { Context } from 'hono'
import { idFrom } from '../../../core/base/id.ts'
import { parseUsd } from '../../../core/base/money.ts'
import { isRefusal } from '../../../core/base/refusal.ts'
import { NANO_PER_UNIT } from '../../../core/ledger/channel.ts'
import { readPayment, readPaymentValue } from '../../../core/ledger/x402-payment.ts'
import { NO_LIMITS } from '../../../io/store/store.ts'
import { accountOfPayer } from '../money/channel-book.ts'
import { settlementOff } from '../money/channel-refusals.ts'
import { fault, isFault, type PaymentFault } from '../x402/payment-fault.ts'
import { encoded, exactOffer, networkOf, paymentRequired } from '../x402/terms.ts'
import { supported, topupUnits, type Topup, type Topups } from '../x402/topups.ts'
import { jsonOf, money, moneySchema, refused, REFUSED } from './answers.ts'
import type { ControlParts } from './control-parts.ts'
import { BEARER, requires, type ControlEnv } from './guard.ts'
import { mintSecret } from './key-secret.ts'

const topupSchema = z
  .object({
    object: z.literal('topup'),
    state: z.enum(['credited', 'pending']).openapi({
      description: '`pending`: mined and not final yet; it is credited without being asked again.',
    }),
    account: z.string(),
    amount: moneySchema,
    transaction: z.string(),
    api_key: z.string().optional().openapi({
      description: 'Of the account, for payers who sent no key. Told this once and kept nowhere.',
    }),
  })
  .openapi('Topup')

const anything = z.record(z.string(), z.unknown())
const facilitatorInput = z.object({
  x402Version: z.literal(2),
  paymentPayload: anything,
  paymentRequirements: z.object({ amount: z.string().regex(/^\d{1,39}$/) }).loose(),
})

export function x402Routes(app: OpenAPIHono<ControlEnv>, parts: ControlParts): void {
  topups(app, parts)
  facilitator(app, parts)
  agentCard(app, parts)
}

function topups(app: OpenAPIHono<ControlEnv>, parts: ControlParts): void {
  const route = createRoute({
    method: 'post',
    path: '/v1/topups',
    summary:
      "Pay into the caller's account, or without a key into the payer's own, by x402 (exact)",
    request: {
      body: { ...jsonOf('How much.', z.strictObject({ amount_usd: z.string() })), required: true },
    },
    responses: { 200: jsonOf('Paid.', topupSchema), default: REFUSED },
  })
  app.openapi(route, async (c) => {
    const desk = parts.topups ?? null
    if (desk === null) return refused(c, settlementOff())
    const key = c.req.header('authorization')
    const caller = key === undefined ? null : await parts.authenticate(key, 'account')
    if (isRefusal(caller)) return refused(c, caller)
    const nanoUsd = parseUsd(c.req.valid('json').amount_usd)
    const units = topupUnits(nanoUsd ?? 0n, desk.terms)
    if (isRefusal(units)) return refused(c, units)
    const header = c.req.header('payment-signature')
    if (header === undefined) return unpaid(c, desk, units, noPayment(desk, units))
    const payment = readPayment(header)
    if ('problem' in payment)
      return unpaid(c, desk, units, malformed('header PAYMENT-SIGNATURE', payment.problem))
    if (!('scheme' in payment) || payment.scheme !== 'exact')
      return unpaid(c, desk, units, notExact())
    const account = caller?.account ?? (await accountFor(parts, payment.from))
    const paid = await desk.take(payment, units, account)
    if (isFault(paid)) return unpaid(c, desk, units, paid)
    c.header('payment-response', responseOf(paid, desk))
    const secret = caller === null && paid.fresh ? await newKey(parts, account) : null
    return c.json({ ...topupJson(paid), ...(secret === null ? {} : { api_key: secret }) }, 200)
  })
}

/** Settles payments to this gateway's own operator only, for callers with a key, whose account is credited. */
function facilitator(app: OpenAPIHono<ControlEnv>, parts: ControlParts): void {
  const request = {
    body: { ...jsonOf("x402's own request.", facilitatorInput), required: true },
  }
  const responses = { 200: jsonOf("x402's own answer.", anything), default: REFUSED }
  const verify = createRoute({
    method: 'post',
    path: '/x402/verify',
    summary: 'x402 facilitator: whether a payment to this gateway is good',
    security: BEARER,
    middleware: requires(parts, 'account'),
    request,
    responses,
  })
  app.openapi(verify, async (c) => {
    const desk = parts.topups ?? null
    if (desk === null) return refused(c, settlementOff())
    const asked = askedIn(c.req.valid('json'))
    const wrong = isFault(asked) ? asked : await desk.verify(asked.payment, asked.units)
    const payer = isFault(asked) ? {} : { payer: asked.payment.from }
    if (wrong === null) return c.json({ isValid: true, ...payer }, 200)
    const invalidMessage = wrong.refusal.message
    return c.json({ isValid: false, invalidReason: wrong.word, invalidMessage, ...payer }, 200)
  })
  const settle = createRoute({
    method: 'post',
    path: '/x402/settle',
    summary: "x402 facilitator: settle a payment to this gateway, into the caller's account",
    security: BEARER,
    middleware: requires(parts, 'account'),
    request,
    responses,
  })
  app.openapi(settle, async (c) => {
    const desk = parts.topups ?? null
    if (desk === null) return refused(c, settlementOff())
    const asked = askedIn(c.req.valid('json'))
    const paid = isFault(asked) ? asked : await settleFor(desk, asked, c.var.caller.account)
    if (!isFault(paid)) return c.json(settled(paid, desk), 200)
    const { word: errorReason, refusal } = paid
    const network = networkOf(desk.terms)
    const errorMessage = refusal.message
    return c.json({ success: false, errorReason, errorMessage, transaction: '', network }, 200)
  })
  const kinds = createRoute({
    method: 'get',
    path: '/x402/supported',
    summary: 'x402 facilitator: what this gateway is paid by',
    responses,
  })
  app.openapi(kinds, (c) =>
    parts.topups ? c.json(supported(parts.topups.terms), 200) : refused(c, settlementOff()),
  )
}

function askedIn(input: { paymentPayload: unknown; paymentRequirements: { amount: string } }) {
  const payment = readPaymentValue(input.paymentPayload)
  if ('problem' in payment) return malformed('payment', payment.problem)
  if (!('scheme' in payment) || payment.scheme !== 'exact') return notExact()
  return { payment, units: BigInt(input.paymentRequirements.amount) }
}

async function settleFor(
  desk: Topups,
  asked: { payment: Parameters<Topups['take']>[0]; units: bigint },
  account: string,
): Promise<Topup | PaymentFault> {
  const units = topupUnits(asked.units * NANO_PER_UNIT, desk.terms)
  if (isRefusal(units)) return fault('deposit_too_small', units.message)
  return desk.take(asked.payment, units, account)
}

/** ERC-8004's registration file, as its draft has it: https://eips.ethereum.org/EIPS/eip-8004 */
function agentCard(app: OpenAPIHono<ControlEnv>, parts: ControlParts): void {
  const route = createRoute({
    method: 'get',
    path: '/.well-known/agent-registration.json',
    summary: 'This gateway as an agent of ERC-8004',
    responses: { 200: jsonOf('The registration file.', anything), default: REFUSED },
  })
  app.openapi(route, (c) => {
    const { origin } = new URL(c.req.url)
    return c.json(
      {
        type: 'https://eips.ethereum.org/EIPS/eip-8004#registration-v1',
        name: 'Baseload gateway',
        description:
          'OpenAI-compatible inference over machines of many independent providers, with a signed receipt for every answer.',
        image: '',
        services: [
          { name: 'web', endpoint: `${origin}/` },
          { name: 'OpenAPI', endpoint: `${origin}/openapi.json`, version: '3.1.0' },
          { name: 'OpenAI', endpoint: `${origin}/v1`, version: 'v1' },
        ],
        x402Support: parts.topups != null,
        active: true,
        registrations: [],
        supportedTrust: ['reputation', 'crypto-economic'],
      },
      200,
    )
  })
}

function unpaid(c: Context, { terms }: Topups, units: bigint, { refusal, word }: PaymentFault) {
  const resource = {
    url: c.req.url,
    description: 'Pays into an account.',
    mimeType: 'application/json',
  }
  c.header('payment-required', paymentRequired(resource, [exactOffer(terms, units)], word))
  c.header('cache-control', 'no-store')
  return refused(c, refusal)
}

async function accountFor({ store }: ControlParts, payer: `0x${string}`): Promise<string> {
  const id = accountOfPayer(payer)
  await store.createAccount({ id, kind: 'tenant', name: payer, limits: NO_LIMITS })
  return id
}

async function newKey(parts: ControlParts, account: string): Promise<string> {
  const { secret, hash, hint } = mintSecret(parts.randomBytes)
  const key = await parts.store.createKey({
    id: idFrom('key', parts.randomBytes(15)),
    account,
    name: 'topup',
    hint,
    hash,
    scopes: ['inference', 'account', 'keys', 'deployments'],
    limits: NO_LIMITS,
    budgetNanoUsd: null,
    expiresAt: null,
  })
  parts.keyring.changed(key)
  return secret
}

const settled = ({ transaction, payer, units }: Topup, { terms }: Topups) => ({
  success: true,
  transaction,
  network: networkOf(terms),
  payer,
  amount: String(units),
})

const responseOf = (topup: Topup, desk: Topups): string => encoded(settled(topup, desk))

const topupJson = ({ state, account, units, transaction }: Topup) => ({
  object: 'topup' as const,
  state,
  account,
  amount: money(units * NANO_PER_UNIT),
  transaction,
})

const noPayment = ({ terms }: Topups, units: bigint): PaymentFault =>
  fault(
    'payment_required',
    `Pay ${units} units of ${terms.token.symbol} with an x402 client of the scheme 'exact': the header PAYMENT-REQUIRED says how.`,
  )

const malformed = (what: string, problem: string): PaymentFault =>
  fault('payment_malformed', `The ${what} ${problem}.`)

const notExact = (): PaymentFault =>
  fault('payment_not_offered', "This is paid by the scheme 'exact'; channels pay requests.")
