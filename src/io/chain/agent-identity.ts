/**
 * Agents as ERC-8004 has them: a node or gateway registers with a file that says what it offers, tenants rate it, and auditors
 * publish their verdicts. Functions changed between the drafts, so nothing but this file knows them: draft of 2026-01-25
 * (github.com/erc-8004/erc-8004-contracts, ERC8004SPEC.md), as its contracts of version 2.0.0 have it. The ABIs are those of the
 * registries for local chains in contracts/src/test-registries, which have the same functions and events.
 */
import {
  BaseError,
  ContractFunctionRevertedError,
  encodeFunctionData,
  parseEventLogs,
  stringToHex,
  zeroAddress,
  zeroHash,
  type Address,
  type Hex,
  type Log,
  type PublicClient,
} from 'viem'
import { Fault } from '../../core/base/refusal.ts'
import { testIdentityRegistryAbi as identityAbi } from './abi/test-identity-registry.ts'
import { testReputationRegistryAbi as reputationAbi } from './abi/test-reputation-registry.ts'
import { testValidationRegistryAbi as validationAbi } from './abi/test-validation-registry.ts'
import type { ContractCall } from './contract-call.ts'

export type AgentRegistries = {
  readonly identity: Address
  readonly reputation: Address
  readonly validation: Address
}

export type AgentIdentity = {
  /** Counts from 0. */
  readonly agentId: bigint
  readonly owner: Address
  /** Where the agent is paid; null after a transfer, until its new owner sets one. */
  readonly wallet: Address | null
  /** Where its registration file is: https, ipfs or data. */
  readonly uri: string
}

/** A rating: `value` with so many decimals, so 9977 with 2 is 99.77. What it measures says `tag1`, e.g. `uptime`. */
export type AgentFeedback = {
  readonly agentId: bigint
  readonly value: bigint
  /** 0 to 18. */
  readonly decimals: number
  readonly tag1?: string
  readonly tag2?: string
  /** The URL that was used. */
  readonly endpoint?: string
  /** A file that says more, such as a receipt, and its Keccak-256; not needed for ipfs. */
  readonly uri?: string
  readonly hash?: Hex
}

export type ValidationRequest = {
  readonly agentId: bigint
  /** Who shall answer. */
  readonly validator: Address
  readonly uri: string
  /** What names the request from now on: Keccak-256 of what `uri` leads to. */
  readonly hash: Hex
}

export type ValidationVerdict = {
  readonly requestHash: Hex
  /** A whole number from 0 (failed) to 100 (passed). */
  readonly score: number
  readonly uri?: string
  readonly hash?: Hex
  readonly tag?: string
}

export type Validation = {
  readonly agentId: bigint
  readonly validator: Address
  readonly score: number
  readonly hash: Hex | null
  readonly tag: string
  /** The chain's seconds: of the last verdict, or of the request while there is none. */
  readonly updatedAtS: number
}

/**
 * Functions of the registries; each throws a Fault `agent_invalid` for what they would refuse. `register` belongs to whoever sends
 * it; an owner cannot rate its own agent, and only it can ask for validation.
 */
export const agentCalls = ({ identity, reputation, validation }: AgentRegistries) => ({
  register: (uri: string, metadata: Readonly<Record<string, string>> = {}): ContractCall => {
    const entries = Object.entries(metadata).map(([metadataKey, text]) => {
      if (metadataKey === WALLET) throw invalid(`metadata cannot set ${WALLET}`)
      return { metadataKey, metadataValue: stringToHex(text) }
    })
    const args = [uri, entries] as const
    return {
      target: identity,
      data: encodeFunctionData({ abi: identityAbi, functionName: 'register', args }),
    }
  },
  setUri: (agentId: bigint, uri: string): ContractCall => ({
    target: identity,
    data: encodeFunctionData({
      abi: identityAbi,
      functionName: 'setAgentURI',
      args: [agentId, uri],
    }),
  }),
  giveFeedback: (feedback: AgentFeedback): ContractCall => {
    const { agentId, value, decimals, tag1 = '', tag2 = '', endpoint = '', uri = '' } = feedback
    if (!Number.isInteger(decimals) || decimals < 0 || decimals > MAX_DECIMALS)
      throw invalid(`a rating has 0 to ${MAX_DECIMALS} decimals, not ${decimals}`)
    if (value > MAX_VALUE || value < -MAX_VALUE)
      throw invalid(`a rating is at most 10^38 either way, not ${value}`)
    const hash = feedback.hash ?? zeroHash
    const args = [agentId, value, decimals, tag1, tag2, endpoint, uri, hash] as const
    return {
      target: reputation,
      data: encodeFunctionData({ abi: reputationAbi, functionName: 'giveFeedback', args }),
    }
  },
  /** `index` counts this rater's ratings of the agent, from 1. */
  revokeFeedback: (agentId: bigint, index: bigint): ContractCall => ({
    target: reputation,
    data: encodeFunctionData({
      abi: reputationAbi,
      functionName: 'revokeFeedback',
      args: [agentId, index],
    }),
  }),
  requestValidation: ({ agentId, validator, uri, hash }: ValidationRequest): ContractCall => ({
    target: validation,
    data: encodeFunctionData({
      abi: validationAbi,
      functionName: 'validationRequest',
      args: [validator, agentId, uri, hash],
    }),
  }),
  /** Only the validator that was asked. May come again: the last one stands. */
  publishVerdict: (verdict: ValidationVerdict): ContractCall => {
    const { requestHash, score, uri = '', hash = zeroHash, tag = '' } = verdict
    if (!Number.isInteger(score) || score < 0 || score > MAX_SCORE)
      throw invalid(`a verdict is a whole number from 0 to ${MAX_SCORE}, not ${score}`)
    const args = [requestHash, score, uri, hash, tag] as const
    return {
      target: validation,
      data: encodeFunctionData({ abi: validationAbi, functionName: 'validationResponse', args }),
    }
  },
})

