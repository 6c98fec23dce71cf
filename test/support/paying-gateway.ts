/** A gateway that pays on chain, as a process of its own: to be killed. Says its URL and its operator when it can be used. */
import { silentLogger } from '../../src/io/telemetry/logger.ts'
import { createPostgresStore } from '../../src/io/store/postgres-store.ts'
import { gatewayConfig } from '../../src/programs/gateway/config.ts'
import { startGateway } from '../../src/programs/gateway/main.ts'
import { openChain } from '../../src/programs/gateway/money/chain.ts'
import { signerOf } from '../../src/programs/gateway/money/iou-desk.ts'
import { createPayouts, payoutSettings } from '../../src/programs/gateway/money/payouts.ts'

/** Its settings, as `config.json` has them. */
export type PayingGatewayPlan = Readonly<Record<string, unknown>>

const LOOK_EVERY_MS = 50

process.once('disconnect', () => process.exit(0))
const config = gatewayConfig.parse(JSON.parse(process.argv[2] ?? '{}'))
const logger = silentLogger
const store = await createPostgresStore({ url: config.databaseUrl, logger })
const chain = await openChain(config, store, { logger, gateway: `gw_${process.pid}` })
const gateway = await startGateway(config, {
  logger,
  say: () => {},
  makePayouts: (place) =>
    createPayouts({
      ...place,
      chain,
      settings: payoutSettings(config),
      sign: signerOf(chain.signer),
      epochsEveryMs: LOOK_EVERY_MS,
      iousEveryMs: LOOK_EVERY_MS,
    }),
})
process.send?.({ url: gateway.url, operator: chain.operator })
