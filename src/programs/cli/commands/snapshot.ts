/** `baseload snapshot`: what the volumes of a deployment hold, kept at the gateway; taken now, listed, removed. */
import type { Command } from 'commander'
import { table } from '../shell/terminal.ts'
import { EXIT, Failure } from '../shell/failure.ts'
import { minutes, sizeText } from './answers.ts'
import { clientOf, describeClient, print, textOf, type Flags, type Shell } from './command.ts'
import { fetchDeployment } from './deployment-answers.ts'
import {
  fetchSnapshots,
  snapshotPath,
  takeSnapshots,
  volumeText,
  type Snapshot,
  type SnapshotList,
} from './snapshot-answers.ts'

export function snapshotCommand(command: Command, shell: Shell): Command {
  return describeClient(
    command
      .argument('<deployment>', 'id or name; a closed one by its id')
      .argument('[service]', 'only the volumes of this service')
      .argument('[volume]', 'only this volume of it'),
    'Take a snapshot of volumes now; one is taken every 10 minutes anyway',
    'baseload snapshot shop',
    'baseload snapshot shop db data',
    'baseload snapshot shop --list',
  )
    .option('--list', 'only show those there are, newest first')
    .option('--remove <id>', 'remove this one, for ever')
    .action(
      async (id: string, service: string | undefined, volume: string | undefined, flags: Flags) => {
        const client = clientOf(flags, shell)
        const { terminal } = shell
        const found = await fetchDeployment(client, id)
        const old = textOf(flags, 'remove')
        if (old !== undefined) {
          const gone = await client.delete(snapshotPath(found.id, old))
          return print(flags, terminal, gone, () => `removed ${old}\n`)
        }
        if (flags['list'] === true) {
          const list = await fetchSnapshots(client, found.id)
          return print(flags, terminal, list, () => listPage(list, { service, volume }))
        }
        const wish = { ...(service && { service }), ...(volume && { volume }) }
        const taken = await takeSnapshots(client, found.id, wish, shell)
        await print(flags, terminal, { snapshots: taken }, () => takenPage(taken))
        const failed = taken.filter(({ state }) => state === 'failed')
        if (failed.length === 0) return
        const words = failed.map((one) => `${volumeText(one)}: ${one.problem}`).join('; ')
        throw new Failure(EXIT.refused, `no snapshot of ${words}`, {
          code: 'snapshot_failed',
          next: `the last one stays as it was: \`baseload snapshot ${found.id} --list\``,
        })
      },
    )
}

const takenPage = (taken: readonly Snapshot[]): string =>
  taken
    .filter(({ state }) => state === 'ready')
    .map((one) => `${one.id}  ${volumeText(one)}  ${sizeText(one.bytes)}\n`)
    .join('')

function listPage(
  { data, used_bytes, limit_bytes }: SnapshotList,
  only: { service: string | undefined; volume: string | undefined },
): string {
  const shown = data.filter(
    (one) =>
      one.service === (only.service ?? one.service) && one.volume === (only.volume ?? one.volume),
  )
  const sizes = `${sizeText(used_bytes)} of ${sizeText(limit_bytes)} that all snapshots of this account may take\n`
  if (shown.length === 0) return `no snapshots yet; ${sizes}`
  const head = ['taken (UTC)', 'service', 'replica', 'volume', 'size', 'state', 'until', 'id']
  const rows = shown.map((one) => [
    minutes(one.begun_at),
    one.service,
    String(one.replica),
    one.volume,
    sizeText(one.bytes),
    one.problem === null ? one.state : `failed: ${one.problem}`,
    one.expires_at === null ? '–' : minutes(one.expires_at),
    one.id,
  ])
  return `${table([head, ...rows], [2, 4])}${sizes}`
}
