/** `baseload export`: what a volume holds, as a tar file on this machine. */
import { createHash } from 'node:crypto'
import type { Command } from 'commander'
import { EXIT, Failure, failureOf } from '../shell/failure.ts'
import type { Download, GatewayClient } from '../shell/gateway-client.ts'
import { writeAll } from '../shell/stdio.ts'
import { minutes, sizeText } from './answers.ts'
import { clientOf, describeClient, print, textOf, type Flags, type Shell } from './command.ts'
import { fetchDeployment } from './deployment-answers.ts'
import { checkTarget, saveAs, type Write } from './save-file.ts'
import {
  fetchSnapshots,
  snapshotPath,
  takeSnapshots,
  teller,
  volumeText,
  type Snapshot,
  type SnapshotList,
  type Volume,
} from './snapshot-answers.ts'
import { withTarget } from './target.ts'

export function exportCommand(command: Command, shell: Shell): Command {
  return withTarget(
    describeClient(
      command
        .argument('<deployment>', 'id or name; a closed one by its id, for a day')
        .argument('[volume]', 'which volume, where there is more than one'),
      'Fetch what a volume holds as a tar file: of now while its lease runs, else the newest snapshot',
      'baseload export shop -o shop.tar',
      'baseload export shop data --service db -o - | tar -t',
    ),
  )
    .option('-o, --output <file>', 'where to; - for standard output [<deployment>-<volume>.tar]')
    .option('--last', 'the newest snapshot that is there, without taking another')
    .option('--snapshot <id>', 'this one, as `baseload snapshot <deployment> --list` names it')
    .action(async (id: string, name: string | undefined, flags: Flags) => {
      const client = clientOf(flags, shell)
      const { terminal } = shell
      const found = await fetchDeployment(client, id)
      const list = await fetchSnapshots(client, found.id)
      const { volume, snapshot: wanted } = choose(list, name, flags, found.name)
      const output = textOf(flags, 'output') ?? `${found.name}-${volume.volume}.tar`
      if (output === '-') checkPipe(shell)
      // Before minutes of work.
      else checkTarget(output)
      const work = { client, list, id: found.id, flags, shell }
      const snapshot = wanted ?? (await snapshotOf(volume, work))
      const download = await client.download(`${snapshotPath(found.id, snapshot.id)}/content`)
      const save = (write: Write) => receive(download, snapshot, write, shell)
      if (output === '-') await save((piece) => writeAll(shell.stdio.stdout, piece))
      else await saveAs(output, save)
      const { id: of, bytes, sha256, begun_at } = snapshot
      const said = `${volumeText(snapshot)} as of ${minutes(begun_at)} UTC: ${sizeText(bytes)} → ${output === '-' ? 'standard output' : output}\n`
      terminal.err(said)
      if (output !== '-')
        await print(flags, terminal, { file: output, snapshot: of, bytes, sha256 }, () => '')
    })
}

/** The volume or the snapshot that is meant. Throws Failure, with the choices, where that is not clear. */
function choose(
  { volumes, data }: SnapshotList,
  volume: string | undefined,
  flags: Flags,
  name: string,
): { readonly volume: Volume; readonly snapshot: Snapshot | null } {
  const which = textOf(flags, 'snapshot')
  if (which !== undefined) {
    const one = data.find(({ id }) => id === which)
    if (one) return { volume: placeOf(one), snapshot: one }
    throw new Failure(EXIT.usage, `${name} has no snapshot ${which}`, {
      next: `\`baseload snapshot ${name} --list\` names those there are`,
    })
  }
  const { replica } = flags
  const service = textOf(flags, 'service')
  const lease = textOf(flags, 'lease')
  const all = [...volumes, ...data.filter(({ state }) => state === 'ready')].map(placeOf)
  const known = [...new Map(all.map((one) => [JSON.stringify(one), one])).values()]
  const fit = known.filter(
    (one) =>
      one.volume === (volume ?? one.volume) &&
      one.service === (service ?? one.service) &&
      one.replica === (replica ?? one.replica) &&
      one.lease === (lease ?? one.lease),
  )
  const [first, ...others] = fit
  if (first && others.length === 0) return { volume: first, snapshot: null }
  if (known.length === 0)
    throw new Failure(EXIT.usage, `${name} has no persistent volume, and no snapshot of one`)
  const what = first ? 'more than one volume fits' : 'no volume fits'
  const choices = (first ? fit : known).map(
    (one) => `${one.volume} --service ${one.service} --replica ${one.replica} --lease ${one.lease}`,
  )
  throw new Failure(EXIT.usage, `${what} in ${name}`, { next: `say which: ${choices.join(' | ')}` })
}

