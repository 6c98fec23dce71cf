/** Test money for a network on this machine: a chain of its own, an operator with something to put at stake, providers who are paid. */
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Address } from 'viem'
import { Fault, reasonOf } from '../../../core/base/refusal.ts'
import type { LocalChain } from '../../../io/chain/local/local-chain.ts'
import type { Logger } from '../../../io/telemetry/logger.ts'
import { choosePort } from './free-port.ts'

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
/** Where Ethereum nodes are looked for first. */
const CHAIN_PORT = 8545
const PROVIDER_ETHER = '10'

/** Null where there is no anvil for this machine: then nothing is settled on a chain, and it is said. */
export async function openLocalMoney(of: {
  readonly home: string
  readonly nodes: number
  readonly logger: Logger
  readonly say: (text: string) => void
}): Promise<LocalMoney | null> {
  const { home, nodes, logger, say } = of
  const [{ notedPort, startLocalChain }, { loadOperatorKey }] = await Promise.all([
    import('../../../io/chain/local/local-chain.ts'),
    import('../../../io/chain/sending/operator-key.ts'),
  ])
  const folder = join(home, 'chain')
  const contracts = join(folder, 'contracts.json')
  const operator = await loadOperatorKey(join(home, 'gateway', 'chain.key'))
  const providers: Address[] = []
  for (let number = 1; number <= nodes; number++)
    providers.push(
      (await loadOperatorKey(join(home, 'nodes', String(number), 'payout.key'))).address,
    )

  const known = existsSync(contracts)
  const port = await choosePort(undefined, notedPort(folder), CHAIN_PORT)
  const open = async (): Promise<LocalChain> => {
    const chain = await startLocalChain({ folder, logger, say, port })
    try {
      await chain.fund(operator.address, OPERATOR_ETHER, known ? 0n : OPERATOR_UNITS)
      for (const provider of providers) await chain.fund(provider, PROVIDER_ETHER, 0n)
      writeFileSync(contracts, `${JSON.stringify(chain.addresses, null, 2)}\n`)
      return chain
    } catch (error) {
      await chain.stop()
      throw error
    }
  }
  const opening = open().catch((error: unknown) => {
    if (error instanceof Fault && error.code === 'anvil_unsupported_platform') return null
    if (!known) throw error
    say(`the local chain did not start, and payments on it wait: ${reasonOf(error)}`)
    return null
  })
  // A gateway that has met its chain starts meanwhile, and waits for it a little.
  let chain: LocalChain | null = null
  const opened = opening.then((one) => (chain = one))
  if (!known && (await opened) === null) {
    say('no local chain on this platform: payments on a chain are off')
    return null
  }
  const url = `http://127.0.0.1:${port}`
  const flags = {
    settlement: 'chain',
    'chain-rpc': url,
    'chain-public-rpc': url,
    'chain-contracts': contracts,
    // Nobody else mines here.
    'chain-finality': '1',
    'min-withdraw-delay-seconds': '900',
  }
  return {
    gatewayFlags: Object.entries(flags).flatMap(([flag, value]) => [`--${flag}`, value]),
    payoutAddresses: providers,
    pid: () => chain?.pid() ?? null,
    stop: async () => (await opened)?.stop(),
  }
}
