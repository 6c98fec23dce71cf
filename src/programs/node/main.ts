/** A node: its home locked, its key, engine, offer, receipts and links put together, and taken apart again. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { TokenPrice } from '../../core/base/money.ts'
import { VERSION } from '../../core/base/version.ts'
import type { Engine } from '../../io/engine/engine.ts'
import { loadIdentity, type Identity } from '../../io/keys/identity.ts'
import { connectToGateway } from '../../io/link/link-client.ts'
import type { Logger } from '../../io/telemetry/logger.ts'
import { Agent } from './agent.ts'
import { Bookshelf } from './bookshelf.ts'
import {
  defaultModelConfig,
  modelNameOf,
  readNodeConfig,
  tokenPriceOf,
  type NodeConfig,
  MAX_GATEWAYS,
} from './config.ts'
import { RegionLinks } from './region-links.ts'
import { Earnings } from './earnings.ts'
import { startEngine, vendorsInUse } from './engines.ts'
import { lockHome } from './home-lock.ts'
import { findRuntime, type FoundRuntime } from './leases/find-runtime.ts'
import { LeaseDoor } from './leases/lease-door.ts'
import { openLeases } from './leases/open-leases.ts'
import { IOU_FOLDER, IouDrawer } from './ious.ts'
import { ownPayout } from './payout-statement.ts'
import { StandingOffer } from './standing-offer.ts'

export type RunningNode = {
  readonly id: string
  /** Resolves when the node has left, for whatever reason; rejects when receipts could not be kept. */
  readonly drained: Promise<void>
  /** Finishes what runs (at most `drainSeconds`), hands the rest over and the receipts in, and leaves. */
  drain(): Promise<void>
  /** Leaves at once: answers go on elsewhere, receipts wait on disk for the next start. */
  stop(): Promise<void>
}

export type NodeOptions = {
  readonly logger: Logger
  /** One line for people. */
  readonly say: (line: string) => void
  /** Aborts the start (a download, a model that loads); later it is `stop`. */
  readonly signal?: AbortSignal
  /** In the place of the configured one. */
  readonly engine?: Engine
  /** In the place of the container engine that runs here. */
  readonly runtime?: FoundRuntime
  readonly settleMs?: number
}

const SOFTWARE = `baseload/${VERSION}`

/** Resolves when the engine is ready and the gateways are being dialled. Throws a Fault that says what to do. */
export async function startNode(settings: NodeConfig, options: NodeOptions): Promise<RunningNode> {
  const config = readNodeConfig(settings)
  const { say } = options
  mkdirSync(config.home, { recursive: true, mode: 0o700 })
  const unlock = lockHome(config.home)
  let engine: Engine | null = null
  try {
    const identity = loadIdentity('node', join(config.home, 'node.key'))
    say(`this node is ${identity.id}`)
    // The engine may take long to load its models: the container engine is looked for meanwhile.
    const runtime = runtimeOf(config, options)
    engine = options.engine ?? (await startEngine(config, options))
    options.signal?.throwIfAborted()
    return runNode({ config, options, identity, engine, runtime, unlock })
  } catch (error) {
    await engine?.close()
    unlock()
    throw error
  }
}

function runNode({
  config,
  options,
  identity,
  engine,
  runtime,
  unlock,
}: {
  config: NodeConfig
  options: NodeOptions
  identity: Identity
  engine: Engine
  runtime: Promise<FoundRuntime | string> | null
  unlock: () => void
}): RunningNode {
  const { logger, say, signal, settleMs } = options
  const { home, providerName, region, dataCollection } = config
  const now = Date.now
  const priceOf = priceList(config)
  const earnings = new Earnings(say, now)
  const payout = ownPayout(config.payoutAddress, {
    identity,
    path: join(home, 'payout-address.json'),
    now: now(),
  })
  const ious = new IouDrawer({
    folder: join(home, IOU_FOLDER),
    addresses: payout?.addresses ?? [],
    now,
    say,
    logger,
  })
  const agent = new Agent({
    identity,
    engine,
    offer: new StandingOffer(
      {
        identity,
        software: SOFTWARE,
        providerName,
        region,
        dataCollection,
        priceOf,
        sequencePath: join(home, 'offer-sequence'),
        now,
      },
      engine.models(),
    ),
    leases: new LeaseDoor(
      runtime === null
        ? Promise.resolve(null)
        : openLeases(runtime, {
            engineUses: vendorsInUse(config),
            settings: config,
            identity,
            now,
            logger,
            say,
          }),
    ),
    payout: payout?.signed ?? null,
    ious,
    shelf: new Bookshelf({
      folder: join(home, 'spool'),
      identity,
      now,
      logger,
      onPaid(paid, gateway) {
        earnings.add(paid)
        ious.acknowledged(gateway, paid.nanoUsd)
      },
    }),
    gateways: config.gateways,
    region: new RegionLinks({
      node: identity.id,
      region,
      perNetwork: config.gatewayLinks,
      most: MAX_GATEWAYS,
    }),
    priceOf,
    connect: connectToGateway,
    drainMs: config.drainSeconds * 1000,
    ...(settleMs !== undefined && { settleMs }),
    now,
    random: Math.random,
    logger,
    say,
  })
  const leave = async () => {
    try {
      await agent.left
    } finally {
      await ious.close()
      await engine.close()
      unlock()
    }
    if (earnings.summary !== null) say(earnings.summary)
  }
  const drained = leave()
  drained.catch((error: unknown) => logger.error('the node left badly', { error }))
  const drain = () => {
    agent.drain()
    return drained
  }
  const stop = () => {
    agent.stop()
    return drained
  }
  signal?.addEventListener('abort', () => void stop().catch(() => {}), { once: true })
  return { id: identity.id, drained, drain, stop }
}

/** Null where no leases are wanted. */
function runtimeOf(
  { leases, runtimeSocket }: NodeConfig,
  { runtime }: NodeOptions,
): Promise<FoundRuntime | string> | null {
  if (leases === 'off') return null
  return runtime ? Promise.resolve(runtime) : findRuntime(runtimeSocket, process.env)
}

/** Model → price. Where no model was named everything that the engine has is sold, at the default price. */
function priceList({ models }: NodeConfig): (model: string) => TokenPrice | null {
  const prices = new Map(models.map((sold) => [modelNameOf(sold), tokenPriceOf(sold)]))
  const standard = models.length === 0 ? tokenPriceOf(defaultModelConfig('any')) : null
  return (model) => prices.get(model) ?? standard
}
