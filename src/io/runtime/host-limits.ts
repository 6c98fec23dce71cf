/** What this machine lets a container have: a limit above its own an engine answers with a failed start. */
import { readFileSync } from 'node:fs'
import type { ContainerLimits } from './container-options.ts'

/** Servers with many connections want this much; the usual default of 1024 is for other times. */
const WANTED_OPEN_FILES = 65_536
/** Counted for a user over all of the host, so it only keeps the worst away; `pids` is the limit that bites. */
const WANTED_PROCESSES = 30_000
const PIDS = 4_096
const LOG_BYTES = 10 << 20

/** From the text of `/proc/self/limits`: the engine's own hard limits are seldom lower than ours. */
export function hostLimits(text: string = readLimits()): ContainerLimits {
  return {
    pids: PIDS,
    openFiles: Math.min(WANTED_OPEN_FILES, hardLimit(text, 'Max open files')),
    processesPerUser: Math.min(WANTED_PROCESSES, hardLimit(text, 'Max processes')),
    logBytes: LOG_BYTES,
  }
}

function hardLimit(text: string, name: string): number {
  const [, hard] = text.match(new RegExp(`^${name}\\s+\\S+\\s+(\\d+)`, 'm')) ?? []
  return hard === undefined ? Number.MAX_SAFE_INTEGER : Number(hard)
}

function readLimits(): string {
  try {
    return readFileSync('/proc/self/limits', 'utf8')
  } catch {
    return ''
  }
}
