/** How findings are written for people: what was seen, and for each problem its cause and its fix. */
import { gpuName } from '../../../core/protocol/capacity.ts'
import type { RunningServer } from '../../../io/engine/openai/discover.ts'
import { gib, ok, warn, type CheckResult } from '../../../io/probe/check-result.ts'
import type { Hardware } from '../../../io/probe/hardware.ts'
import { foundGpuName, type GpuOffer } from '../../node/leases/host-gpus.ts'
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

/** Which GPUs containers could have, and why not. They are warnings: a node works without. */
export function gpuResults({ gpus, withheld, problems }: GpuOffer): CheckResult[] {
  return [
    ...gpus.map((gpu) => ok('gpu', `${gpuName(gpu)}, as ${gpu.cdi}`, { cdi: gpu.cdi })),
    ...withheld.map(({ gpu, cause, fix }) =>
      warn('gpu', { found: foundGpuName(gpu), cause, fix, details: { index: gpu.index } }),
    ),
    ...problems.map((found) =>
      warn('gpu', {
        found,
        cause: 'a GPU whose driver does not answer cannot be leased',
        fix: 'run that tool by hand: it says what is wrong with the driver',
      }),
    ),
  ]
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
