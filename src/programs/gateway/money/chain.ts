/** The chain as the gateway sees it: what is final, what goes out, and where the contracts are. Its trouble stops no inference. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { erc20Abi, parseAbi, parseGwei, type Address, type PublicClient } from 'viem'
import { lowerHex } from '../../../core/base/hex.ts'
import { Fault, reasonOf } from '../../../core/base/refusal.ts'
import { contractAddressesSchema, type ContractAddresses } from '../../../io/chain/addresses.ts'
import { createFinality, type Finality } from '../../../io/chain/sending/finality.ts'
import { loadOperatorKey } from '../../../io/chain/sending/operator-key.ts'
import { openRpc, type ChainRpc } from '../../../io/chain/sending/rpc.ts'
import { createSender, type Sender } from '../../../io/chain/sending/sender.ts'
import type { BlockRef, ChainAction } from '../../../io/store/chain-records.ts'
import type { Store } from '../../../io/store/store.ts'
import type { Logger } from '../../../io/telemetry/logger.ts'
import type { GatewayConfig } from '../config.ts'
import type { LocalAccount } from 'viem'

export type ChainToken = {
  readonly address: Address
  readonly decimals: number
  readonly symbol: string
  readonly name: string
  /** Of its EIP-712 domain. */
  readonly version: string
}

export type Chain = Pick<Finality, 'onFinal' | 'onReorg' | 'onHead' | 'head' | 'finalBlock'> & {
  readonly chainId: number
  readonly addresses: ContractAddresses
  readonly token: ChainToken
  readonly operator: Address
  /** Signs vouchers' counterparts, roots and IOUs; the key itself is nowhere to be read. */
  readonly signer: LocalAccount
  /** Say so on every screen. */
  readonly testMoney: boolean
  /** Blocks. */
  readonly finalityDepth: number
  /** Each read goes through the majority of the RPC servers. */
  readonly client: PublicClient
  /** Actions were written. */
  readonly wake: () => void
  /** Told of each action that is final or failed; again after a reorganisation below what was final. */
  readonly onSettled: (listener: (action: ChainAction) => void) => () => void
  /** What is wrong just now, in words; empty: nothing. For people: a gateway with chain trouble serves on. */
  readonly troubles: () => readonly string[]
  readonly close: () => Promise<void>
}

export type ChainConfig = Pick<
  GatewayConfig,
  | 'home'
  | 'chainRpc'
  | 'chainContracts'
  | 'chainFinality'
  | 'chainMaxFeeGwei'
  | 'chainKeyFile'
  | 'chainKeyPasswordFile'
  | 'chainPollMs'
  | 'testMoney'
>

/** Anvil's and Hardhat's: whatever is there is worth nothing. */
const LOCAL_CHAIN_ID = 31_337

/** A chain that does not answer within this, at a start, is met later, if it was met before. */
const MEET_MS = 5_000

/**
 * Resolves when the chain is the one that this database is about and the contracts are there; when the chain is away and was met
 * before, from what is noted of it: then all that waits for it, and nothing else. Throws a Fault that says what is not so. Give
 * it a signal to end the wait for a chain that was never met.
 */
