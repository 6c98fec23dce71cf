/** How a deployment gets on until it runs, or does not: a line for each event, then where it is reached. */
import { EXIT, Failure } from '../shell/failure.ts'
import type { GatewayClient } from '../shell/gateway-client.ts'
import { table } from '../shell/terminal.ts'
import type { Flags, Shell } from './command.ts'
import {
  fetchDeployment,
  perHour,
  urlsOf,
  type Deployment,
  type DeploymentEvent,
  type Lease,
} from './deployment-answers.ts'
import { followEvents, pastEvents } from './follow-events.ts'

/** What is followed: events after this one, until these leases run. */
type Followed = { readonly after: number; readonly leases: readonly Lease[] }

/**
 * Follows a deployment until its leases run. Throws Failure when it is closed or fails, and when it is interrupted:
 * then the deployment goes on by itself.
 */
export async function showProgress(
  client: GatewayClient,
  made: Deployment,
  { after, leases }: Followed,
  flags: Flags,
  shell: Shell,
): Promise<void> {
  const { terminal, stops } = shell
  const json = flags['json'] === true
  const say = (text: string): void => (json ? undefined : terminal.err(text))
  say(`${terminal.bold(made.name)}  ${made.id}\n`)
  try {
    let [now, last] = [made, after]
    const awaited = new Set(leases.map(({ id }) => id))
    const show = async (event: DeploymentEvent): Promise<void> => {
      last = event.seq
      if (json) await terminal.out(`${JSON.stringify({ event })}\n`)
      say(eventLine(event, made, now))
    }
    const lost = (why: string): void => say(`${terminal.dim(`${why}; trying again`)}\n`)
    // What is settled already has its story told all the same: it is short, and ends by itself.
    for await (const event of followEvents(client, made.id, after, { signal: stops.stop, lost })) {
      now = await fetchDeployment(client, made.id)
      await show(event)
      if (outcomeOf(now, awaited) !== 'going on') break
    }
    // The state may be ahead of the events that led to it.
    for await (const event of pastEvents(client, made.id, last)) await show(event)
    await conclude(now, awaited, json, shell)
  } catch (error) {
    throw stops.stop.aborted ? detached(made, error) : error
  }
}

async function conclude(
  now: Deployment,
  awaited: ReadonlySet<string>,
  json: boolean,
  { terminal }: Shell,
): Promise<void> {
  if (json) await terminal.out(`${JSON.stringify({ deployment: now })}\n`)
  const outcome = outcomeOf(now, awaited)
  if (outcome === 'failed') throw failed(now)
  if (json) return
  if (outcome === 'waiting') {
    terminal.err(`the choice is yours: baseload bids ${now.name}\n`)
    return
  }
  const urls = urlsOf(now)
  await terminal.out(urls.length === 0 ? `${now.id}\n` : urls.map((url) => `${url}\n`).join(''))
}

type Outcome = 'running' | 'waiting' | 'failed' | 'going on'

function outcomeOf(now: Deployment, awaited: ReadonlySet<string>): Outcome {
  const { closed_at, rule } = now
  const leases = now.leases.filter(({ id }) => awaited.has(id))
  if (closed_at !== null || leases.some(({ state }) => state === 'closed')) return 'failed'
  if (leases.every(({ state }) => state === 'running')) return 'running'
  if (rule !== 'manual') return 'going on'
  const settled = leases.every(({ state }) => state === 'ordered' || state === 'running')
  return settled ? 'waiting' : 'going on'
}

/** `  0.31 s  accepted   node_7f3k… at $0.04/h`. */
function eventLine(event: DeploymentEvent, made: Deployment, now: Deployment): string {
  const seconds = Math.max(0, Date.parse(event.at) - Date.parse(made.created_at)) / 1000
  const phase = event.type.replace(/^(deployment|lease)\./, '')
  const lease = now.leases.find(({ id }) => id === event.lease)
  const words = [...aboutLease(event, lease, now), event.service, event.message]
  const text = words.filter((word) => word !== null && word !== '').join(' · ')
  return `${`${seconds.toFixed(2).padStart(8)} s  ${phase.padEnd(10)}  ${text}`.trimEnd()}\n`
}

function aboutLease(
  { type, message }: DeploymentEvent,
  lease: Lease | undefined,
  { leases }: Deployment,
): string[] {
  if (!lease) return []
  const group = leases.length > 1 ? [lease.group] : []
  if (type !== 'lease.accepted' || lease.node === null || message.includes(lease.node)) return group
  return [...group, `${lease.node} at ${perHour(lease.rate)}`]
}

function failed({ leases, close_reason, name }: Deployment): Failure {
  const lease = leases.find(({ state }) => state === 'closed')
  const why = close_reason ?? lease?.message ?? ''
  return new Failure(EXIT.failure, `${name} does not run: ${why === '' ? 'it was closed' : why}`, {
    code: 'deployment_closed',
    next: `\`baseload logs ${name}\` shows what it wrote, \`baseload events ${name}\` what happened`,
  })
}

const detached = ({ name }: Deployment, cause: unknown): Failure =>
  new Failure(EXIT.interrupted, `detached; ${name} goes on without this command`, {
    code: 'interrupted',
    next: `baseload events -f ${name}    or, to end it:  baseload close ${name}`,
    cause,
  })

/** The services of a deployment and where each is reached. */
export function servicesPage({ leases }: Deployment): string {
  const head = ['service', 'image', 'replicas', 'state', 'restarts', 'reached at']
  const rows = leases.flatMap((lease) =>
    lease.services.map(({ name, image, count, replicas, urls }) => {
      const running = replicas.filter(({ state }) => state === 'running').length
      const restarts = replicas.reduce((sum, one) => sum + one.restarts, 0)
      return [name, image, `${running}/${count}`, lease.state, String(restarts), urls[0] ?? '–']
    }),
  )
  return table([head, ...rows], [4])
}
