/** How much memory a gateway needs for a network that is linked and has nothing to do. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { EmbeddedPostgres } from '../../src/io/store/embedded-postgres.ts'
import { newDatabase, startGateway, startNodes } from './baseload.ts'
import { cpuMs, openFilesLimit, residentMB } from './machine.ts'
import type { Setting } from './targets.ts'

export const IDLE_LINKS = 5_600
/** Links a process: each is a socket and some timers there, too. */
const LINKS_PER_PROCESS = 2_800
/** Beside the links: the program's own files and sockets. */
const OTHER_FILES = 200

export type IdleLinks = {
  readonly residentMB: number
  readonly residentBeforeMB: number
  /** Of one core, for the heartbeats of all links. */
  readonly cpuShare: number
}

/** Real handshakes: every node has its own key, signs the gateway's challenge and its offer. */
export async function measureIdleLinks(
  setting: Setting,
  database: EmbeddedPostgres,
  settleMs: number,
): Promise<IdleLinks> {
  if (openFilesLimit() < IDLE_LINKS + OTHER_FILES)
    throw new Error(`${IDLE_LINKS} links need as many open files: \`ulimit -n 8192\` first`)
  const gateway = await startGateway(setting, await newDatabase(database, 'idle'), 'idle')
  const { pid } = gateway.process
  const residentBeforeMB = residentMB(pid)
  const processes = []
  for (let linked = 0; linked < IDLE_LINKS; linked += LINKS_PER_PROCESS)
    processes.push(await startNodes(setting, gateway.port, LINKS_PER_PROCESS))
  const cpuBefore = cpuMs(pid)
  await sleep(settleMs)
  const cpuShare = (cpuMs(pid) - cpuBefore) / settleMs
  const resident = residentMB(pid)
  await Promise.all([gateway.process.stop(), ...processes.map((nodes) => nodes.stop())])
  return { residentMB: resident, residentBeforeMB, cpuShare }
}
