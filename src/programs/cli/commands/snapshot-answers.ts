/** Snapshots as the gateway answers them, and how one is taken: asked for, then waited for. */
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { EXIT, Failure, failureOf } from '../shell/failure.ts'
import type { GatewayClient } from '../shell/gateway-client.ts'
import { listOf, sizeText, understand } from './answers.ts'
import type { Shell } from './command.ts'
import { deploymentPath } from './deployment-answers.ts'

const volume = z.looseObject({
  lease: z.string(),
  service: z.string(),
  replica: z.number(),
  volume: z.string(),
})
export type Volume = Pick<z.infer<typeof volume>, 'lease' | 'service' | 'replica' | 'volume'>

const snapshot = volume.extend({
  id: z.string(),
  state: z.enum(['taking', 'ready', 'failed']),
  problem: z.string().nullable(),
  begun_at: z.string(),
  bytes: z.number(),
  sha256: z.string().nullable(),
  expires_at: z.string().nullable(),
})
export type Snapshot = z.infer<typeof snapshot>

const snapshotList = listOf(snapshot).extend({
  volumes: z.array(volume),
  used_bytes: z.number(),
  limit_bytes: z.number(),
})
export type SnapshotList = z.infer<typeof snapshotList>

const LOOK_MS = 400
/** A person is told how far it is, but not every moment. */
const TELL_EVERY_MS = 2_000

const path = (deployment: string): string => `${deploymentPath(deployment)}/snapshots`
export const snapshotPath = (deployment: string, id: string): string =>
  `${path(deployment)}/${encodeURIComponent(id)}`

export async function fetchSnapshots(
  client: GatewayClient,
  deployment: string,
): Promise<SnapshotList> {
  return understand(snapshotList, await client.get(path(deployment)))
}

/** Takes one of each volume that is meant, and waits until each is ready or has failed. */
export async function takeSnapshots(
  client: GatewayClient,
  deployment: string,
  which: Partial<Volume>,
  { terminal, stops }: Shell,
): Promise<Snapshot[]> {
  const begun = understand(listOf(snapshot), await client.post(path(deployment), which)).data
  const ids = new Set(begun.map(({ id }) => id))
  const tell = teller((line) => terminal.err(line))
  for (;;) {
    const { data } = await fetchSnapshots(client, deployment)
    const mine = data.filter(({ id }) => ids.has(id))
    const running = mine.filter(({ state }) => state === 'taking')
    if (running.length === 0 && mine.length === ids.size) return mine
    if (mine.length < ids.size) throw gone()
    for (const one of running) tell(`${volumeText(one)}: ${sizeText(one.bytes)} so far`)
    await sleep(LOOK_MS, undefined, { signal: stops.stop }).catch((error: unknown) => {
      throw new Failure(EXIT.interrupted, 'interrupted; the gateway goes on taking it', {
        code: 'interrupted',
        cause: failureOf(error),
      })
    })
  }
}

/** Says a line at most every two seconds. */
export function teller(say: (line: string) => void): (line: string) => void {
  let last = performance.now()
  return (line) => {
    const now = performance.now()
    if (now - last < TELL_EVERY_MS) return
    last = now
    say(`${line}\n`)
  }
}

export const volumeText = ({ service, replica, volume: name }: Volume): string =>
  `${name} of ${service}/${replica}`

const gone = (): Failure =>
  new Failure(EXIT.refused, 'a snapshot was removed while it was taken', { code: 'removed' })
