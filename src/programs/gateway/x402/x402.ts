/** x402 at this gateway, put together: who has no key may pay with the request. Only where the gateway settles on a chain. */
import type { PublicClient } from 'viem'
import { lowerHex, type Address } from '../../../core/base/hex.ts'
import { parseUsd } from '../../../core/base/money.ts'
import { Fault } from '../../../core/base/refusal.ts'
import type { Millis } from '../../../core/base/time.ts'
import { NANO_PER_UNIT } from '../../../core/ledger/channel.ts'
import type { ReplicaTable } from '../../../core/routing/replica-table.ts'
import type { ContractAddresses } from '../../../io/chain/addresses.ts'
import { channelsTypedData } from '../../../io/chain/typed-data.ts'
import type { Store } from '../../../io/store/store.ts'
import type { Logger } from '../../../io/telemetry/logger.ts'
import type { GatewayConfig } from '../config.ts'
import type { Keyring } from '../keyring.ts'
import type { Meter } from '../meter.ts'
import { createDepositDesk } from './deposit-desk.ts'
import { createX402Door, type X402Door } from './door.ts'
import type { ActionParts } from './on-chain.ts'
import { createPayerAccounts } from './payer-accounts.ts'
import { createPayments, type X402Channels } from './payments.ts'
import { Strangers } from './strangers.ts'
import type { X402Terms } from './terms.ts'
import { Trust } from './trust.ts'

/** What x402 needs of the chain: `Chain` fits. */
export type X402Chain = {
  readonly chainId: number
  readonly addresses: ContractAddresses
  readonly token: {
    readonly address: Address
    readonly name: string
    readonly version: string
    readonly symbol: string
  }
  readonly operator: Address
  readonly testMoney: boolean
  readonly client: PublicClient
  /** Actions were written. */
  wake(): void
}

export type X402Config = Pick<
  GatewayConfig,
  'x402WithdrawDelayS' | 'x402MinDepositUsd' | 'x402DepositFinality' | 'x402MaxUnfinalUsd'
>

export type X402Parts = {
  readonly config: X402Config
  readonly chain: X402Chain
  readonly channels: X402Channels
  readonly store: Pick<Store, 'createAccount' | 'createKey' | 'keys'> & ActionParts['store']
  readonly keyring: Pick<Keyring, 'changed'>
  readonly table: ReplicaTable
  readonly meter: Pick<Meter, 'settleLate'>
  readonly logger: Logger
  readonly now: () => Millis
}

export type X402 = { readonly door: X402Door; readonly terms: X402Terms; close(): void }

/** Clients give up an HTTP request after five minutes; a chain that is slower is not waited for. */
const MAX_TIMEOUT_S = 120

export function openX402(parts: X402Parts): X402 {
  const { config, chain, channels, store, keyring, table, meter, logger, now } = parts
  const terms = termsOf(chain, config)
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
  return { door, terms, close: () => trust.close() }
}

export function termsOf(chain: X402Chain, config: X402Config): X402Terms {
  const { chainId, addresses, token, operator, testMoney } = chain
  const lower = (address: Address): Address => lowerHex(address)
  const { name, version, symbol } = token
  return {
    chainId,
    addresses: {
      token: lower(addresses.token),
      channels: lower(addresses.channels),
      collector: lower(addresses.collector),
      leases: lower(addresses.leases),
      payouts: lower(addresses.payouts),
      stakes: lower(addresses.stakes),
    },
    token: { address: lower(token.address), name, version, symbol },
    operator: lower(operator),
    withdrawDelayS: config.x402WithdrawDelayS,
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
