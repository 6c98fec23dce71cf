/** Test money for a network on this machine: a chain of its own, an operator with something to put at stake, providers who are paid. */
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Fault } from '../../../core/base/refusal.ts'
import type { Logger } from '../../../io/telemetry/logger.ts'

export type LocalMoney = {
  /** What the gateway is told. */
  readonly gatewayFlags: readonly string[]
  /** Of each node's provider, in the nodes' order. */
  readonly payoutAddresses: readonly string[]
  readonly pid: () => number | null
  stop(): Promise<void>
}

/** For a bond of 100 and the first roots. */
const OPERATOR_UNITS = 1_000n * 1_000_000n
/** Ether for gas. */
const OPERATOR_ETHER = '1000'
const PROVIDER_ETHER = '10'

/** Null where there is no anvil for this machine: then nothing is settled on a chain, and it is said. */
export async function openLocalMoney(of: {
  readonly home: string
  readonly nodes: number
  readonly logger: Logger
  readonly say: (text: string) => void
}): Promise<LocalMoney | null> {
  const { home, nodes, logger, say } = of
  const [{ startLocalChain }, { loadOperatorKey }] = await Promise.all([
    import('../../../io/chain/local-chain.ts'),
    import('../../../io/chain/operator-key.ts'),
  ])
  const folder = join(home, 'chain')
  const chain = await startLocalChain({ folder, logger, say }).catch((error: unknown) => {
    if (!(error instanceof Fault) || error.code !== 'anvil_unsupported_platform') throw error
    say('no local chain on this platform: payments on a chain are off')
    return null
  })
  if (chain === null) return null
  try {
    const contracts = join(folder, 'contracts.json')
    const operator = await loadOperatorKey(join(home, 'gateway', 'chain.key'))
    await chain.fund(operator.address, OPERATOR_ETHER, existsSync(contracts) ? 0n : OPERATOR_UNITS)
    const payoutAddresses: string[] = []
    for (let number = 1; number <= nodes; number++) {
      const { address } = await loadOperatorKey(join(home, 'nodes', String(number), 'payout.key'))
      await chain.fund(address, PROVIDER_ETHER, 0n)
      payoutAddresses.push(address)
    }
    writeFileSync(contracts, `${JSON.stringify(chain.addresses, null, 2)}\n`)
    const flags = {
      settlement: 'chain',
      'chain-rpc': chain.url,
      'chain-public-rpc': chain.url,
      'chain-contracts': contracts,
      // Nobody else mines here.
      'chain-finality': '1',
      'min-withdraw-delay-seconds': '900',
    }
    return {
      gatewayFlags: Object.entries(flags).flatMap(([flag, value]) => [`--${flag}`, value]),
      payoutAddresses,
      pid: chain.pid,
      stop: chain.stop,
    }
  } catch (error) {
    await chain.stop()
    throw error
  }
}
