/** What the runtime says, as a gateway and a tenant read it. */
import type { LeasePhase, ReplicaReport } from '../../../core/protocol/lease-control.ts'
import type { PullProgress, ReplicaStatus, RuntimeEvent } from '../../../io/runtime/runtime.ts'
import { gib } from './room.ts'

type ContainerEvent = Exclude<
  RuntimeEvent,
  { type: 'image.progress' | 'firewall.restored' | 'watch.failed' }
>

export const replicaReport = (status: ReplicaStatus): ReplicaReport => ({
  service: status.service,
  replica: status.replica,
  state: status.state,
  healthy: status.healthy,
  exitCode: status.exitCode,
  restarts: status.restarts,
})

/** What a lease does that was started: `failed` when nothing of it will run again by itself. */
export function phaseOf(
  replicas: readonly ReplicaStatus[],
  wanted: number,
): { phase: LeasePhase; message: string } {
  const ills = replicas.flatMap((one) => illOf(one) ?? [])
  const missing = wanted - replicas.length
  if (missing > 0) ills.push(`${missing} of ${wanted} containers are missing`)
  if (ills.length === 0) return { phase: 'running', message: '' }
  const message = ills.join('; ')
  const lost = replicas.every(({ stopped }) => stopped !== null)
  return { phase: lost ? 'failed' : 'degraded', message }
}

function illOf(one: ReplicaStatus): string | null {
  const name = nameOf(one)
  if (one.stopped === 'disk') return `${name} was stopped: it wrote more than it leased`
  if (one.stopped === 'exit') return `${name} exited with ${one.exitCode} and stays so`
  if (one.state === 'exited') return `${name} exited with ${one.exitCode}`
  if (one.state === 'created') return `${name} has not started`
  return one.healthy === false ? `${name} is unhealthy` : null
}

/** Type and message of an event report. */
export function eventWords(event: ContainerEvent): { type: string; message: string } {
  const name = nameOf(event)
  switch (event.type) {
    case 'container.started':
      return { type: event.type, message: `${name} started` }
    case 'container.exited': {
      const next =
        event.restartInMs === null
          ? 'it stays so'
          : `restarting in ${(event.restartInMs / 1000).toFixed(1)} s`
      if (event.cause === 'removed')
        return {
          type: 'container.removed',
          message: `${name} was removed by somebody at its node; ${next}`,
        }
      return event.cause === 'oom'
        ? { type: 'container.oom', message: `${name} used more memory than it leased; ${next}` }
        : { type: event.type, message: `${name} exited with ${event.exitCode}; ${next}` }
    }
    case 'container.health':
      return event.healthy
        ? { type: 'container.healthy', message: `${name} is healthy` }
        : { type: 'container.unhealthy', message: `${name} is unhealthy` }
    case 'disk.exceeded': {
      const where = event.volume === null ? 'outside of volumes' : `in volume ${event.volume}`
      const numbers = `${gib(event.usedBytes)} of ${gib(event.limitBytes)}`
      return { type: event.type, message: `${name} wrote ${numbers} ${where} and was stopped` }
    }
  }
}

const nameOf = ({ service, replica }: { service: string; replica: number }): string =>
  `${service}/${replica}`

/** Adds up the layers of the image that is pulled now. */
export class PullWords {
  #image = ''
  readonly #layers = new Map<string, { bytes: number; totalBytes: number }>()

  add({ image, phase, layer, bytes, totalBytes }: PullProgress): string {
    if (image !== this.#image) this.#layers.clear()
    this.#image = image
    const known = layer === null ? undefined : this.#layers.get(layer)
    if (layer !== null && bytes !== null && totalBytes !== null && phase === 'Downloading')
      this.#layers.set(layer, { bytes, totalBytes })
    else if (layer !== null && known) this.#layers.set(layer, { ...known, bytes: known.totalBytes })
    const all = [...this.#layers.values()]
    const total = all.reduce((sum, one) => sum + one.totalBytes, 0)
    if (total === 0) return `pulling ${image}`
    const have = all.reduce((sum, one) => sum + one.bytes, 0)
    return `pulling ${image}: ${gib(have)} of ${gib(total)}`
  }
}
