/** Connections into a lease's network. The host sits at its bridge, so no port is published and nothing listens. */
import { createSocket, type Socket as DatagramSocket } from 'node:dgram'
import { once } from 'node:events'
import { connect } from 'node:net'
import type { Duplex } from 'node:stream'
import { Fault, reasonOf } from '../../core/base/refusal.ts'
import type { ReplicaWatch } from './replica-watch.ts'

export type Destination = {
  readonly lease: string
  readonly service: string
  readonly replica?: number
  readonly port: number
}

/** A container on this machine answers at once or not at all. */
const CONNECT_MS = 5_000

/** Throws Fault `port_unreachable` (retryable: the service may still be starting). */
export async function dialPort(address: string, { service, port }: Destination): Promise<Duplex> {
  const socket = connect({ host: address, port, noDelay: true, allowHalfOpen: true })
  try {
    await once(socket, 'connect', { signal: AbortSignal.timeout(CONNECT_MS) })
    return socket
  } catch (thrown) {
    socket.destroy()
    throw new Fault(
      'port_unreachable',
      `Nothing answers at port ${port} of service ${service}: ${reasonOf(thrown)}`,
      { cause: thrown, retryable: true },
    )
  }
}

export async function openDatagrams(
  address: string,
  { port }: Destination,
): Promise<DatagramSocket> {
  const socket = createSocket('udp4')
  socket.connect(port, address)
  await once(socket, 'connect')
  return socket
}

/** Takes turns among a service's replicas: the healthy, else those of unknown health, else any that runs. */
export class Turns {
  readonly #next = new Map<string, number>()

  /** Throws Fault `not_found` or `port_unreachable`. */
  choose(watches: readonly ReplicaWatch[], to: Destination): ReplicaWatch {
    const replicas = watches.filter(
      ({ at }) =>
        at.lease === to.lease &&
        at.service === to.service &&
        at.replica === (to.replica ?? at.replica),
    )
    const running = replicas.filter(({ address }) => address !== null)
    const [best] = [true, null, false]
      .map((healthy) => running.filter((watch) => watch.healthy === healthy))
      .filter((some) => some.length > 0)
    if (best === undefined) throw this.#nobody(replicas.length, to)
    const key = `${to.lease}/${to.service}`
    const turn = this.#next.get(key) ?? 0
    this.#next.set(key, turn + 1)
    const chosen = best[turn % best.length]
    if (chosen === undefined) throw this.#nobody(replicas.length, to)
    return chosen
  }

  forget(lease: string): void {
    for (const key of this.#next.keys()) if (key.startsWith(`${lease}/`)) this.#next.delete(key)
  }

  #nobody(replicas: number, { lease, service }: Destination): Fault {
    if (replicas === 0)
      return new Fault('not_found', `Lease ${lease} has no service ${service} on this node.`)
    return new Fault(
      'port_unreachable',
      `None of the ${replicas} replicas of service ${service} runs now.`,
      { retryable: true },
    )
  }
}