export async function openChain(
  config: ChainConfig,
  store: Store,
  parts: { readonly logger: Logger; readonly gateway: string; readonly signal?: AbortSignal },
): Promise<Chain> {
  const logger = parts.logger.child({ part: 'chain' })
  const signer = await loadOperatorKey(
    config.chainKeyFile ?? join(config.home, 'chain.key'),
    readPassword(config.chainKeyPasswordFile),
  )
  const addresses = readAddresses(config.chainContracts)
  const meeting = await meetChain({ config, store, logger, addresses }, parts.signal)
  const { rpc, token } = meeting
  const finality = await createFinality({ rpc, store, logger, depth: config.chainFinality })
  const listeners = new Set<(action: ChainAction) => void>()
  const sender = createSender({
    rpc,
    store,
    finality,
    logger,
    account: signer,
    gateway: parts.gateway,
    maxFeeWei: parseGwei(String(config.chainMaxFeeGwei)),
    onSettled: (action) => {
      for (const listener of listeners) listener(action)
    },
  })
  let { met } = meeting
  let strange: string | null = null
  const look = async (): Promise<void> => {
    if (!met) strange = await checkChain(rpc, store).then(() => null, reasonOf)
    met = strange === null
    if (met) await finality.look()
  }
  const following = follow(look, config.chainPollMs)
  logger.info('chain', {
    chainId: rpc.chainId,
    operator: signer.address,
    token: token.symbol,
    channels: addresses.channels,
  })
  return {
    ...chainEvents(finality),
    chainId: rpc.chainId,
    addresses,
    token,
    operator: signer.address,
    signer,
    testMoney: config.testMoney || rpc.chainId === LOCAL_CHAIN_ID,
    finalityDepth: config.chainFinality,
    client: rpc.client,
    wake: sender.wake,
    onSettled(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    troubles: () => [...(strange === null ? [] : [strange]), ...troublesOf(rpc, sender)],
    async close() {
      await following.stop()
      await sender.close()
    },
  }
}

const chainEvents = (
  finality: Finality,
): Pick<Chain, 'onFinal' | 'onReorg' | 'onHead' | 'head' | 'finalBlock'> => ({
  onFinal: finality.onFinal,
  onReorg: finality.onReorg,
  onHead: finality.onHead,
  head: finality.head,
  finalBlock: (): BlockRef | null => finality.finalBlock(),
})

function troublesOf(rpc: ChainRpc, sender: Sender): string[] {
  const hindered = sender.trouble()
  return [...rpc.troubles(), ...(hindered === null ? [] : [hindered])]
}

type Meeting = { readonly rpc: ChainRpc; readonly token: ChainToken; readonly met: boolean }

async function meetChain(
  of: {
    readonly config: ChainConfig
    readonly store: Store
    readonly logger: Logger
    readonly addresses: ContractAddresses
  },
  signal: AbortSignal | undefined,
): Promise<Meeting> {
  const { config, store, logger, addresses } = of
  const noted = await store.chainNoted()
  const facts = factsSchema.safeParse(noted?.facts)
  const urls = config.chainRpc
  const known =
    noted && facts.success && facts.data.token === lowerHex(addresses.token) ? facts.data : null
  const patience = known ? AbortSignal.timeout(MEET_MS) : null
  const signals = [patience, signal].filter((each) => each !== null && each !== undefined)
  try {
    const rpc = await openRpc({ urls, logger, signal: AbortSignal.any(signals) })
    await checkChain(rpc, store)
    const token = await readToken(rpc, addresses)
    const { decimals, symbol, name, version } = token
    await store.noteChainFacts({ token: lowerHex(token.address), decimals, symbol, name, version })
    return { rpc, token, met: true }
  } catch (error) {
    // What is no Fault comes of a call that was not answered.
    const away = patience?.aborted === true || !(error instanceof Fault) || error.retryable
    if (!away || !known || !noted || signal?.aborted === true) throw error
    logger.error('the chain is away; settlement waits for it', { error: reasonOf(error) })
    const rpc = await openRpc({ urls, logger, chainId: noted.chainId })
    const { token: _, ...described } = known
    return { rpc, token: { ...described, address: addresses.token }, met: false }
  }
}

const factsSchema = z.object({
  token: z.string(),
  decimals: z.number(),
  symbol: z.string(),
  name: z.string(),
  version: z.string(),
})

/** Looks again and again, `pollMs` after the look before ended. */
function follow(look: () => Promise<void>, pollMs: number): { readonly stop: () => Promise<void> } {
  const stopping = new AbortController()
  const { signal } = stopping
  const run = async (): Promise<void> => {
    while (!signal.aborted) {
      await look()
      await sleep(pollMs, undefined, { signal, ref: false }).catch(() => {})
    }
  }
  const running = run()
  return {
    stop: async () => {
      stopping.abort()
      await running
    },
  }
}

/** Balances that came of one chain are worth nothing on another. */
async function checkChain(rpc: ChainRpc, store: Store): Promise<void> {
  const { hash } = await rpc.client.getBlock({ blockNumber: 0n })
  const noted = await store.meetChain({ chainId: rpc.chainId, genesis: hash })
  if (noted.chainId === rpc.chainId && noted.genesis === hash) return
  throw new Fault(
    'chain_other',
    `This database is about chain ${noted.chainId} (genesis ${noted.genesis}); chainRpc leads to chain ${rpc.chainId} ` +
      `(genesis ${hash}). Give the RPC address of that chain, or another database.`,
  )
}

function readPassword(file: string | null): string | null {
  if (file === null) return null
  try {
    return readFileSync(file, 'utf8').replace(/\r?\n$/, '')
  } catch (cause) {
    throw new Fault(
      'config_invalid',
      `chainKeyPasswordFile ${file} cannot be read: ${reasonOf(cause)}`,
      { cause },
    )
  }
}

function readAddresses(contracts: string | null): ContractAddresses {
  if (contracts === null)
    throw new Fault(
      'config_invalid',
      'settlement is `chain`, but chainContracts names no file with the addresses of the contracts.',
    )
  try {
    return contractAddressesSchema.parse(JSON.parse(readFileSync(contracts, 'utf8')))
  } catch (cause) {
    throw new Fault(
      'config_invalid',
      `chainContracts ${contracts} must be JSON with the addresses token, channels, collector, leases, payouts and stakes: ${reasonOf(cause)}`,
      { cause },
    )
  }
}

const domainAbi = parseAbi([
  'function version() view returns (string)',
  'function eip712Domain() view returns (bytes1, string name, string version, uint256, address, bytes32, uint256[])',
])
const escrowAbi = parseAbi(['function token() view returns (address)'])

/** The token, and whether the contracts are there and take it. */
async function readToken(rpc: ChainRpc, addresses: ContractAddresses): Promise<ChainToken> {
  const { client } = rpc
  const address = addresses.token
  const escrows = ['channels', 'leases', 'payouts', 'stakes'] as const
  const tokens = await Promise.all(
    escrows.map((name) =>
      client
        .readContract({ abi: escrowAbi, address: addresses[name], functionName: 'token' })
        .catch(() => null),
    ),
  )
  for (const [index, name] of escrows.entries()) {
    const taken = tokens[index]
    if (taken?.toLowerCase() !== address.toLowerCase())
      throw new Fault(
        'chain_contracts_wrong',
        `At ${addresses[name]} on chain ${rpc.chainId} is no contract '${name}' that takes the token ${address}. Check chainContracts and chainRpc.`,
      )
  }
  const of = { abi: erc20Abi, address } as const
  const [decimals, symbol, domain] = await Promise.all([
    client.readContract({ ...of, functionName: 'decimals' }),
    client.readContract({ ...of, functionName: 'symbol' }),
    client
      .readContract({ abi: domainAbi, address, functionName: 'eip712Domain' })
      .catch(() => null),
  ])
  if (decimals !== 6)
    throw new Fault(
      'chain_contracts_wrong',
      `The token ${address} has ${decimals} decimals; Baseload counts in units of six, as USDC has.`,
    )
  return {
    address,
    decimals,
    symbol,
    // USDC has no eip712Domain(); its domain is of its name and version().
    name: domain?.[1] ?? (await client.readContract({ ...of, functionName: 'name' })),
    version:
      domain?.[2] ??
      (await client.readContract({ abi: domainAbi, address, functionName: 'version' })),
  }
}
