/**
 * network.json: how scripts, and every other command, find the network that `baseload up` runs here. It holds
 * the only copy of the keys, so it is 0600 and never half written.
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { reasonOf } from '../../../core/base/refusal.ts'
import { EXIT, Failure } from './failure.ts'

const process = z.object({ pid: z.int().min(1).nullable() })

const networkFile = z.object({
  url: z.string(),
  apiKey: z.string(),
  /** The web console's address; null: there is none. */
  consoleUrl: z.string().nullable(),
  /** Running nodes only. */
  nodes: z.array(z.object({ id: z.string(), pid: z.int().min(1) })).readonly(),
  /** pid null: the network is not running. */
  gateway: process,
  supervisor: process,
  operatorKey: z.string(),
})
export type NetworkFile = z.infer<typeof networkFile>

export const networkFilePath = (home: string): string => join(home, 'network.json')

/** Null when there is none yet. A damaged file is said, not overwritten: it may hold the only key. */
export function readNetworkFile(home: string): NetworkFile | null {
  const path = networkFilePath(home)
  try {
    return networkFile.parse(JSON.parse(readFileSync(path, 'utf8')))
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null
    const why = error instanceof z.ZodError ? z.prettifyError(error) : reasonOf(error)
    throw new Failure(EXIT.failure, `cannot read ${path}: ${why}`, {
      next: 'move it away to get new keys; balances and receipts stay in the database',
      cause: error,
    })
  }
}

/** Replaces the file in one step: a reader sees the old one or the new one. */
export function writeNetworkFile(home: string, network: NetworkFile): void {
  const path = networkFilePath(home)
  writeFileSync(`${path}.new`, `${JSON.stringify(network, null, 2)}\n`, { mode: 0o600 })
  renameSync(`${path}.new`, path)
}
