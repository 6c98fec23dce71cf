/**
 * The node's word on where its earnings go, signed once for each change: gateways keep the statement with the highest
 * sequence, and this file remembers it over restarts. Addresses of before are remembered, too: an epoch that was open at
 * the change is still paid to the old one.
 */
import { readFileSync } from 'node:fs'
import { z } from 'zod'
import { canonicalJson } from '../../core/base/canonical-json.ts'
import { isHex, lowerHex, type Address } from '../../core/base/hex.ts'
import { Fault } from '../../core/base/refusal.ts'
import type { Millis } from '../../core/base/time.ts'
import {
  evmAddressSchema,
  PAYOUT_DOMAIN,
  payoutStatementSchema,
  signedPayoutSchema,
  type SignedPayout,
} from '../../core/protocol/payout.ts'
import { checksumAddress } from '../../io/keys/checksum-address.ts'
import type { Identity } from '../../io/keys/identity.ts'
import { writeDurably } from './durable-file.ts'

export type OwnPayout = {
  readonly signed: SignedPayout
  /** The address of now first, then those of before. */
  readonly addresses: readonly Address[]
}

/** Who changes it more often is not paid by an epoch any more. */
const MAX_ADDRESSES = 8
const ZERO = /^0x0{40}$/

const kept = z.strictObject({ signed: signedPayoutSchema, addresses: z.array(evmAddressSchema) })

/**
 * Null where no address is configured. Throws Fault `invalid_settings` when it cannot be one, `payout_unreadable` when the
 * file at `path` is something else.
 */
export function ownPayout(
  configured: string | null,
  { identity, path, now }: { identity: Identity; path: string; now: Millis },
): OwnPayout | null {
  if (configured === null) return null
  const address = checkedAddress(configured)
  const before = read(path)
  const addresses = before?.addresses ?? []
  if (before !== null && addresses[0] === address) return { signed: before.signed, addresses }
  const sequence = Math.max(now, before === null ? 0 : sequenceOf(before.signed) + 1)
  const statement = canonicalJson({ v: 1, node: identity.id, address, sequence })
  const signed = { statement, signature: identity.sign(PAYOUT_DOMAIN, statement) }
  const all = [address, ...addresses.filter((one) => one !== address)].slice(0, MAX_ADDRESSES)
  writeDurably(path, `${JSON.stringify({ signed, addresses: all })}\n`)
  return { signed, addresses: all }
}

/** Lower case. Throws Fault `invalid_settings`: capitals are a checksum (EIP-55), and a wrong address is money lost. */
export function checkedAddress(text: string): Address {
  if (ZERO.test(text)) throw wrong('nobody has the address of zeros')
  if (!isHex(text, 20)) throw wrong(`${text} is no address`)
  const right = checksumAddress(text)
  if (text === right) return lowerHex(text)
  throw wrong(
    `the capitals of ${text} are not its checksum; copy it from your wallet again (if you are sure of it: ${right})`,
  )
}

const wrong = (why: string): Fault =>
  new Fault('invalid_settings', `The node's settings are wrong: payoutAddress: ${why}.`)

function read(path: string): z.infer<typeof kept> | null {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null
    throw unreadable(path, error)
  }
  try {
    return kept.parse(JSON.parse(text))
  } catch (error) {
    throw unreadable(path, error)
  }
}

const sequenceOf = ({ statement }: SignedPayout): number =>
  payoutStatementSchema.parse(JSON.parse(statement)).sequence

const unreadable = (path: string, cause: unknown): Fault =>
  new Fault(
    'payout_unreadable',
    `${path} cannot be read; move it away, and the node signs its payout address anew`,
    { cause },
  )
