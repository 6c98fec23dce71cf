/** How findings are written for people: what was seen, and for each problem its cause and its fix. */
import type { RunningServer } from '../../../io/engine/openai/discover.ts'
import { gib, type CheckResult } from '../../../io/probe/check-result.ts'
import type { Hardware } from '../../../io/probe/hardware.ts'
import { describeBackend, type EngineState } from './engine-install.ts'

const MARKS = { ok: '✓', warn: '!', fail: '✗' } as const

export function findingText({ check, status, found, cause, fix }: CheckResult): string {
  const lines = [`  ${MARKS[status]} ${check.padEnd(16)} ${found}`]
  if (cause !== null) lines.push(`      because: ${cause}`)
  if (fix !== null) lines.push(`      → ${fix}`)
  return `${lines.join('\n')}\n`
}

export function hardwareText({ cpuModel, cores, memoryBytes, gpus }: Hardware): string {
  const names = gpus.map(({ name, memoryMiB }) =>
    memoryMiB === null ? name : `${name}, ${(memoryMiB / 1024).toFixed(0)} GiB`,
  )
  return [
    `  processor  ${cpuModel}, ${cores} cores`,
    `  memory     ${gib(memoryBytes)}`,
    `  GPU        ${names.join('; ') || 'none that nvidia-smi knows of'}\n`,
  ].join('\n')
}

export function engineText({ possible, installed }: EngineState): string {
  const lines = possible.map(
    (backend) => `  ${installed.includes(backend) ? '✓' : '·'} ${describeBackend(backend)}`,
  )
  const [best] = possible
  if (best !== undefined && !installed.includes(best))
    lines.push(`  → baseload doctor --install ${best}`)
  return `${lines.join('\n') || '  no build of llama.cpp for this machine'}\n`
}

export function serverText(server: RunningServer, gateway: string): string {
  const what = server.needsKey ? 'it wants a key' : `models: ${server.models.join(', ') || 'none'}`
  return `  ${server.software} at ${server.upstream}; ${what}\n  → ${sellCommand(server, gateway)}\n`
}

/** What a person types to sell a server that runs already. */
export const sellCommand = ({ upstream, needsKey }: RunningServer, gateway: string): string =>
  `baseload join ${gateway} --engine openai --upstream ${upstream}${needsKey ? ' --upstream-key-env UPSTREAM_API_KEY' : ''}`
