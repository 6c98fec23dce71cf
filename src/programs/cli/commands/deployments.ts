/** `baseload deployments`, `leases` and `close`: what runs, where, since when and for how much. */
import type { Command } from 'commander'
import { table } from '../shell/terminal.ts'
import { minutes, understand } from './answers.ts'
import { clientOf, describeClient, print, type Flags, type Shell } from './command.ts'
import {
  deployment,
  deploymentPath,
  fetchDeployment,
  fetchDeployments,
  perHour,
  stateOf,
  urlsOf,
  type Deployment,
  type Lease,
} from './deployment-answers.ts'
import { servicesPage } from './deploy-progress.ts'
import { fetchSnapshots } from './snapshot-answers.ts'

export function deploymentsCommand(command: Command, shell: Shell): Command {
  return describeClient(
    command.argument('[deployment]', 'id or name: all about one'),
    'List the deployments of this account, or show one and where it is reached',
    'baseload deployments',
    "baseload deployments shop --json | jq -r '.leases[].services[].urls[]'",
  )
    .option('--closed', 'with those that are closed')
    .action(async (id: string | undefined, flags: Flags) => {
      const client = clientOf(flags, shell)
      if (id === undefined) {
        const all = await fetchDeployments(client, flags['closed'] === true)
        return print(flags, shell.terminal, { deployments: all }, () => deploymentsPage(all))
      }
      const one = await fetchDeployment(client, id)
      await print(flags, shell.terminal, one, () => deploymentPage(one))
    })
}

export function leasesCommand(command: Command, shell: Shell): Command {
  return describeClient(
    command.argument('[deployment]', 'id or name; without it, of all'),
    'List leases: on which node, in which state, at what price',
    'baseload leases',
    'baseload leases shop',
  ).action(async (id: string | undefined, flags: Flags) => {
    const client = clientOf(flags, shell)
    const of =
      id === undefined ? await fetchDeployments(client, false) : [await fetchDeployment(client, id)]
    const leases = of.flatMap((one) =>
      one.leases.map((lease) => ({ ...lease, deployment: one.name })),
    )
    await print(flags, shell.terminal, { leases }, () => leasesPage(leases))
  })
}

export function closeCommand(command: Command, shell: Shell): Command {
  return describeClient(
    command.argument('<deployment>', 'id or name'),
    'Close a deployment and all of its leases, for ever',
    'baseload close shop',
  ).action(async (id: string, flags: Flags) => {
    const client = clientOf(flags, shell)
    const found = await fetchDeployment(client, id)
    // Before it is closed: a failure to read them must not look like a failure to close it.
    const { data: snapshots } = await fetchSnapshots(client, found.id)
    const answer = await client.delete(deploymentPath(found.id))
    await print(flags, shell.terminal, answer, () => {
      const { name, spent } = understand(deployment, answer)
      return `${name} is closed; it cost $${spent.usd}\n`
    })
    if (flags['json'] !== true && snapshots.some(({ state }) => state === 'ready'))
      shell.terminal.err(`its snapshots are kept for 24 hours: baseload export ${found.id}\n`)
  })
}

function deploymentsPage(all: readonly Deployment[]): string {
  if (all.length === 0) return 'Nothing is deployed. Begin with: baseload deploy app.yaml\n'
  const head = ['name', 'id', 'state', 'leases', 'price', 'spent', 'created', 'reached at']
  const rows = all.map((one) => [
    one.name,
    one.id,
    stateOf(one),
    String(one.leases.length),
    perHour(one.rate),
    `$${one.spent.usd}`,
    minutes(one.created_at),
    urlsOf(one)[0] ?? '–',
  ])
  return table([head, ...rows], [3, 4, 5])
}

function deploymentPage(one: Deployment): string {
  const closed = one.closed_at === null ? [] : [['closed', closedText(one)]]
  const messages = one.leases.filter(({ message }) => message !== '')
  const secrets = [...new Set(one.leases.flatMap((lease) => lease.secrets))]
  const about = table([
    ['deployment', `${one.name} (${one.id})`],
    ['state', stateOf(one)],
    ...messages.map(({ group, message }) => [group, message]),
    ['created', minutes(one.created_at)],
    ...closed,
    ['price', `${perHour(one.rate)}, $${one.rate.usd_per_month} a month`],
    ['spent', `$${one.spent.usd}`],
    ...(secrets.length > 0 ? [['sealed', secrets.join(', ')]] : []),
  ])
  const leases = one.leases.map((lease) => ({ ...lease, deployment: one.name }))
  return `${about}\n${servicesPage(one)}\n${leasesPage(leases)}`
}

const closedText = ({ closed_at, close_reason }: Deployment): string =>
  `${minutes(closed_at)}  ${close_reason ?? ''}`.trimEnd()

function leasesPage(leases: readonly (Lease & { readonly deployment: string })[]): string {
  if (leases.length === 0) return 'There are no leases.\n'
  const head = ['lease', 'deployment', 'group', 'state', 'node', 'price', 'since', 'spent']
  const rows = leases.map((one) => [
    one.id,
    one.deployment,
    one.group,
    one.state,
    one.node ?? '–',
    perHour(one.rate),
    one.started_at === null ? '–' : minutes(one.started_at),
    `$${one.spent.usd}`,
  ])
  return table([head, ...rows], [5, 7])
}
