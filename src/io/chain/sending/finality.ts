/**
 * Follows a chain: says when a block is final, `depth` blocks below the head, and when what was final is not any more.
 * What was final is kept in the database: a reorganisation while nobody ran is noticed at the next start.
 */
import type { Hex } from 'viem'
import { z } from 'zod'
import { Fault, reasonOf } from '../../../core/base/refusal.ts'
import type { BlockRef, ChainBlockStore } from '../../store/chain-records.ts'
import type { Logger } from '../../telemetry/logger.ts'
import type { ChainRpc } from './rpc.ts'

/** Down to `ancestor` all holds; above it nothing does. Null: of all that is remembered no block is left. */
export type Reorganisation = { readonly ancestor: BlockRef | null; readonly from: BlockRef }

type Listener<T extends readonly unknown[]> = (...of: T) => void | Promise<void>
type Stop = () => void

/**
 * Listeners are called one after another and waited for. One that throws is told the same again at the next look, and so
 * are the others: repeating must be harmless.
 */
export type Finality = {
  readonly head: () => BlockRef | null
  readonly finalBlock: () => BlockRef | null
  /** Each new head, also of equal or lower number. Nothing above the final block is certain. */
  readonly onHead: (listener: Listener<[BlockRef]>) => Stop
  /** All from `previous` (null: the beginning) up to `block` is final now. */
  readonly onFinal: (listener: Listener<[block: BlockRef, previous: BlockRef | null]>) => Stop
  /** Blocks that were said to be final are gone. */
  readonly onReorg: (listener: Listener<[Reorganisation]>) => Stop
  /** Looks now; resolves when all is told. Never rejects: false when something went wrong, which is logged. */
  readonly look: () => Promise<boolean>
}

/** How far back a reorganisation can be followed. */
const KEPT_BLOCKS = 4096
/** After a pause only the last of the blocks that became final meanwhile are noted. */
const NOTED_AT_ONCE = 32

export async function createFinality(options: {
  readonly rpc: ChainRpc
  readonly store: ChainBlockStore
  readonly logger: Logger
  readonly depth: number
}): Promise<Finality> {
  const { rpc, store, logger, depth } = options
  const heads = new Set<Listener<[BlockRef]>>()
  const finals = new Set<Listener<[BlockRef, BlockRef | null]>>()
  const reorgs = new Set<Listener<[Reorganisation]>>()
  let head: BlockRef | null = null
  let final: BlockRef | null = (await store.finalBlocks(1))[0] ?? null
  let looking: Promise<boolean> | null = null
  let trouble: string | null = null

  const pass = async (): Promise<void> => {
    const now = await blockAt(rpc, await heightOf(rpc))
    if (now === null || (now.hash === head?.hash && now.number === head.number)) return
    if (final !== null) {
      // Below the final block: a server that lags has the same blocks, another history has others.
      const lower = now.number < final.number ? await noted(now.number) : final
      const there = lower === null ? null : await blockAt(rpc, lower.number)
      if (lower !== null && there !== null && there.hash !== lower.hash) await reorganise(final)
      else if (now.number < final.number) return
    }
    head = now
    for (const listener of heads) await listener(now)
    const target = now.number - BigInt(depth)
    if (target >= 0n && (final === null || target > final.number)) await advance(target)
  }

  const noted = async (number: bigint): Promise<BlockRef | null> =>
    (await store.finalBlocks(KEPT_BLOCKS)).find((block) => block.number === number) ?? null

  const reorganise = async (from: BlockRef): Promise<void> => {
    let ancestor: BlockRef | null = null
    for (const block of await store.finalBlocks(KEPT_BLOCKS)) {
      const there = await blockAt(rpc, block.number)
      if (there?.hash === block.hash) {
        ancestor = block
        break
      }
    }
    logger.error('the chain was reorganised below what was final', {
      from: String(from.number),
      ancestor: ancestor === null ? null : String(ancestor.number),
    })
    for (const listener of reorgs) await listener({ ancestor, from })
    await store.dropFinalBlocks(ancestor?.number ?? -1n)
    final = ancestor
  }

  const advance = async (target: bigint): Promise<void> => {
    const previous = final
    const first =
      previous === null || target - previous.number > NOTED_AT_ONCE
        ? target - BigInt(previous === null ? 0 : NOTED_AT_ONCE - 1)
        : previous.number + 1n
    const blocks: Block[] = []
    for (let number = first; number <= target; number++) {
      const block = await blockAt(rpc, number)
      if (block === null) return
      const before = blocks.at(-1) ?? (previous?.number === number - 1n ? previous : null)
      if (before !== null && block.parentHash !== before.hash)
        throw new Fault('chain_unavailable', `Block ${number} does not follow on its parent`, {
          retryable: true,
        })
      blocks.push(block)
    }
    const last = blocks.at(-1)
    if (!last) return
    const block = { number: last.number, hash: last.hash }
    for (const listener of finals) await listener(block, previous)
    await store.addFinalBlocks(blocks, KEPT_BLOCKS)
    final = block
  }

  const look = async (): Promise<boolean> => {
    try {
      await pass()
      if (trouble !== null) logger.info('following the chain again')
      trouble = null
      return true
    } catch (error) {
      // What was not told to everybody is told again.
      head = null
      const why = reasonOf(error)
      if (trouble !== why) logger.warn('cannot follow the chain now', { error: why })
      trouble = why
      return false
    }
  }

  return {
    head: () => head,
    finalBlock: () => final,
    onHead: (listener) => added(heads, listener),
    onFinal: (listener) => added(finals, listener),
    onReorg: (listener) => added(reorgs, listener),
    look: () => {
      looking ??= look().finally(() => {
        looking = null
      })
      return looking
    },
  }
}

function added<T>(to: Set<T>, listener: T): Stop {
  to.add(listener)
  return () => to.delete(listener)
}

type Block = BlockRef & { readonly parentHash: Hex }

const hex = z.custom<Hex>((value) => typeof value === 'string' && /^0x[0-9a-f]+$/i.test(value))
const blockSchema = z
  .object({ number: hex, hash: hex, parentHash: hex })
  .transform(({ number, ...rest }): Block => ({ ...rest, number: BigInt(number) }))
  .nullable()

/** Null: there is none. Throws a Fault `chain_unavailable` when what comes is no such block. */
async function blockAt(rpc: ChainRpc, number: bigint): Promise<Block | null> {
  const params = [`0x${number.toString(16)}`, false]
  const answer = blockSchema.safeParse(
    await rpc.request({ method: 'eth_getBlockByNumber', params }),
  )
  if (answer.success && (answer.data === null || answer.data.number === number)) return answer.data
  throw new Fault('chain_unavailable', `An RPC server gave no block ${number}`, { retryable: true })
}

async function heightOf(rpc: ChainRpc): Promise<bigint> {
  const answer = hex.safeParse(await rpc.request({ method: 'eth_blockNumber' }))
  if (answer.success) return BigInt(answer.data)
  throw new Fault('chain_unavailable', 'An RPC server gave no height', { retryable: true })
}
