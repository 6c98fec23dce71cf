/**
 * A small network that is paid by x402 on a chain of its own, and payers who use x402's own client as it is published.
 */
import type { TestContext } from 'node:test'
import { toClientEvmSigner } from '@x402/evm'
import { ExactEvmScheme } from '@x402/evm/exact/client'
import { BatchSettlementEvmScheme } from '@x402/evm/batch-settlement/client'
import { decodePaymentRequiredHeader } from '@x402/core/http'
import { decodePaymentResponseHeader, wrapFetchWithPayment, x402Client } from '@x402/fetch'
import type { Hex } from 'viem'
import { lowerHex } from '../../src/core/base/hex.ts'
import { createFinality } from '../../src/io/chain/sending/finality.ts'
import { openRpc } from '../../src/io/chain/sending/rpc.ts'
import { createSender } from '../../src/io/chain/sending/sender.ts'
import { testChain, type TestChain, type TestWallet } from '../../src/io/chain/local/test-chain.ts'
import type { Store } from '../../src/io/store/store.ts'
import { silentLogger } from '../../src/io/telemetry/logger.ts'
import type { GatewayConfig } from '../../src/programs/gateway/config.ts'
import type { SettlementChain } from '../../src/programs/gateway/money/settlement.ts'
import { smallNetwork, type SmallNetwork } from './small-network.ts'

type ExactPayload = {
  x402Version: number
  accepted: { payTo: string; amount: string }
  payload: Record<string, unknown>
}

export type PaidNetwork = SmallNetwork & {
  readonly chain: TestChain
  readonly operator: TestWallet
  /** Somebody with test money and no ether. */
  payer(units?: bigint): Promise<Payer>
}

export type Payer = {
  readonly wallet: TestWallet
  /** Its client's fetch: it pays by itself. */
  readonly fetch: typeof globalThis.fetch
  /** The last PAYMENT-SIGNATURE that it sent. */
  last(): string
  /** One transfer to the operator, by x402's client. */
  signExact(net: PaidNetwork, units: bigint): Promise<ExactPayload>
}

/** `depth`: blocks below the head that are final. */
export async function paidNetwork(
  t: TestContext,
  options: { nodes?: number; depth?: number; config?: Partial<GatewayConfig> } = {},
): Promise<PaidNetwork> {
  const chain = await testChain(t)
  const operator = await chain.wallet('100')
  const network = await smallNetwork(t, {
    nodes: options.nodes ?? 1,
    config: { settlement: 'chain', ...options.config },
    openChain: (store) => openChain(chain, operator, store, options.depth ?? 0),
  })
  return {
    ...network,
    chain,
    operator,
    payer: async (units = 10_000_000n) => payerOf(chain, await chain.wallet('0', units)),
  }
}

/** As a gateway has it, looked at every 30 ms. */
async function openChain(
  chain: TestChain,
  operator: TestWallet,
  store: Store,
  depth: number,
): Promise<SettlementChain> {
  const logger = silentLogger
  const rpc = await openRpc({ urls: [chain.url], logger })
  const finality = await createFinality({ rpc, store, logger, depth })
  await finality.look()
  const sender = createSender({
    rpc,
    store,
    finality,
    logger,
    account: operator.account,
    gateway: 'gw_test',
    maxFeeWei: 10n ** 12n,
  })
  const timer = setInterval(() => void finality.look(), 30)
  return {
    chainId: chain.chainId,
    addresses: chain.addresses,
    token: tokenOf(chain),
    operator: lowerHex(operator.address),
    testMoney: true,
    finalityDepth: depth,
    client: rpc.client,
    finalBlock: finality.finalBlock,
    onHead: (listener) => finality.onHead(() => listener()),
    onFinal: (listener) => finality.onFinal(() => listener()),
    onReorg: (listener) => finality.onReorg(() => listener()),
    wake: sender.wake,
    async close() {
      clearInterval(timer)
      await sender.close()
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
  const { salt, maxAmountPerPayment = '5000000' } = options
  const signer = toClientEvmSigner(wallet.account, chain.client)
  const scheme = new BatchSettlementEvmScheme(signer, { ...(salt && { salt }) })
  const exact = new ExactEvmScheme(signer)
  const network = `eip155:${chain.chainId}` as const
  const client = x402Client.fromConfig({
    schemes: [
      { network, client: scheme },
      { network, client: exact },
    ],
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
  return {
    wallet,
    fetch: wrapFetchWithPayment(noting, client),
    last: () => last,
    async signExact({ operator }, units) {
      const { name, version, address: asset } = tokenOf(chain)
      const accepted = {
        scheme: 'exact',
        network,
        asset,
        amount: String(units),
        payTo: lowerHex(operator.address),
        maxTimeoutSeconds: 120,
        extra: { name, version },
      }
      const signed = await exact.createPaymentPayload(2, accepted)
      return { x402Version: 2, accepted, payload: signed.payload }
    },
  }
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

export type Required402 = {
  readonly error: string
  readonly resource: { readonly url: string }
  readonly accepts: readonly {
    readonly scheme: string
    readonly amount: string
    readonly payTo: string
    readonly extra: {
      readonly channelState?: { readonly chargedCumulativeAmount: string }
      readonly voucherState?: { readonly signedMaxClaimable: string }
    }
  }[]
}

/** What PAYMENT-REQUIRED says. */
export function requiredBy(response: Response): Required402 {
  const header = response.headers.get('PAYMENT-REQUIRED')
  if (header === null) throw new Error(`no PAYMENT-REQUIRED; status ${response.status}`)
  const required: unknown = decodePaymentRequiredHeader(header)
  return required as Required402
}

/** What PAYMENT-RESPONSE says. */
export function toldBy(response: Response): Told {
  const header = response.headers.get('PAYMENT-RESPONSE')
  if (header === null) throw new Error(`no PAYMENT-RESPONSE; status ${response.status}`)
  const told: unknown = decodePaymentResponseHeader(header)
  return told as Told
}
