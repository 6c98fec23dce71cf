/** Which container a command means: named by service and replica, or the only one there is. */
import type { Command } from 'commander'
import { EXIT, Failure } from '../shell/failure.ts'
import { textOf, type Flags } from './command.ts'
import type { Deployment, Lease, Service } from './deployment-answers.ts'

export type Target = { readonly lease: string; readonly service: string; readonly replica: number }

/** A service as it runs in one lease. */
type Place = { readonly lease: Lease; readonly service: Service }

/** `--service`, `--lease` and, where one container is meant, `--replica`. */
export function withTarget(command: Command): Command {
  return command
    .option('--service <name>', 'which service, where there is more than one')
    .option('--replica <number>', 'which of its replicas, from 0', replicaNumber)
    .option('--lease <id>', 'which lease, where more than one has the service')
}

/** The one that is meant. Throws Failure, with the choices, where that is not clear. */
export function targetOf(
  deployment: Deployment,
  flags: Flags,
  likely: (service: Service) => boolean = () => true,
): Target {
  const places = placesOf(deployment, flags)
  const [first, ...others] =
    places.length === 1 ? places : places.filter(({ service }) => likely(service))
  if (first && others.length === 0)
    return { lease: first.lease.id, service: first.service.name, replica: replicaOf(flags) ?? 0 }
  const names = [...new Set(places.map(({ service }) => service.name))]
  if (names.length === 1)
    throw new Failure(EXIT.usage, `more than one lease of ${deployment.name} has ${names[0]}`, {
      next: `say which: --lease ${places.map(({ lease }) => lease.id).join(' | ')}`,
    })
  throw new Failure(EXIT.usage, `${deployment.name} has more than one service`, {
    next: `say which: --service ${names.join(' | ')}`,
  })
}

/** All that fit: every replica where none is named. */
export function targetsOf(deployment: Deployment, flags: Flags): Target[] {
  const replica = replicaOf(flags)
  return placesOf(deployment, flags).flatMap(({ lease, service }) => {
    const all = Array.from({ length: service.count }, (_, i) => i)
    const wanted = replica === undefined ? all : [replica]
    return wanted.map((one) => ({ lease: lease.id, service: service.name, replica: one }))
  })
}

/** `web`, or `web/2` where it is one of several. */
export const nameOf = ({ service, replica }: Target, all: readonly Target[]): string =>
  all.some((other) => other.service === service && other.replica !== replica)
    ? `${service}/${replica}`
    : service

function placesOf(deployment: Deployment, flags: Flags): Place[] {
  const [service, lease] = [textOf(flags, 'service'), textOf(flags, 'lease')]
  const all = deployment.leases.flatMap((one) =>
    one.services.map((each) => ({ lease: one, service: each })),
  )
  const found = all.filter(
    (place) =>
      (service === undefined || place.service.name === service) &&
      (lease === undefined || place.lease.id === lease),
  )
  if (found.length > 0) return found
  const names = [...new Set(all.map((place) => place.service.name))].join(', ')
  const what = [service && `service '${service}'`, lease && `lease '${lease}'`].filter(Boolean)
  throw new Failure(EXIT.usage, `${deployment.name} has no ${what.join(' in ') || 'service'}`, {
    next: names === '' ? `\`baseload deployments ${deployment.name}\`` : `it has ${names}`,
  })
}

const replicaOf = (flags: Flags): number | undefined => {
  const { replica } = flags
  return typeof replica === 'number' ? replica : undefined
}

function replicaNumber(text: string): number {
  if (/^\d{1,3}$/.test(text)) return Number(text)
  throw new Failure(EXIT.usage, `--replica takes a number from 0 to 999, not '${text}'`)
}
