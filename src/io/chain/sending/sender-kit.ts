/** For tests: all that sends, over a database and a chain; and the same as a program of its own that can be killed. */
import { createInterface } from 'node:readline'
import type { Hex } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import type { ChainAction } from '../../store/chain-records.ts'
import { createPostgresStore } from '../../store/postgres-store.ts'
import type { Store } from '../../store/store.ts'
import { silentLogger } from '../../telemetry/logger.ts'
import { createFinality, type Finality } from './finality.ts'
import { openRpc, type ChainRpc } from './rpc.ts'
import { createSender, type Sender, type SenderOptions, type SenderStep } from './sender.ts'

export type SendingSetup = {
  readonly databaseUrl: string
  readonly rpcUrls: readonly string[]
  readonly key: Hex
  readonly gateway: string
  readonly depth: number
  readonly maxFeeWei?: bigint
  readonly raiseAfterMs?: number
  readonly resendAfterMs?: number
}

export type TestSending = {
  readonly store: Store
  readonly rpc: ChainRpc
  readonly finality: Finality
  readonly sender: Sender
  readonly settled: ChainAction[]
  /** Looks at the chain, then sends; as often as wanted. */
  readonly turn: (times?: number) => Promise<void>
  readonly close: () => Promise<void>
}

export async function openSending(
  setup: SendingSetup,
  onStep: NonNullable<SenderOptions['onStep']> = () => {},
): Promise<TestSending> {
  const logger = silentLogger
  const store = await createPostgresStore({ url: setup.databaseUrl, logger, connections: 3 })
  const rpc = await openRpc({ urls: setup.rpcUrls, logger, deadlineMs: 1_000 })
  const finality = await createFinality({ rpc, store, logger, depth: setup.depth })
  const settled: ChainAction[] = []
  const sender = createSender({
    rpc,
    store,
    finality,
    logger,
    onStep,
    account: privateKeyToAccount(setup.key),
    gateway: setup.gateway,
    maxFeeWei: setup.maxFeeWei ?? 10n ** 12n,
    raiseAfterMs: setup.raiseAfterMs ?? 60_000,
    resendAfterMs: setup.resendAfterMs ?? 60_000,
    onSettled: (action) => settled.push(action),
  })
  const turn = async (times = 1): Promise<void> => {
    for (let i = 0; i < times; i++) {
      await finality.look()
      await sender.round()
    }
  }
  const close = async (): Promise<void> => {
    await sender.close()
    await store.close()
  }
  return { store, rpc, finality, sender, settled, turn, close }
}

/** Where the program ends itself: the `nth` time it comes to `step`. */
export type Death = { readonly step: SenderStep; readonly nth: number }

/** Reads `[setup, death]` from its first line of input, works until then or until its input ends. */
export async function runVictim(): Promise<void> {
  for await (const line of createInterface({ input: process.stdin })) {
    const [setup, death]: [SendingSetup, Death | null] = JSON.parse(line)
    let count = 0
    const { turn } = await openSending(setup, (step) => {
      if (step !== death?.step) return
      count += 1
      if (count === death.nth) process.kill(process.pid, 'SIGKILL')
    })
    for (;;) await turn()
  }
}
