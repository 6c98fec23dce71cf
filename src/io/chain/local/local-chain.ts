/**
 * A chain of one's own for trying things: an anvil on the loopback with our contracts and test money, kept in a folder. A
 * block follows on another only when all before is on disk, so a SIGKILL loses at most the newest block, which is not final.
 */
import {
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
  openSync,
  fsyncSync,
  closeSync,
} from 'node:fs'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseEther, type Address } from 'viem'
import { privateKeyToAccount, type PrivateKeyAccount } from 'viem/accounts'
import { z } from 'zod'
import { Fault, reasonOf } from '../../../core/base/refusal.ts'
import { loadSecret } from '../../keys/secret.ts'
import { sha256Hex } from '../../keys/identity.ts'
import type { Logger } from '../../telemetry/logger.ts'
import type { ContractAddresses } from '../addresses.ts'
import { startAnvil, type Anvil } from './anvil.ts'
import { deployContracts, mintTestMoney, topUp, type DevelopmentChain } from './deploy.ts'
import { endOrphan, notePid } from './orphan.ts'

export type LocalChain = {
  readonly url: string
  readonly chainId: number
  readonly addresses: ContractAddresses
  readonly guardian: Address
  /** Of the anvil that runs now; null while it is down. */
  readonly pid: () => number | null
  /** Gives it at least this ether, and adds test dollars: worth nothing. */
  readonly fund: (to: Address, ether: string, units: bigint) => Promise<void>
  readonly stop: () => Promise<void>
}

export type LocalChainOptions = {
  readonly folder: string
  readonly logger: Logger
  /** 0: that of last time, else a free one. */
  readonly port?: number
  readonly blockMs?: number
  readonly say?: (line: string) => void
}

const CHAIN_ID = 31_337
const BLOCK_MS = 1_000
/** Blocks that follow on the last with a transaction, so that it becomes final wherever people wait for so many. */
const QUIET_AFTER = 16
/** States of past blocks: more than anybody waits for, and 200 KB each, written with every block. */
const STATES_KEPT = 32
/** Even so a quiet chain's clock goes on. */
const IDLE_BLOCK_MS = 60_000
const FIRST_RESTART_MS = 100
const LAST_RESTART_MS = 5_000

/** Resolves when the contracts are there: about 2 s the first time. */
export async function startLocalChain(options: LocalChainOptions): Promise<LocalChain> {
  const { logger, blockMs = BLOCK_MS, say = () => {} } = options
  const folder = resolve(options.folder)
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  await endOrphan(join(folder, 'anvil.pid'))
  const port = options.port || (notedPort(folder) ?? 0)
  const first = await launch(folder, port, options.port !== undefined && options.port > 0)
  let anvil: Anvil | null = first
  const url = first.url
  writeFileSync(join(folder, 'port'), `${new URL(url).port}\n`)
  const state = { quiet: 0, minedAt: 0, unsaved: true }
  const stopping = new AbortController()

  const running = (): Anvil => {
    if (anvil !== null) return anvil
    throw new Fault('anvil_failed', 'The local chain is just starting again.', { retryable: true })
  }
  /** One at a time: a block, and then the disk. */
  let turn: Promise<void> = Promise.resolve()
  const mine = (): Promise<void> => {
    turn = turn
      .catch(() => {})
      .then(async () => {
        const { rpc } = running()
        if (state.unsaved) await save(folder, rpc)
        await rpc('evm_mine')
        state.minedAt = performance.now()
        state.unsaved = true
        await save(folder, rpc)
        state.unsaved = false
      })
    return turn
  }
  const chain: DevelopmentChain = { rpc: (method, params) => running().rpc(method, params), mine }
  const keys = keysOf(folder)
  const addresses = await deployContracts(chain, {
    guardian: keys.guardian,
    auditors: keys.auditors.map(({ address }) => address),
  })
  await mine()
  say(`local chain at ${url}: TEST MONEY, worth nothing (chain ${CHAIN_ID})`)
  logger.info('local chain up', { pid: first.pid, url })

  const beat = async (): Promise<void> => {
    const status = poolSchema.parse(await chain.rpc('txpool_status'))
    const waiting = BigInt(status.pending) > 0n
    if (waiting) state.quiet = 0
    const idle = state.quiet >= QUIET_AFTER && performance.now() - state.minedAt < IDLE_BLOCK_MS
    if (!waiting && idle) return
    await mine()
    state.quiet += 1
  }
  const watch = (watched: Anvil): void => {
    void watched.exited.then(() => {
      if (anvil === watched) anvil = null
    })
  }
  watch(first)
  const living = (async () => {
    let restartMs = FIRST_RESTART_MS
    while (!stopping.signal.aborted) {
      await sleep(blockMs, undefined, { signal: stopping.signal }).catch(() => {})
      if (stopping.signal.aborted) return
      try {
        if (anvil === null) {
          anvil = await launch(folder, Number(new URL(url).port), true)
          watch(anvil)
          state.unsaved = true
          logger.info('local chain restarted', { pid: anvil.pid })
        }
        await beat()
        restartMs = FIRST_RESTART_MS
      } catch (error) {
        logger.warn('the local chain failed; it is tried again', { error: reasonOf(error) })
        await sleep(restartMs, undefined, { signal: stopping.signal }).catch(() => {})
        restartMs = Math.min(2 * restartMs, LAST_RESTART_MS)
      }
    }
  })()
  return {
    url,
    chainId: CHAIN_ID,
    addresses,
    guardian: keys.guardian.address,
    pid: () => anvil?.pid ?? null,
    async fund(to, ether, units) {
      const missing = await topUp(chain, to, parseEther(ether))
      if (!missing && units === 0n) return
      if (units > 0n)
        await mintTestMoney(chain, keys.guardian, { token: addresses.token, to, units })
      await mine()
    },
    async stop() {
      stopping.abort()
      await living
      await turn.catch(() => {})
      const last = anvil
      anvil = null
      if (last) await save(folder, last.rpc).catch(() => {})
      await last?.stop()
      rmSync(join(folder, 'anvil.pid'), { force: true })
    },
  }
}

