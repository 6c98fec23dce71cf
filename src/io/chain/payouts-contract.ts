/** The contract of payouts, read and written to: what gateways and providers both need of it. */
import {
  encodeFunctionData,
  erc20Abi,
  maxUint256,
  parseAbiItem,
  zeroAddress,
  type PublicClient,
} from 'viem'
import { lowerHex, type Address, type Hex } from '../../core/base/hex.ts'
import { payoutsAbi } from './abi/payouts.ts'

/** Seconds since 1970 on the chain's clock. */
type Seconds = number

export type PayoutTerms = {
  readonly challengeWindowS: number
  readonly answerWindowS: number
  readonly minBondUnits: bigint
  readonly penaltyUnits: bigint
  readonly challengeDepositUnits: bigint
}

/** What the chain says of a gateway, at one block. */
export type PayoutState = {
  readonly block: { readonly number: bigint; readonly timestamp: Seconds }
  /** All that came in for claims; `paidUnits` of it is drawn. */
  readonly depositedUnits: bigint
  readonly paidUnits: bigint
  readonly bondUnits: bigint
  /** The root that claims are measured by; null: none counts yet. */
  readonly root: Hex | null
  /** Posted, and not counting yet. */
  readonly pending: {
    readonly root: Hex
    readonly totalUnits: bigint
    readonly countsFrom: Seconds
  } | null
  /** Of the last root posted; 0: none was. */
  readonly epoch: number
  readonly openChallenges: number
}

export type OpenChallenge = { readonly provider: Address; readonly owedUnits: bigint }

export type PayoutCall = { readonly target: Address; readonly data: Hex }

export async function readPayoutTerms(
  client: PublicClient,
  payouts: Address,
): Promise<PayoutTerms> {
  const terms = await client.readContract({
    abi: payoutsAbi,
    address: payouts,
    functionName: 'terms',
  })
  return {
    challengeWindowS: terms.challengeWindow,
    answerWindowS: terms.answerWindow,
    minBondUnits: terms.minBond,
    penaltyUnits: terms.penalty,
    challengeDepositUnits: terms.challengeDeposit,
  }
}

export async function readPayoutState(
  client: PublicClient,
  of: { payouts: Address; gateway: Address; terms: PayoutTerms },
): Promise<PayoutState> {
  const { payouts: address, gateway, terms } = of
  const block = await client.getBlock()
  const { number: blockNumber } = block
  const [state, root] = await Promise.all([
    client.readContract({
      abi: payoutsAbi,
      address,
      functionName: 'gatewayOf',
      args: [gateway],
      blockNumber,
    }),
    client.readContract({
      abi: payoutsAbi,
      address,
      functionName: 'rootOf',
      args: [gateway],
      blockNumber,
    }),
  ])
  const isPending = !isZero(state.pendingRoot) && state.pendingRoot !== root
  return {
    block: { number: blockNumber, timestamp: Number(block.timestamp) },
    depositedUnits: state.deposited,
    paidUnits: state.paid,
    bondUnits: state.bond,
    root: isZero(root) ? null : root,
    pending: isPending
      ? {
          root: state.pendingRoot,
          totalUnits: state.pendingTotal,
          countsFrom: state.pendingSince + terms.challengeWindowS,
        }
      : null,
    epoch: state.epoch,
    openChallenges: state.openChallenges,
  }
}

/** Units that a gateway has paid a provider since the beginning. */
export const readPaidTo = (
  client: PublicClient,
  of: { payouts: Address; gateway: Address; provider: Address },
): Promise<bigint> =>
  client.readContract({
    abi: payoutsAbi,
    address: of.payouts,
    functionName: 'paidTo',
    args: [of.gateway, of.provider],
  })

const challengeOpened = parseAbiItem(
  'event ChallengeOpened(address indexed gateway, address indexed provider, uint32 epoch, uint128 cumulative, uint40 answerBy)',
)

/** Challenges of the root of `epoch` that wait for an answer. */
export async function readOpenChallenges(
  client: PublicClient,
  of: { payouts: Address; gateway: Address; epoch: number; fromBlock: bigint },
): Promise<OpenChallenge[]> {
  const { payouts: address, gateway, epoch, fromBlock } = of
  const events = await client.getLogs({
    address,
    event: challengeOpened,
    args: { gateway },
    fromBlock,
    strict: true,
  })
  const open: OpenChallenge[] = []
  for (const { args } of events) {
    if (args.epoch !== epoch) continue
    const { challenger } = await client.readContract({
      abi: payoutsAbi,
      address,
      functionName: 'challengeOf',
      args: [gateway, args.provider, epoch, args.cumulative],
    })
    if (challenger !== zeroAddress)
      open.push({ provider: lowerHex(args.provider), owedUnits: args.cumulative })
  }
  return open
}

