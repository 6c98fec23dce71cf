/**
 * A small network that is paid by x402 on a chain of its own, and payers who use x402's own client as it is published. What the
 * gateway writes for the chain is sent by a sender that does no more than that: the real one has tests of its own.
 */
import type { TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { BatchSettlementEvmScheme } from '@x402/evm/batch-settlement/client'
import { decodePaymentResponseHeader, wrapFetchWithPayment, x402Client } from '@x402/fetch'
import { toClientEvmSigner } from '@x402/evm'
import { publicActions, type Hex } from 'viem'
import { lowerHex } from '../../src/core/base/hex.ts'
import { testChain, type TestChain, type TestWallet } from '../../src/io/chain/test-chain.ts'
import type { ChainAction, NewAction } from '../../src/io/store/chain-records.ts'
import type { Store } from '../../src/io/store/store.ts'
import { silentLogger } from '../../src/io/telemetry/logger.ts'
import type { GatewayConfig } from '../../src/programs/gateway/config.ts'
import { gatewayConfig } from '../../src/programs/gateway/config.ts'
import { ChannelBook } from '../../src/programs/gateway/money/channel-book.ts'
import type { ChannelChain, FinalBlock } from '../../src/programs/gateway/money/channel-chain.ts'
import { ChannelSync } from '../../src/programs/gateway/money/channel-sync.ts'
import { openX402, type X402Chain } from '../../src/programs/gateway/x402/x402.ts'
import { smallNetwork, type SmallNetwork } from './small-network.ts'

export type PaidNetwork = SmallNetwork & {
  readonly chain: TestChain
  readonly operator: TestWallet
  /** The newest gateway's: what it knows of channels. */
  book(): ChannelBook
  /** Blocks below the head that are final. */
  depth: number
  payer(units?: bigint): Promise<Payer>
  /** Looks at the chain now. */
  look(): Promise<void>
}

export type Payer = {
  readonly wallet: TestWallet
  /** Its client's fetch: it pays by itself. */
  readonly fetch: typeof globalThis.fetch
  /** The last PAYMENT-SIGNATURE that it sent. */
  last(): string
}

export async function paidNetwork(
  t: TestContext,
  options: { nodes?: number; config?: Partial<GatewayConfig> } = {},
): Promise<PaidNetwork> {
  const chain = await testChain(t)
  const operator = await chain.wallet('100')
  const state: { depth: number; book: ChannelBook | null; stop: () => Promise<void> } = {
    depth: 0,
    book: null,
    stop: async () => {},
  }
  const look = { now: async () => {} }
  const network = await smallNetwork(t, {
    nodes: options.nodes ?? 1,
    config: options.config ?? {},
    x402: async ({ store, keyring, table, meter }) => {
      await state.stop()
      const { channelChain, close, poll } = follow(chain, operator, state)
      await poll()
      const book = new ChannelBook({
        chain: channelChain,
        store,
        logger: silentLogger,
        minWithdrawDelayS: 900,
        stepUnits: 100_000n,
      })
      await book.load()
      const sync = new ChannelSync({
        chain: channelChain,
        book,
        store,
        logger: silentLogger,
        now: Date.now,
        looked: () => {},
      })
      await sync.start()
      state.book = book
      look.now = async () => {
        await poll()
        await sync.look()
      }
      const x402Chain: X402Chain = {
        chainId: chain.chainId,
        addresses: chain.addresses,
        token: tokenOf(chain),
        operator: operator.address,
        testMoney: true,
        client: chain.client,
        wake: () => {},
      }
      const x402 = openX402({
        config: gatewayConfig.parse({ home: 'x', databaseUrl: 'x', ...options.config }),
        chain: x402Chain,
        channels: book,
        store: withSender(store, operator),
        keyring,
        table,
        meter,
        logger: silentLogger,
        now: Date.now,
      })
      state.stop = async () => {
        close()
        await sync.stop()
        await book.stop()
      }
      return {
        ...x402,
        close() {
          x402.close()
          void state.stop()
        },
      }
    },
  })
  return {
    ...network,
    chain,
    operator,
    get depth() {
      return state.depth
    },
    set depth(depth) {
      state.depth = depth
    },
    book() {
      if (!state.book) throw new Error('no book yet')
      return state.book
    },
    look: () => look.now(),
    async payer(units = 10_000_000n) {
      const wallet = await chain.wallet('0', units)
      return payerOf(chain, wallet)
    },
  }
}

export const tokenOf = ({ addresses }: TestChain) => ({
  address: lowerHex(addresses.token),
  name: 'Test USD Coin',
  version: '2',
  symbol: 'testUSDC',
  decimals: 6,
})

/** x402's client, unmodified: it knows nothing of Baseload. */
export function payerOf(
  chain: TestChain,
  wallet: TestWallet,
  options: { salt?: Hex; maxAmountPerPayment?: string } = {},
): Payer {
  const { salt, maxAmountPerPayment = '1000000' } = options
  const signer = toClientEvmSigner(wallet.account, chain.client)
  const scheme = new BatchSettlementEvmScheme(signer, { ...(salt && { salt }) })
  const network = `eip155:${chain.chainId}` as const
  const client = x402Client.fromConfig({
    schemes: [{ network, client: scheme }],
    spendControls: {
      allowedAssets: [{ network, asset: chain.addresses.token, maxAmountPerPayment }],
    },
  })
  let last = ''
  const noting: typeof globalThis.fetch = async (input, init) => {
    const request = new Request(input, init)
    last = request.headers.get('PAYMENT-SIGNATURE') ?? last
    return fetch(request)
  }
  return { wallet, fetch: wrapFetchWithPayment(noting, client), last: () => last }
}

export type Told = {
  readonly success: boolean
  readonly transaction: string
  readonly amount: string
  readonly extra: {
    readonly chargedAmount: string
    readonly channelState: {
      readonly channelId: Hex
      readonly balance: string
      readonly chargedCumulativeAmount: string
    }
  }
}

/** What PAYMENT-RESPONSE says. */
export function toldBy(response: Response): Told {
  const header = response.headers.get('PAYMENT-RESPONSE')
  if (header === null) throw new Error(`no PAYMENT-RESPONSE; status ${response.status}`)
  const told: unknown = decodePaymentResponseHeader(header)
  return told as Told
}

/** A chain that is followed by polling. */
function follow(chain: TestChain, { address }: TestWallet, state: { depth: number }) {
  let final: FinalBlock | null = null
  const heads = new Set<() => void>()
  const finals = new Set<() => void>()
  const add = (set: Set<() => void>, listener: () => void) => {
    set.add(listener)
    return () => void set.delete(listener)
  }
  const poll = async (): Promise<void> => {
    const head = await chain.client.getBlockNumber({ cacheTime: 0 })
    const number = head - BigInt(state.depth)
    for (const listener of heads) listener()
    if (number < 0n || (final !== null && number <= final.number)) return
    const { hash } = await chain.client.getBlock({ blockNumber: number })
    final = { number, hash }
    for (const listener of finals) listener()
  }
  const timer = setInterval(() => void poll().catch(() => {}), 30)
  timer.unref()
  const channelChain: ChannelChain = {
    chainId: chain.chainId,
    addresses: chain.addresses,
    token: tokenOf(chain),
    operator: lowerHex(address),
    testMoney: true,
    client: chain.client,
    finalBlock: () => final,
    onHead: (listener) => add(heads, listener),
    onFinal: (listener) => add(finals, listener),
    onReorg: () => () => {},
    wake: () => {},
  }
  return { channelChain, poll, close: () => clearInterval(timer) }
}

/** The store, but what is written for the chain is sent at once. */
function withSender(store: Store, operator: TestWallet) {
  const actions = new Map<string, ChainAction>()
  const send = async (action: NewAction): Promise<void> => {
    const { client } = operator
    const hash = await client.sendTransaction({
      to: action.target,
      data: action.data,
      gas: 1_000_000n,
    })
    for (;;) {
      const receipt = await rpcReceipt(hash)
      if (receipt) {
        const { blockNumber, blockHash, status } = receipt
        const reverted = status === 'reverted'
        const mined = { hash, blockNumber, blockHash, reverted }
        actions.set(action.purpose, { ...actionOf(action), state: 'mined', mined })
        return
      }
      await sleep(20)
    }
  }
  const rpcReceipt = (hash: Hex) =>
    operator.client
      .extend(publicActions)
      .getTransactionReceipt({ hash })
      .catch(() => null)
  return Object.assign(Object.create(store) as Store, {
    async writeChainAction(action: NewAction) {
      if (actions.has(action.purpose)) return 'duplicate' as const
      actions.set(action.purpose, actionOf(action))
      void send(action)
      return 'written' as const
    },
    chainAction: async (purpose: string) => actions.get(purpose) ?? null,
  })
}

const actionOf = (action: NewAction): ChainAction => ({
  ...action,
  details: action.details ?? null,
  seq: 0n,
  state: 'written',
  nonce: null,
  sinceBlock: null,
  mined: null,
  problem: null,
  tries: 0,
  writtenAt: 0,
  settledAt: null,
})