/** With what was kept last. `strict`: at that port or not at all; else at a free one when another program has it. */
async function launch(folder: string, port: number, strict: boolean): Promise<Anvil> {
  const marker = join(folder, 'anvil.json')
  const args = [
    '--no-mining',
    '--config-out',
    marker,
    '--prune-history',
    String(STATES_KEPT),
    '--timestamp',
    String(genesisTime(folder)),
  ]
  const started = await startAnvil({ port, chainId: CHAIN_ID, args }).catch(
    async (error: unknown) => {
      if (strict || port === 0) throw error
      return await startAnvil({ chainId: CHAIN_ID, args })
    },
  )
  notePid(join(folder, 'anvil.pid'), started.pid, marker)
  const saved = join(folder, 'state.hex')
  if (existsSync(saved)) await started.rpc('anvil_loadState', [readFileSync(saved, 'utf8')])
  // Else its clock would go on from the first block's.
  const { timestamp } = blockSchema.parse(
    await started.rpc('eth_getBlockByNumber', ['latest', false]),
  )
  await started.rpc('anvil_setTime', [Math.max(Number(timestamp), nowS())])
  return started
}

const blockSchema = z.object({ timestamp: z.string() })
const nowS = (): number => Math.floor(Date.now() / 1000)

/** Seconds since 1970. Each anvil makes a first block before it takes up the others: it must be the same one each time. */
function genesisTime(folder: string): number {
  const file = join(folder, 'genesis')
  if (!existsSync(file)) writeFileSync(file, `${nowS()}\n`)
  return Number(readFileSync(file, 'utf8'))
}

const poolSchema = z.object({ pending: z.string() })

/** Of last time; null: there was none. */
export function notedPort(folder: string): number | null {
  const file = join(folder, 'port')
  return existsSync(file) ? Number(readFileSync(file, 'utf8')) : null
}

/** Whole or not at all, whatever happens meanwhile; with the states of the last blocks, which are read at the final one. */
async function save(folder: string, rpc: Anvil['rpc']): Promise<void> {
  const dump = z.string().parse(await rpc('anvil_dumpState', [true]))
  const draft = join(folder, 'state.draft')
  const file = openSync(draft, 'w', 0o600)
  writeFileSync(file, dump)
  fsyncSync(file)
  closeSync(file)
  renameSync(draft, join(folder, 'state.hex'))
}

/** Keys of this folder's own: anvil's usual ones are known to everybody. */
function keysOf(folder: string): {
  readonly guardian: PrivateKeyAccount
  readonly auditors: readonly PrivateKeyAccount[]
} {
  const secret = loadSecret(join(folder, 'secret')).toString('hex')
  const account = (name: string): PrivateKeyAccount =>
    privateKeyToAccount(`0x${sha256Hex(`${name}/${secret}`)}`)
  const auditors = ['auditor 1', 'auditor 2', 'auditor 3'].map(account)
  return { guardian: account('guardian'), auditors }
}
