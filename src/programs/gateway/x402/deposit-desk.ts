/**
 * Deposits that come with a request: the payer signed an EIP-3009 authorization, and this gateway brings it to the chain and
 * pays the gas. So it is checked first, by simulation as well, and there are limits to how many strangers may have at a time.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import {
  BaseError,
  ContractFunctionRevertedError,
  encodeAbiParameters,
  encodeFunctionData,
  getAddress,
  keccak256,
  recoverTypedDataAddress,
  type PublicClient,
} from 'viem'
import { lowerHex, type Hex } from '../../../core/base/hex.ts'
import { reasonOf } from '../../../core/base/refusal.ts'
import type { Millis } from '../../../core/base/time.ts'
import type { ChannelPayment, DepositAuthorization } from '../../../core/ledger/x402-payment.ts'
import { channelsAbi } from '../../../io/chain/abi/channels.ts'
import { mockUsdcAbi } from '../../../io/chain/abi/mock-usdc.ts'
import { carryOut, worked, type ActionParts } from './on-chain.ts'
import { fault, type PaymentFault } from './payment-fault.ts'
import { AUTHORIZATION_FIELDS } from './authorization-fields.ts'
import type { X402Terms } from './terms.ts'

export type DepositMade = { readonly transaction: string; readonly units: bigint }

export type DepositDesk = {
  /** Checks the deposit of a payment, brings it to the chain, and resolves once it is mined. The same again is made once. */
  make(payment: ChannelPayment, channelId: Hex): Promise<DepositMade | PaymentFault>
  /** What the channel has on chain at the newest block, final or not, units. */
  balance(channelId: Hex): Promise<bigint>
  /** Resolves after a moment in which a block may have become final. */
  nextBlock(): Promise<void>
  /** How long a request waits for finality, at most. */
  readonly patienceMs: Millis
}

export type DepositParts = {
  readonly terms: X402Terms
  readonly client: Pick<PublicClient, 'readContract' | 'simulateContract'>
  readonly actions: ActionParts
}

/** Deposits on their way at a time: each costs this gateway gas, and a stranger may send them. */
export const MAX_DEPOSITS_IN_FLIGHT = 16
/** The transaction needs that long at least: an authorization that ends sooner would fail on chain. */
const LEAST_VALIDITY_S = 6n
const LOOK_EVERY_MS = 100

const RECEIVE_WITH_AUTHORIZATION = { ReceiveWithAuthorization: AUTHORIZATION_FIELDS }

