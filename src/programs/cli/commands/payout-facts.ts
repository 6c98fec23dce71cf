/**
 * What a provider has, holds and can get, put together from three sides: the IOUs in the node's home, the contract, and, where
 * it answers, the gateway. Nothing that the gateway says is believed: its proof is checked against the contract's root.
 */
import { join } from 'node:path'
import { createPublicClient, http, type PublicClient } from 'viem'
import { z } from 'zod'
import { isHex, lowerHex, type Address, type Hex } from '../../../core/base/hex.ts'
import { reasonOf } from '../../../core/base/refusal.ts'
import {
  readPaidTo,
  readPayoutState,
  readPayoutTerms,
  type PayoutState,
  type PayoutTerms,
} from '../../../io/chain/payouts-contract.ts'
import { verifyPayout } from '../../../io/chain/payout-tree.ts'
import {
  bestIou,
  IOU_FOLDER,
  isSigned,
  readIouFiles,
  type IouFile,
  type KeptIou,
} from '../../node/iou-file.ts'
import { EXIT, Failure } from '../shell/failure.ts'
import { homeFolder } from '../shell/home.ts'
import { textOf, type Flags, type Shell } from './command.ts'

export type Leaf = {
  readonly epoch: number
  readonly root: Hex
  readonly cumulativeUnits: bigint
  readonly proof: readonly Hex[]
}

/** A leaf whose proof holds, or why there is none. */
export type FoundLeaf = Leaf | { readonly problem: string }

export type Debt = {
  readonly file: IouFile
  readonly client: PublicClient
  readonly terms: PayoutTerms
  readonly state: PayoutState
  /** The one that owes most; it is signed by the gateway's key. */
  readonly iou: KeptIou
  readonly paidUnits: bigint
  /** In the root that claims are measured by. */
  readonly counting: FoundLeaf
  /** In the root that can still be challenged; null: none is pending. */
  readonly pending: FoundLeaf | null
  /** What the gateway says is owed now; null: it does not answer, or knows nothing. */
  readonly saidUnits: bigint | null
  readonly waiting: string | null
}

/** A gateway that does not answer in this time counts as gone. */
const GATEWAY_TIMEOUT_MS = 5_000
const RPC_TIMEOUT_MS = 10_000

export const isLeaf = (found: FoundLeaf | null): found is Leaf => found !== null && 'proof' in found

/** One for each key that owes this provider. Throws Failure where there is nothing to look at, or no chain. */
export async function readDebts(flags: Flags, shell: Shell): Promise<Debt[]> {
  const home = homeFolder(textOf(flags, 'home'), shell.env)
  const only = textOf(flags, 'debtor')?.toLowerCase()
  const files = readIouFiles(join(home, IOU_FOLDER)).filter(
    ({ gateway }) => only === undefined || gateway === only,
  )
  if (files.length === 0)
    throw new Failure(EXIT.failure, `no gateway's IOU is kept in ${join(home, IOU_FOLDER)}`, {
      code: 'no_ious',
      next:
        only === undefined
          ? 'give the node an address (`baseload join --payout-address 0x…`), or name its home with --home'
          : `'${only}' is another gateway's key; leave --debtor out to see all`,
    })
  const rpc = textOf(flags, 'rpc') ?? shell.env['BASELOAD_CHAIN_RPC']
  if (rpc === undefined || rpc === '')
    throw new Failure(EXIT.usage, `which node of chain ${files[0]?.chainId} should be asked?`, {
      code: 'rpc_missing',
      next: 'give --rpc <url>, or set BASELOAD_CHAIN_RPC; no gateway is needed',
    })
  const client = createPublicClient({
    transport: http(rpc, { timeout: RPC_TIMEOUT_MS, retryCount: 2 }),
    cacheTime: 0,
  })
  const chainId = await client.getChainId().catch((error: unknown) => {
    const message = `cannot reach the chain at ${rpc}: ${reasonOf(error).split('\n')[0]}`
    throw new Failure(EXIT.unreachable, message, { code: 'chain_unreachable', cause: error })
  })
  const here = files.filter((file) => file.chainId === chainId)
  if (here.length === 0)
    throw new Failure(
      EXIT.usage,
      `${rpc} is chain ${chainId}, the IOUs are of ${chainsOf(files)}`,
      {
        code: 'chain_wrong',
      },
    )
  const debts: Debt[] = []
  for (const file of here) debts.push(await readDebt(file, client, flags))
  return debts
}

