/** A gateway with channels as a process of its own, over a chain that is there already: to be killed. Says its URL when it can be used. */
import { createPublicClient, http } from 'viem'
import { silentLogger } from '../../src/io/telemetry/logger.ts'
import { gatewayConfig } from '../../src/programs/gateway/config.ts'
import { startGateway } from '../../src/programs/gateway/main.ts'
import { FakeChain } from '../../src/programs/gateway/money/fake-chain.ts'
import type { Address } from '../../src/core/base/hex.ts'

export type ChannelGatewayPlan = {
  readonly home: string
  readonly databaseUrl: string
  readonly rpc: string
  readonly chainId: number
  readonly operator: Address
  readonly addresses: { readonly channels: Address; readonly token: Address }
}

const LOOK_EVERY_MS = 50

const plan: ChannelGatewayPlan = JSON.parse(process.argv[2] ?? '{}')
process.once('disconnect', () => process.exit(0))
const client = createPublicClient({ transport: http(plan.rpc), cacheTime: 0 })
const chain = new FakeChain({ ...plan, client })
await chain.see()
setInterval(() => void chain.see().catch(() => {}), LOOK_EVERY_MS).unref()
const config = gatewayConfig.parse({
  home: plan.home,
  databaseUrl: plan.databaseUrl,
  settlement: 'chain',
})
const gateway = await startGateway(config, {
  logger: silentLogger,
  say: () => {},
  openChain: () => Promise.resolve(chain),
})
process.send?.({ url: gateway.url })
