/** x402 at this gateway, put together: who has no key may pay with the request. Only where the gateway settles on a chain. */
import { lowerHex } from '../../../core/base/hex.ts'
import { parseUsd } from '../../../core/base/money.ts'
import { Fault } from '../../../core/base/refusal.ts'
import type { Millis } from '../../../core/base/time.ts'
import { NANO_PER_UNIT } from '../../../core/ledger/channel.ts'
import type { ReplicaTable } from '../../../core/routing/replica-table.ts'
import { channelsTypedData } from '../../../io/chain/typed-data.ts'
import type { Store } from '../../../io/store/store.ts'
import type { Logger } from '../../../io/telemetry/logger.ts'
import type { GatewayConfig } from '../config.ts'
import type { Keyring } from '../keyring.ts'
import type { Meter } from '../meter.ts'
import type { SettlementChain } from '../money/settlement.ts'
import { createDepositDesk } from './deposit-desk.ts'
import { createX402Door, type X402Door } from './door.ts'
import type { ActionParts } from './on-chain.ts'
import { createPayerAccounts } from './payer-accounts.ts'
import { createPayments, type X402Channels } from './payments.ts'
import { Strangers } from './strangers.ts'
import type { X402Terms } from './terms.ts'
import { createTopups, type Topups } from './topups.ts'
import { Trust } from './trust.ts'

export type X402Config = Pick<
  GatewayConfig,
  'minWithdrawDelaySeconds' | 'x402MinDepositUsd' | 'x402DepositFinality' | 'x402MaxUnfinalUsd'
>

export type X402Parts = {
  readonly config: X402Config
  readonly chain: SettlementChain
  readonly book: X402Channels
  readonly store: Pick<
    Store,
    'createAccount' | 'createKey' | 'keys' | 'transfer' | 'chainActions'
  > &
    ActionParts['store']
  readonly keyring: Pick<Keyring, 'changed'>
  readonly table: ReplicaTable
  readonly meter: Pick<Meter, 'settleLate'>
  readonly logger: Logger
  readonly now: () => Millis
}

export type X402 = { readonly door: X402Door; readonly topups: Topups; close(): void }

/** Clients give up an HTTP request after five minutes; a chain that is slower is not waited for. */
const MAX_TIMEOUT_S = 120

/** Null, with a line in the log, for a chain whose deposits nobody can sign. */
export function openX402(parts: X402Parts): X402 | null {
  const { config, chain, book: channels, store, keyring, table, meter, logger, now } = parts
  const terms = termsOf(chain, config)
  if (terms === null) {
    logger.warn(
      'x402 is off: the chain names no EIP-3009 collector, or no EIP-712 domain of its token',
    )
    return null
  }
  const actions: ActionParts = { store, wake: () => chain.wake(), now }
  const deposits = createDepositDesk({ terms, client: chain.client, actions })
  const limitUnits =
    config.x402DepositFinality === 'mined' ? unitsOf(config, 'x402MaxUnfinalUsd') : 0n
  const trust = new Trust({
    channels,
    logger,
    limitUnits,
    nextBlock: () => deposits.nextBlock(),
    now,
  })
  const verifyingContract = terms.addresses.channels
  const payments = createPayments({
    terms,
    channels,
    typedData: channelsTypedData({ chainId: terms.chainId, verifyingContract }),
    accounts: createPayerAccounts({ store, keyring }),
    deposits,
    trust,
    meter,
    logger,
    now,
  })
  const door = createX402Door({ terms, table, payments, strangers: new Strangers(now) })
  const topups = createTopups({ terms, client: chain.client, actions, store, logger })
  return {
    door,
    topups,
    close() {
      trust.close()
      topups.close()
    },
  }
}

function termsOf(chain: SettlementChain, config: X402Config): X402Terms | null {
  const { chainId, addresses, token, operator, testMoney } = chain
  const { collector, channels } = addresses
  const { name, version, symbol, address } = token
  if (collector === undefined || name === undefined || version === undefined) return null
  return {
    chainId,
    addresses: { channels: lowerHex(channels), collector: lowerHex(collector) },
    token: { address: lowerHex(address), name, version, symbol },
    operator: lowerHex(operator),
    withdrawDelayS: config.minWithdrawDelaySeconds,
    minDepositUnits: unitsOf(config, 'x402MinDepositUsd'),
    maxTimeoutS: MAX_TIMEOUT_S,
    testMoney,
  }
}

function unitsOf(config: X402Config, name: 'x402MinDepositUsd' | 'x402MaxUnfinalUsd'): bigint {
  const nanoUsd = parseUsd(config[name])
  if (nanoUsd !== null && nanoUsd >= 0n) return nanoUsd / NANO_PER_UNIT
  throw new Fault('config_invalid', `${name} must be dollars, e.g. "1.00"; it is "${config[name]}"`)
}
