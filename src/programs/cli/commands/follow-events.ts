/** The events of a deployment, without a gap and without repeating one, also over a gateway's restart. */
import { setTimeout as pause } from 'node:timers/promises'
import { failureOf } from '../shell/failure.ts'
import type { GatewayClient } from '../shell/gateway-client.ts'
import { listOf, understand } from './answers.ts'
import {
  deploymentEvent,
  deploymentPath,
  fetchDeployment,
  type DeploymentEvent,
} from './deployment-answers.ts'
import { isPassing, pauseMs } from './try-again.ts'

/** What happened after this event, to now. */
export async function* pastEvents(
  client: GatewayClient,
  id: string,
  after: number,
): AsyncGenerator<DeploymentEvent, void, void> {
  for (let last = after; ;) {
    const answer = await client.get(`${deploymentPath(id)}/events?after=${last}`)
    const { data } = understand(listOf(deploymentEvent), answer)
    yield* data
    const next = data.at(-1)?.seq
    if (next === undefined) return
    last = next
  }
}

/** From after this event to the end of the deployment. `lost` hears once of each loss of the way. */
export async function* followEvents(
  client: GatewayClient,
  id: string,
  after: number,
  { signal, lost }: { signal: AbortSignal; lost: (why: string) => void },
): AsyncGenerator<DeploymentEvent, void, void> {
  let last = after
  for (let failures = 0; ;) {
    try {
      let heard = false
      for await (const json of client.follow(
        `${deploymentPath(id)}/events?after=${last}`,
        signal,
      )) {
        const event = understand(deploymentEvent, json)
        heard = true
        failures = 0
        // A gateway that counts otherwise would tell the same again.
        if (event.seq <= last) continue
        last = event.seq
        yield event
      }
      // A gateway that leaves ends the stream, too; only a closed deployment has nothing more to say.
      if (heard) continue
      if ((await fetchDeployment(client, id)).closed_at !== null) return
      await pause(pauseMs((failures += 1)), null, { signal })
    } catch (error) {
      const failure = failureOf(error)
      if (signal.aborted || !isPassing(failure)) throw error
      if (failures === 0) lost(failure.message)
      failures += 1
      await pause(pauseMs(failures), null, { signal })
    }
  }
}