const placeOf = ({ lease, service, replica, volume }: Volume): Volume => ({
  lease,
  service,
  replica,
  volume,
})

type Work = {
  readonly client: GatewayClient
  readonly list: SnapshotList
  readonly id: string
  readonly flags: Flags
  readonly shell: Shell
}

/** One of now where the lease runs; else the newest there is. */
async function snapshotOf(
  volume: Volume,
  { client, list, id, flags, shell }: Work,
): Promise<Snapshot> {
  const same = (one: Volume): boolean =>
    JSON.stringify(placeOf(one)) === JSON.stringify(placeOf(volume))
  const newest = list.data.find((one) => one.state === 'ready' && same(one))
  const isOpen = list.volumes.some(same)
  if (isOpen && flags['last'] !== true) {
    try {
      shell.terminal.err(`taking a snapshot of ${volumeText(volume)}\n`)
      const [taken] = await takeSnapshots(client, id, placeOf(volume), shell)
      if (taken?.state === 'ready') return taken
      throw new Failure(EXIT.refused, `no snapshot could be taken: ${taken?.problem}`, {
        code: 'snapshot_failed',
        ...(newest && { next: `--last fetches the one of ${minutes(newest.begun_at)} UTC` }),
      })
    } catch (error) {
      const { code } = failureOf(error)
      if (code !== 'lease_unreachable' || !newest) throw error
      shell.terminal.err('its lease does not run just now; this is the newest snapshot\n')
    }
  }
  if (newest) return newest
  throw new Failure(EXIT.refused, `there is no snapshot of ${volumeText(volume)} yet`, {
    code: 'no_snapshot',
    next: isOpen ? 'without --last one is taken' : 'the first is taken 10 minutes after the start',
  })
}

/** Writes all of it, and says whether it is what the gateway has. */
async function receive(
  { headers, bytes }: Download,
  snapshot: Snapshot,
  write: Write,
  { terminal }: Shell,
): Promise<void> {
  const hash = createHash('sha256')
  const tell = teller((line) => terminal.err(line))
  let came = 0
  try {
    for await (const piece of bytes) {
      hash.update(piece)
      came += piece.length
      await write(piece)
      tell(`${sizeText(came)} of ${sizeText(snapshot.bytes)}`)
    }
  } catch (error) {
    const failure = failureOf(error)
    if (failure.exitCode !== EXIT.unreachable) throw failure
    throw new Failure(
      EXIT.unreachable,
      `the download broke off after ${sizeText(came)} of ${sizeText(snapshot.bytes)}`,
      {
        code: 'download_broken',
        next: `nothing of it was kept; run it again with --snapshot ${snapshot.id}. When it breaks off each time, the snapshot is damaged: take the one before it`,
        cause: error,
      },
    )
  }
  const digest = hash.digest()
  const told = /sha-256=:([^:]+):/.exec(headers.get('repr-digest') ?? '')?.[1]
  if (digest.toString('hex') === snapshot.sha256 && told === digest.toString('base64')) return
  throw new Failure(EXIT.refused, 'what came is not what the gateway has: its digest is another', {
    code: 'digest_mismatch',
    next: 'nothing of it was kept; run it again',
  })
}

function checkPipe({ stdio }: Shell): void {
  if (stdio.stdout.isTTY !== true) return
  throw new Failure(EXIT.usage, 'an archive is nothing for a terminal', {
    next: 'give a file, or a program that reads it: `-o - | tar -t`',
  })
}
