/** Opens the node's leases on the container engine that was found, or says in one line why there are none. */
import { randomBytes } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { Fault, reasonOf } from '../../../core/base/refusal.ts'
import type { Millis } from '../../../core/base/time.ts'
import type { FreeRoom } from '../../../core/protocol/capacity.ts'
import type { Offer } from '../../../core/protocol/offer.ts'
import { readPrices } from '../../../core/protocol/price-sheet.ts'
import type { Identity } from '../../../io/keys/identity.ts'
import { loadSealingKey } from '../../../io/keys/sealed-box.ts'
import { signSealingKey } from '../../../io/keys/secret-envelope.ts'
import type { Runtime, RuntimeEvent } from '../../../io/runtime/runtime.ts'
import type { Logger } from '../../../io/telemetry/logger.ts'
import { Bidder } from './bidder.ts'
import { ExecSessions } from './exec-sessions.ts'
import type { FoundRuntime } from './find-runtime.ts'
import { findHostGpus, unpricedWords, withheldWords } from './host-gpus.ts'
import { HeldImages } from './held-images.ts'
import { openLeaseHost, type LeaseHost } from './lease-host.ts'
import type { LeaseSettings } from './lease-settings.ts'
import { LeaseShelf } from './lease-shelf.ts'
import type { TunnelParts } from './lease-tunnels.ts'
import { capacityOf, freeRoomOf, measureMachine, roomOf, roomWords } from './machine-room.ts'
import { PricingProgram } from './pricing-program.ts'
import { RestoreSpool } from './restore-spool.ts'

export type OpenLeases = {
  readonly host: LeaseHost
  readonly tunnels: TunnelParts
  readonly images: HeldImages
  /** What is free now of what is offered. */
  readonly free: () => FreeRoom
  /** Where a program prices. */
  readonly bidder: Bidder | null
  readonly offer: NonNullable<Offer['leases']>
  close(): Promise<void>
}

type OpenInput = {
  /** Whose GPUs the node's own engine computes on. */
  readonly engineUses: readonly ('nvidia' | 'amd')[]
  readonly settings: LeaseSettings & { readonly home: string; readonly region: string | null }
  readonly identity: Identity
  readonly now: () => Millis
  readonly logger: Logger
  readonly say: (line: string) => void
}

const TICK_MS = 1_000
/** Others pull and remove images, too. */
const IMAGES_EVERY_MS = 30_000

/** Null where there is nothing to lease out; the provider has been told why. Never rejects. */
export async function openLeases(
  found: Promise<FoundRuntime | string>,
  input: OpenInput,
): Promise<OpenLeases | null> {
  try {
    const runtime = await found
    if (typeof runtime !== 'string') return await openOn(runtime, input)
    input.say(`no leases: ${runtime}`)
  } catch (error) {
    input.say(`no leases: ${reasonOf(error)}`)
    input.logger.error('leases not opened', { error })
  }
  return null
}

async function openOn(
  found: FoundRuntime,
  { settings, engineUses, identity, now, logger, say }: OpenInput,
): Promise<OpenLeases> {
  const { home, leasePrices } = settings
  const program = await openProgram(settings, { logger, say })
  const share = settings.leaseShare
  const offered = await findHostGpus({ cdiFolders: found.cdiFolders, share, engineUses })
  const machine = await measureMachine(found.dataFolder, offered.gpus)
  const room = roomOf(machine, settings, process.memoryUsage.rss())
  const capacity = capacityOf(room, found.facts, settings)
  const folder = join(home, 'runtime')
  await mkdir(folder, { recursive: true, mode: 0o700 })
  // Events of what runs already come before the host stands.
  const early: RuntimeEvent[] = []
  let host: LeaseHost | null = null
  let images: HeldImages | null = null
  const onEvent = (event: RuntimeEvent): void => {
    if (host === null) early.push(event)
    else host.hear(event)
    // What starts has been pulled.
    if (event.type === 'container.started') void images?.look()
  }
  const shelf = new LeaseShelf(join(home, 'leases'), logger)
  const engine = await found.open({ agent: identity.id, folder, onEvent })
  const runtime: Runtime =
    settings.leaseOnExit === 'keep' ? engine : { ...engine, close: () => stopAll(engine, shelf) }
  const restores = new RestoreSpool(join(home, 'restores'))
  const sealing = loadSealingKey(join(home, 'sealing.key'))
  try {
    host = await openLeaseHost({
      identity,
      opener: { node: identity.id, key: sealing },
      runtime,
      shelf,
      room,
      seller: {
        node: identity.id,
        nodeKey: identity.publicKey,
        prices: program === null ? readPrices(leasePrices) : null,
        noticeS: capacity.noticeS,
      },
      restores,
      leaving: settings.leaseLeaving,
      now,
      logger,
    })
  } catch (error) {
    await runtime.close()
    throw error
  }
  const opened = host
  for (const event of early) opened.hear(event)
  say(roomWords(capacity, settings))
  const unpriced = program === null ? unpricedWords(capacity.gpus, readPrices(leasePrices)) : []
  for (const line of [...withheldWords(offered), ...unpriced]) say(line)
  if (opened.running > 0) say(`leases of an earlier run: ${opened.running}`)
  const sessions = new ExecSessions()
  const held = (images = new HeldImages(runtime, logger))
  await held.look()
  const looker = setInterval(() => void held.look(), IMAGES_EVERY_MS)
  const bidder =
    program &&
    new Bidder({
      identity,
      program,
      room,
      free: () => opened.free,
      noticeS: capacity.noticeS,
      now,
      random: randomBytes,
    })
  const ticker = setInterval(() => opened.tick(), TICK_MS)
  return {
    host: opened,
    tunnels: { host: opened, runtime, restores, sessions, now, logger },
    images: held,
    bidder,
    free: () => freeRoomOf(opened.free, room, capacity),
    offer: {
      capacity,
      prices: program === null ? leasePrices : null,
      sealing: signSealingKey(identity, sealing),
    },
    close: async () => {
      clearInterval(ticker)
      clearInterval(looker)
      bidder?.close()
      sessions.close()
      await opened.close()
    },
  }
}

/** Null where the price sheet prices. Throws a Fault where the program can never bid. */
async function openProgram(
  { pricingProgram }: LeaseSettings,
  { logger, say }: Pick<OpenInput, 'logger' | 'say'>,
): Promise<PricingProgram | null> {
  if (pricingProgram === null) return null
  const program = new PricingProgram(pricingProgram, process.env, logger)
  const problem = await program.tryOut()
  if (problem?.fatal === true)
    throw new Fault('pricing_program', `${problem.message}; run it by hand, or leave it out`)
  if (problem !== null) say(`it does not bid on a small sample order: ${problem.message}`)
  return program
}

/** What a container may still write down when the whole network is ended by hand. */
const EXIT_GRACE_S = 2

/** Their records and volumes stay: the next start has them run again. */
async function stopAll(engine: Runtime, shelf: LeaseShelf): Promise<void> {
  const running = (await shelf.readAll()).filter(({ kept }) => kept === null)
  const options = { graceS: EXIT_GRACE_S, keepVolumes: true }
  await Promise.allSettled(running.map(({ lease }) => engine.stop(lease, options)))
  await engine.close()
}
