/** What a wallet's book holds, in memory and as JSON: whom it pays, its channels, and transactions on their way. */
import { z } from 'zod'
import { isHex, lowerHex, type Address, type Hex } from '../../../core/base/hex.ts'

const units = z
  .string()
  .regex(/^\d{1,39}$/)
  .transform(BigInt)
const hexOf = (bytes: number) =>
  z
    .custom<Hex>((text) => isHex(text, bytes), `must be 0x and ${bytes} bytes of hex`)
    .transform(lowerHex)
export const address = hexOf(20)
const data = z
  .string()
  .regex(/^0x([0-9a-f]{2})*$/i)
  .transform((text): Hex => `0x${text.slice(2)}`)
const seconds = z.number().int().min(0)

/** As the contract has it; `withdrawDelay` in seconds. */
const channelConfig = z.object({
  payer: address,
  payerAuthorizer: address,
  receiver: address,
  receiverAuthorizer: address,
  token: address,
  withdrawDelay: seconds,
  salt: hexOf(32),
})

const payee = z.object({
  chainId: z.number().int().min(1),
  /** The contract Channels. */
  channels: address,
  receiver: address,
  token: z.object({ address, decimals: z.number().int().min(0).max(36), symbol: z.string() }),
  testMoney: z.boolean(),
  /** The gateways that were agreed to speak for this receiver. */
  origins: z.array(z.string()),
  rpcUrl: z.string().nullable(),
  /** How many blocks on top make a deposit final. */
  finalityDepth: z.number().int().min(0),
  /** All that may ever be signed for this payee; null: what is deposited is the limit. */
  budgetUnits: units.nullable(),
  stepUnits: units,
  atOnceUnits: units,
})
export type Payee = z.output<typeof payee>

const channel = z.object({
  id: hexOf(32),
  chainId: z.number().int().min(1),
  channels: address,
  config: channelConfig,
  /** `opening`: its deposit is not final; `exiting`: the exit without the gateway runs; `closed`: nothing is left in it. */
  state: z.enum(['opening', 'open', 'exiting', 'closed']),
  /** What the contract held when the wallet last looked, final. */
  depositUnits: units,
  /** The highest ceiling that was ever signed. It is written here before the voucher leaves. */
  signedUnits: units,
  openedAt: z.string(),
})
export type BookChannel = z.output<typeof channel>

const transaction = z.object({
  /** What it is for: one of each is on its way at most. `deposit:<channel>`, `exit:<channel>`. */
  purpose: z.string(),
  chainId: z.number().int().min(1),
  nonce: z.number().int().min(0),
  amountUnits: units,
  to: address,
  data,
  /** Signed and sent under this nonce, the newest last: at most one of them is ever mined. */
  sent: z.array(z.object({ hash: hexOf(32), raw: data })).min(1),
})
export type BookTransaction = z.output<typeof transaction>

const book = z.object({
  version: z.literal(1),
  address,
  payees: z.array(payee),
  channels: z.array(channel),
  transactions: z.array(transaction),
})
export type Book = z.output<typeof book>

export const emptyBook = (of: Address): Book => ({
  version: 1,
  address: address.parse(of),
  payees: [],
  channels: [],
  transactions: [],
})

/** Throws a ZodError or a SyntaxError. */
export const parseBook = (text: string): Book => book.parse(JSON.parse(text))

export const bookText = (value: Book): string =>
  `${JSON.stringify(value, (_, one: unknown) => (typeof one === 'bigint' ? String(one) : one), 2)}\n`

export const samePayee = (
  a: { readonly chainId: number; readonly channels: Address; readonly receiver: Address },
  b: { readonly chainId: number; readonly channels: Address; readonly receiver: Address },
): boolean => a.chainId === b.chainId && a.channels === b.channels && a.receiver === b.receiver

/** The channels that a payee can claim from, the oldest first. */
export const channelsOf = (of: Book, one: Payee): BookChannel[] =>
  of.channels.filter(({ chainId, channels, config }) =>
    samePayee({ chainId, channels, receiver: config.receiver }, one),
  )

/** The payee for which a gateway speaks. */
export const payeeAt = (of: Book, origin: string): Payee | null =>
  of.payees.find(({ origins }) => origins.includes(origin)) ?? null