export async function readToken(
  client: PublicClient,
  of: { token: Address; owner: Address; spender: Address },
): Promise<{ balanceUnits: bigint; allowanceUnits: bigint }> {
  const { token: address, owner, spender } = of
  const [balanceUnits, allowanceUnits] = await Promise.all([
    client.readContract({ abi: erc20Abi, address, functionName: 'balanceOf', args: [owner] }),
    client.readContract({
      abi: erc20Abi,
      address,
      functionName: 'allowance',
      args: [owner, spender],
    }),
  ])
  return { balanceUnits, allowanceUnits }
}

/** The contract takes no more than its caller tells it to: once is enough. */
export const approveCall = (token: Address, payouts: Address, units = maxUint256): PayoutCall => ({
  target: token,
  data: encodeFunctionData({ abi: erc20Abi, functionName: 'approve', args: [payouts, units] }),
})

export const fundCall = (payouts: Address, gateway: Address, units: bigint): PayoutCall => ({
  target: payouts,
  data: encodeFunctionData({ abi: payoutsAbi, functionName: 'fund', args: [gateway, units] }),
})

export const bondCall = (payouts: Address, gateway: Address, units: bigint): PayoutCall => ({
  target: payouts,
  data: encodeFunctionData({ abi: payoutsAbi, functionName: 'bond', args: [gateway, units] }),
})

export const rootCall = (
  payouts: Address,
  of: { root: Hex; totalUnits: bigint; epoch: number },
): PayoutCall => ({
  target: payouts,
  data: encodeFunctionData({
    abi: payoutsAbi,
    functionName: 'postRoot',
    args: [of.root, of.totalUnits, of.epoch],
  }),
})

type LeafOf = {
  readonly gateway: Address
  readonly provider: Address
  readonly cumulativeUnits: bigint
  readonly proof: readonly Hex[]
}

export const claimCall = (payouts: Address, leaf: LeafOf): PayoutCall => ({
  target: payouts,
  data: encodeFunctionData({
    abi: payoutsAbi,
    functionName: 'claim',
    args: [leaf.gateway, leaf.provider, leaf.cumulativeUnits, [...leaf.proof]],
  }),
})

export const answerCall = (payouts: Address, leaf: LeafOf, owedUnits: bigint): PayoutCall => ({
  target: payouts,
  data: encodeFunctionData({
    abi: payoutsAbi,
    functionName: 'answer',
    args: [leaf.gateway, leaf.provider, owedUnits, leaf.cumulativeUnits, [...leaf.proof]],
  }),
})

type SignedIou = {
  readonly gateway: Address
  readonly provider: Address
  readonly epoch: number
  readonly cumulativeUnits: bigint
  readonly signature: Hex
}

export const claimByIouCall = (payouts: Address, iou: SignedIou): PayoutCall => ({
  target: payouts,
  data: encodeFunctionData({
    abi: payoutsAbi,
    functionName: 'claimByIou',
    args: [iou.gateway, iou.provider, iou.epoch, iou.cumulativeUnits, iou.signature],
  }),
})

export const challengeCall = (payouts: Address, iou: SignedIou): PayoutCall => ({
  target: payouts,
  data: encodeFunctionData({
    abi: payoutsAbi,
    functionName: 'challenge',
    args: [iou.gateway, iou.provider, iou.epoch, iou.cumulativeUnits, iou.signature],
  }),
})

/** The root of a challenge that nobody answered in time. */
export const voidCall = (
  payouts: Address,
  gateway: Address,
  provider: Address,
  owedUnits: bigint,
): PayoutCall => ({
  target: payouts,
  data: encodeFunctionData({
    abi: payoutsAbi,
    functionName: 'voidRoot',
    args: [gateway, provider, owedUnits],
  }),
})

/** What challenges have earned the caller. */
export const creditCall = (payouts: Address, to: Address, units: bigint): PayoutCall => ({
  target: payouts,
  data: encodeFunctionData({
    abi: payoutsAbi,
    functionName: 'withdrawCredit',
    args: [to, units],
  }),
})

const isZero = (root: Hex): boolean => /^0x0*$/.test(root)
