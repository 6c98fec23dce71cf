/** An SDL file in words: groups, what each copy gets, how it is reached, and what it may cost at most. */
import type { GpuModel } from '../protocol/resources.ts'
import { isIngress, outerPort, type ExposedPort } from './expose.ts'
import type { Placed, PlannedGroup } from './plan.ts'
import { amountText, rateText } from './price.ts'
import { bytesText, cpuText } from './quantity.ts'
import { short } from './report.ts'
import type { Sdl } from './sdl.ts'

/** For people; no secret is in it. */
export function explainSdl(sdl: Sdl): string {
  const { document, planned } = sdl
  const services = planned.reduce((sum, group) => sum + group.services.length, 0)
  const lines = [
    `SDL ${document.version}: ${plural(services, 'service')} in ${plural(planned.length, 'group')}`,
    ...planned.flatMap(groupLines),
  ]
  if (document.minNoticeS !== null)
    lines.push(`A provider gives at least ${document.minNoticeS} s of notice before it closes.`)
  return `${lines.join('\n')}\n`
}

export const plural = (count: number, noun: string): string =>
  `${count} ${noun}${count === 1 ? '' : 's'}`

function groupLines(group: PlannedGroup): string[] {
  const { placement, services } = group
  const total = services.reduce((sum, { price, count }) => sum + price.rate * BigInt(count), 0n)
  const conversions = new Set(services.map(({ price }) => price.conversion))
  return [
    '',
    `group ${placement.name}${conditionsText(group)}`,
    ...services.flatMap(serviceLines),
    `  all together at most ${rateText(total)}`,
    ...[...conversions].map((conversion) => `  prices: ${conversion}`),
  ]
}

function conditionsText({ placement, tee }: PlannedGroup): string {
  const { attributes, signedBy } = placement
  const parts = [
    ...attributes.map(([key, text]) => `${key}=${short(text)}`),
    ...(tee === null ? [] : [`tee/type=${tee}`]),
    ...(signedBy.anyOf.length > 0 ? [`signed by any of ${signedBy.anyOf.length}`] : []),
    ...(signedBy.allOf.length > 0 ? [`signed by all of ${signedBy.allOf.length}`] : []),
  ]
  return parts.length === 0 ? ': any node' : `: nodes with ${parts.join(', ')}`
}

function serviceLines(placed: Placed): string[] {
  const { service, count, price } = placed
  const mounts = service.params?.mounts ?? []
  const reached = service.expose.flatMap(reachedText)
  return [
    `  ${service.name}: ${count} × ${short(service.image)}`,
    `    each ${resourcesText(placed)}`,
    ...mounts.map(
      ({ volume, path, readOnly }) =>
        `    ${short(path)} is the volume ${short(volume)}${readOnly ? ', read-only' : ''}`,
    ),
    ...reached.map((text) => `    ${text}`),
    `    each at most ${rateText(price.rate)} (${amountText(price)})`,
  ]
}

function resourcesText({ compute }: Placed): string {
  const { cpuMilli, cpuArch, memoryBytes, gpu, volumes } = compute
  return [
    `${cpuText(cpuMilli)}${cpuArch === null ? '' : ` (${cpuArch})`}`,
    `${bytesText(memoryBytes)} of memory`,
    ...(gpu ? [`${plural(gpu.units, 'GPU')} (${gpu.anyOf.map(gpuText).join(' or ')})`] : []),
    ...volumes.map((volume) => {
      const kind =
        volume.class === 'ram'
          ? 'in memory'
          : volume.persistent
            ? `persistent, class ${volume.class}`
            : 'until it ends'
      return `${bytesText(volume.bytes)} of ${short(volume.name)} (${kind})`
    }),
  ].join(', ')
}

function gpuText({ vendor, model, ramBytes, interface: link }: GpuModel): string {
  const parts = [vendor, model ?? 'any model']
  if (ramBytes !== null) parts.push(bytesText(ramBytes))
  if (link !== null) parts.push(link)
  return parts.join(' ')
}

function reachedText(exposed: ExposedPort): string[] {
  const { port, proto, hosts, to } = exposed
  const outer = outerPort(exposed)
  const world = to.filter(({ global }) => global)
  const near = to.flatMap(({ service }) => (service === null ? [] : [service]))
  const lines = world.map(({ ip }) =>
    ip !== null
      ? `reached at the leased IP '${ip}', port ${outer}/${proto}`
      : isIngress(exposed)
        ? `reached by URL${hosts.length > 0 ? ` and as ${hosts.join(', ')}` : ''} (port ${port})`
        : `reached at a port of its own (${port}/${proto})`,
  )
  if (near.length > 0) lines.push(`reached by ${near.join(', ')} at port ${outer}/${proto}`)
  else if (world.length === 0) lines.push(`reached by its group at port ${outer}/${proto}`)
  return lines
}