async function readDebt(file: IouFile, client: PublicClient, flags: Flags): Promise<Debt> {
  const { payouts, gateway, provider, chainId } = file
  const iou = bestIou(file)
  if (iou === null || !isSigned({ kind: 'iou', ...file, ...iou }))
    throw new Failure(EXIT.failure, `the IOU of ${gateway} to ${provider} is not signed by it`, {
      code: 'iou_broken',
      next: 'restore the node’s home from a backup',
    })
  const terms = await readPayoutTerms(client, payouts).catch((error: unknown) => {
    const message = `there is no payouts contract at ${payouts} on chain ${chainId}`
    throw new Failure(EXIT.failure, message, { code: 'contract_missing', cause: error })
  })
  const state = await readPayoutState(client, { payouts, gateway, terms })
  const paidUnits = await readPaidTo(client, { payouts, gateway, provider })
  const url = textOf(flags, 'url') ?? file.url
  const at = { url, provider }
  const [counting, pending, owed] = await Promise.all([
    leafIn(at, state.root, 'no root counts yet'),
    state.pending === null ? null : leafIn(at, state.pending.root, ''),
    ask(`${url}/v1/payouts/accounts/${provider}`, owedAnswer).catch(() => null),
  ])
  const saidUnits = owed && BigInt(owed.owed_units)
  const waiting = owed?.waiting ?? null
  return { file, client, terms, state, iou, paidUnits, counting, pending, saidUnits, waiting }
}

const owedAnswer = z.object({
  owed_units: z.string().regex(/^\d{1,30}$/),
  waiting: z.string().nullable(),
})
const hash = z.custom<Hex>((value) => isHex(value, 32))
const leafAnswer = z.object({
  cumulative_units: z.string().regex(/^\d{1,39}$/),
  epoch: z.int(),
  proof: z.array(hash).max(64),
})

/** This provider's leaf in one of the contract's roots, proof checked. */
async function leafIn(
  { url, provider }: { url: string; provider: Address },
  root: Hex | null,
  noRoot: string,
): Promise<FoundLeaf> {
  if (root === null) return { problem: noRoot }
  try {
    const answer = await ask(`${url}/v1/payouts/leaves/${provider}?root=${root}`, leafAnswer)
    const cumulativeUnits = BigInt(answer.cumulative_units)
    const { epoch, proof } = answer
    if (!verifyPayout(root, { address: provider, cumulativeUnits }, proof))
      return {
        problem: `the gateway's proof of ${cumulativeUnits} units does not fit the root ${root}`,
      }
    return { epoch, root: lowerHex(root), cumulativeUnits, proof }
  } catch (error) {
    return { problem: reasonOf(error) }
  }
}

async function ask<T>(url: string, schema: z.ZodType<T>): Promise<T> {
  const response = await fetch(url, { signal: AbortSignal.timeout(GATEWAY_TIMEOUT_MS) }).catch(
    (error: unknown) => {
      throw new Error(`the gateway at ${new URL(url).origin} does not answer`, { cause: error })
    },
  )
  const body: unknown = await response.json().catch(() => null)
  const refused = refusal.safeParse(body)
  if (refused.success) throw new Error(refused.data.error.message)
  const read = schema.safeParse(body)
  if (read.success) return read.data
  throw new Error(`the gateway at ${new URL(url).origin} gave no answer that can be understood`)
}

const refusal = z.object({ error: z.object({ message: z.string() }) })

const chainsOf = (files: readonly IouFile[]): string =>
  `chain ${[...new Set(files.map(({ chainId }) => chainId))].join(', ')}`