/** What audits say of a node as a verdict: the part that passed, rounded down, so that 100 means all. */
export function auditScore({ passed, audited }: { passed: number; audited: number }): number {
  const sane = [passed, audited].every(Number.isSafeInteger) && passed >= 0 && passed <= audited
  if (!sane || audited === 0) throw invalid(`${passed} of ${audited} audits passed: no score`)
  return Math.floor((passed * MAX_SCORE) / audited)
}

/** The id that a mined `register` gave. Throws when these logs register none there. */
export function registeredAgentId({ identity }: AgentRegistries, logs: Log[]): bigint {
  const events = parseEventLogs({ abi: identityAbi, eventName: 'Registered', logs })
  const event = events.find(({ address }) => address.toLowerCase() === identity.toLowerCase())
  if (event) return event.args.agentId
  throw new Fault('agent_not_registered', `These logs register no agent at ${identity}.`)
}

/** Null: nobody has this id. */
export async function readAgent(
  client: PublicClient,
  { identity }: AgentRegistries,
  agentId: bigint,
): Promise<AgentIdentity | null> {
  const of = { abi: identityAbi, address: identity, args: [agentId] } as const
  return await orNull(async () => {
    const [owner, wallet, uri] = await Promise.all([
      client.readContract({ ...of, functionName: 'ownerOf' }),
      client.readContract({ ...of, functionName: 'getAgentWallet' }),
      client.readContract({ ...of, functionName: 'tokenURI' }),
    ])
    return { agentId, owner, wallet: wallet === zeroAddress ? null : wallet, uri }
  })
}

/** How those clients rate it on average. An empty list is refused: anybody can rate as often as they like. */
export async function readFeedback(
  client: PublicClient,
  { reputation }: AgentRegistries,
  of: {
    readonly agentId: bigint
    readonly clients: readonly Address[]
    readonly tag1?: string
    readonly tag2?: string
  },
): Promise<{ readonly count: bigint; readonly value: bigint; readonly decimals: number }> {
  const { agentId, clients, tag1 = '', tag2 = '' } = of
  if (clients.length === 0) throw invalid('name the clients whose ratings count')
  const [count, value, decimals] = await client.readContract({
    abi: reputationAbi,
    address: reputation,
    functionName: 'getSummary',
    args: [agentId, clients, tag1, tag2],
  })
  return { count, value, decimals }
}

/** Null: it was never asked for. A score of 0 without a tag and a hash may mean that there is no verdict yet. */
export async function readValidation(
  client: PublicClient,
  { validation }: AgentRegistries,
  requestHash: Hex,
): Promise<Validation | null> {
  return await orNull(async () => {
    const [validator, agentId, score, hash, tag, updated] = await client.readContract({
      abi: validationAbi,
      address: validation,
      functionName: 'getValidationStatus',
      args: [requestHash],
    })
    const updatedAtS = Number(updated)
    return { agentId, validator, score, hash: hash === zeroHash ? null : hash, tag, updatedAtS }
  })
}

/** The average verdict of these validators; of none given, of all. */
export async function readVerdicts(
  client: PublicClient,
  { validation }: AgentRegistries,
  of: {
    readonly agentId: bigint
    readonly validators?: readonly Address[]
    readonly tag?: string
  },
): Promise<{ readonly count: bigint; readonly score: number }> {
  const { agentId, validators = [], tag = '' } = of
  const [count, score] = await client.readContract({
    abi: validationAbi,
    address: validation,
    functionName: 'getSummary',
    args: [agentId, validators, tag],
  })
  return { count, score }
}

const WALLET = 'agentWallet'
const MAX_DECIMALS = 18
const MAX_VALUE = 10n ** 38n
const MAX_SCORE = 100

const invalid = (why: string): Fault => new Fault('agent_invalid', `ERC-8004: ${why}.`)

/** What the contract refuses is not there; what the chain cannot answer is a fault. */
async function orNull<T>(read: () => Promise<T>): Promise<T | null> {
  try {
    return await read()
  } catch (error) {
    const reverted =
      error instanceof BaseError &&
      error.walk((cause) => cause instanceof ContractFunctionRevertedError) !== null
    if (reverted) return null
    throw error
  }
}
