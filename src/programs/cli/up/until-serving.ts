/** When a started network can be used: asked of the gateway itself, not guessed from processes. */
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import type { Network } from './network.ts'

const LOOK_EVERY_MS = 25
/** After this the network is used as it is: a node may have left, or its log says why it cannot come. */
const PATIENCE_MS = 60_000
const ANSWER_MS = 2_000

const totals = z.looseObject({ nodes: z.number() })

/** Resolves with the number of linked nodes: all of them, or fewer when patience or the caller ends it. */
export async function untilServing(wanted: {
  url: string
  network: Network
  nodes: number
  stop: AbortSignal
}): Promise<number> {
  const { url, network, nodes, stop } = wanted
  const deadline = performance.now() + PATIENCE_MS
  await Promise.race([network.ready, sleep(PATIENCE_MS, undefined, { ref: false, signal: stop })])
  for (;;) {
    const linked = (await isReady(url)) ? await linkedNodes(url) : 0
    if (linked >= nodes || performance.now() > deadline) return linked
    await sleep(LOOK_EVERY_MS, undefined, { signal: stop })
  }
}

async function isReady(url: string): Promise<boolean> {
  const answer = await ask(`${url}/readyz`)
  return answer?.ok === true
}

async function linkedNodes(url: string): Promise<number> {
  const answer = await ask(`${url}/v1/network`)
  const parsed = totals.safeParse(await answer?.json().catch(() => null))
  return parsed.success ? parsed.data.nodes : 0
}

/** Null while nothing answers: the gateway may be starting again just now. */
const ask = (url: string): Promise<Response | null> =>
  fetch(url, { signal: AbortSignal.timeout(ANSWER_MS) }).catch(() => null)
