/** What a killed supervisor left behind: its children end by themselves; those that cannot are ended here. */
import { setTimeout as sleep } from 'node:timers/promises'
import { isRunning, type ProcessIdentity } from './process-identity.ts'
import { signalGroup } from './supervised-process.ts'

const LOOK_EVERY_MS = 25

/** Asks each to stop, and kills what still runs after `graceMs`. Never touches a pid that another process has now. */
export async function endLeftovers(
  leftovers: readonly ProcessIdentity[],
  graceMs: number,
): Promise<void> {
  for (const leftover of leftovers) if (isRunning(leftover)) signalGroup(leftover.pid, 'SIGTERM')
  const deadline = performance.now() + graceMs
  while (leftovers.some(isRunning) && performance.now() < deadline) await sleep(LOOK_EVERY_MS)
  for (const leftover of leftovers) if (isRunning(leftover)) signalGroup(leftover.pid, 'SIGKILL')
  while (leftovers.some(isRunning)) await sleep(LOOK_EVERY_MS)
}