export function createDepositDesk({ terms, client, actions }: DepositParts): DepositDesk {
  let inFlight = 0

  async function make(
    payment: ChannelPayment,
    channelId: Hex,
  ): Promise<DepositMade | PaymentFault> {
    const { deposit } = payment
    if (deposit === null) throw new Error('a payment without a deposit')
    const nonce = keccak256(
      encodeAbiParameters(
        [{ type: 'bytes32' }, { type: 'uint256' }],
        [channelId, BigInt(deposit.salt)],
      ),
    )
    const off = await checked(payment, deposit, nonce)
    if (off) return off
    const data = callData(payment, deposit)
    const purpose = `x402-deposit:${channelId}:${nonce}`
    // Sent before, by a request that was repeated: the same transaction is waited for.
    if ((await actions.store.chainAction(purpose)) === null) {
      const unfit = await simulated(payment, deposit)
      if (unfit) return unfit
    }
    if (inFlight >= MAX_DEPOSITS_IN_FLIGHT) return tooMany()
    inFlight += 1
    try {
      return await bring(purpose, data, payment, deposit)
    } finally {
      inFlight -= 1
    }
  }

  async function bring(
    purpose: string,
    data: Hex,
    { config }: ChannelPayment,
    { units }: DepositAuthorization,
  ): Promise<DepositMade | PaymentFault> {
    const action = await carryOut(
      actions,
      {
        purpose,
        kind: 'x402-deposit',
        target: terms.addresses.channels,
        data,
        details: { payer: config.payer, units },
      },
      terms.maxTimeoutS * 1000,
    )
    if (worked(action) && action.mined) return { transaction: action.mined.hash, units }
    if (action.state === 'failed' || action.mined?.reverted)
      return fault(
        'deposit_failed',
        `The deposit failed on chain: ${action.problem ?? 'it was reverted'}. Nothing was taken.`,
      )
    return fault(
      'deposit_not_final',
      'The deposit was sent and is in no block yet. Send the very same request again to go on waiting.',
      { retryAfterS: 5 },
    )
  }

  /** All that can be known without the chain, and the balance. */
  async function checked(
    { config }: ChannelPayment,
    deposit: DepositAuthorization,
    nonce: Hex,
  ): Promise<PaymentFault | null> {
    const { minDepositUnits, token, chainId, addresses } = terms
    if (deposit.units < minDepositUnits)
      return fault(
        'deposit_too_small',
        `The deposit is ${deposit.units} units; the least is ${minDepositUnits}, since this gateway pays its gas.`,
        { details: { units: deposit.units, leastUnits: minDepositUnits } },
      )
    const timing = offTime(deposit, BigInt(Math.floor(actions.now() / 1000)))
    if (timing) return timing
    const signer = await recoverTypedDataAddress({
      domain: {
        name: token.name,
        version: token.version,
        chainId,
        verifyingContract: getAddress(token.address),
      },
      types: RECEIVE_WITH_AUTHORIZATION,
      primaryType: 'ReceiveWithAuthorization',
      message: {
        from: getAddress(config.payer),
        to: getAddress(addresses.collector),
        value: deposit.units,
        validAfter: deposit.validAfter,
        validBefore: deposit.validBefore,
        nonce,
      },
      signature: deposit.signature,
    }).catch(() => null)
    if (signer === null || lowerHex(signer) !== config.payer)
      return fault(
        'payment_tampered',
        "The deposit's authorization is not signed by the channel's payer, or was changed since.",
        { word: 'invalid_batch_settlement_evm_receive_authorization_signature' },
      )
    return null
  }

  async function simulated(
    payment: ChannelPayment,
    deposit: DepositAuthorization,
  ): Promise<PaymentFault | null> {
    const { token, operator, addresses } = terms
    try {
      const balance = await client.readContract({
        address: token.address,
        abi: mockUsdcAbi,
        functionName: 'balanceOf',
        args: [payment.config.payer],
      })
      if (balance < deposit.units)
        return fault(
          'payer_short',
          `The payer has ${balance} units of ${token.symbol}; the deposit is ${deposit.units}.`,
          { details: { have: balance, need: deposit.units } },
        )
      await client.simulateContract({
        address: addresses.channels,
        abi: channelsAbi,
        functionName: 'deposit',
        args: depositArguments(payment, deposit, addresses.collector),
        account: operator,
      })
      return null
    } catch (error) {
      return simulationFault(error)
    }
  }

  function callData(payment: ChannelPayment, deposit: DepositAuthorization): Hex {
    return encodeFunctionData({
      abi: channelsAbi,
      functionName: 'deposit',
      args: depositArguments(payment, deposit, terms.addresses.collector),
    })
  }

  return {
    make,
    async balance(channelId) {
      const [balance] = await client.readContract({
        address: terms.addresses.channels,
        abi: channelsAbi,
        functionName: 'channels',
        args: [channelId],
      })
      return balance
    },
    nextBlock: () => sleep(LOOK_EVERY_MS),
    patienceMs: terms.maxTimeoutS * 1000,
  }
}

function offTime(deposit: DepositAuthorization, nowS: bigint): PaymentFault | null {
  if (deposit.validBefore < nowS + LEAST_VALIDITY_S)
    return fault(
      'payment_expired',
      `The deposit's authorization ends at ${deposit.validBefore}, and it is ${nowS}: sign a new one.`,
      { details: { validBefore: deposit.validBefore, now: nowS } },
    )
  if (deposit.validAfter > nowS)
    return fault(
      'payment_expired',
      `The deposit's authorization begins at ${deposit.validAfter} only, and it is ${nowS}.`,
      { word: 'invalid_batch_settlement_evm_payload_authorization_valid_after' },
    )
  return null
}

function simulationFault(error: unknown): PaymentFault {
  const reverted =
    error instanceof BaseError
      ? error.walk((cause) => cause instanceof ContractFunctionRevertedError)
      : null
  if (!(reverted instanceof ContractFunctionRevertedError))
    return fault('chain_unavailable', `The chain cannot be asked just now. Try again.`, {
      retryAfterS: 2,
      details: { reason: reasonOf(error).slice(0, 100) },
    })
  const why = reverted.data?.errorName ?? reverted.reason ?? 'it reverts'
  return fault(
    'deposit_failed',
    `The deposit would fail on chain: ${why}. It was not sent, and nothing was taken.`,
    { word: 'invalid_batch_settlement_evm_deposit_simulation_failed' },
  )
}

const depositArguments = (
  { config }: ChannelPayment,
  { units, validAfter, validBefore, salt, signature }: DepositAuthorization,
  collector: Hex,
) =>
  [
    config,
    units,
    collector,
    encodeAbiParameters(
      [{ type: 'uint256' }, { type: 'uint256' }, { type: 'uint256' }, { type: 'bytes' }],
      [validAfter, validBefore, BigInt(salt), signature],
    ),
  ] as const

const tooMany = (): PaymentFault =>
  fault('deposit_limit', 'Too many deposits are on their way just now. Try again.', {
    retryAfterS: 5,
  })
