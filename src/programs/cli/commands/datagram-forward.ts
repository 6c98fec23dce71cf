/** A UDP port here that leads to one of a service: all peers share a tunnel, which is dialled when a datagram needs it. */
import { createSocket, type RemoteInfo, type Socket as DatagramSocket } from 'node:dgram'
import { once } from 'node:events'
import { isIPv6 } from 'node:net'
import { Fault, reasonOf } from '../../../core/base/refusal.ts'
import {
  DatagramDecoder,
  encodeDatagram,
  FLOW_IDLE_MS,
  MAX_FLOWS_PER_TUNNEL,
} from '../../../core/protocol/datagram-frame.ts'
import { FlowTable } from '../../../core/protocol/flow-table.ts'
import type { TunnelStream } from '../../../io/link/tunnel-stream.ts'
import type { Shell } from './command.ts'
import { cannotListen, dialPort, type Way } from './dial-port.ts'

/** While a tunnel is dialled so much waits, the first that came; what comes then is dropped, as on a line that is full. */
const MAX_WAITING_BYTES = 256 * 1024
/** Nobody is asked more often for what was just refused. */
const REFUSED_PAUSE_MS = 1_000
const SWEEP_EVERY_MS = 5_000
const LIMITS = { max: MAX_FLOWS_PER_TUNNEL, idleMs: FLOW_IDLE_MS }

export async function forwardDatagrams(
  way: Way,
  { host, port }: { host: string; port: number },
  shell: Shell,
): Promise<{ readonly port: number; close(): void }> {
  const socket = createSocket(isIPv6(host) ? 'udp6' : 'udp4')
  try {
    socket.bind(port, host)
    await once(socket, 'listening')
  } catch (error) {
    throw cannotListen(host, port, error)
  }
  const forward = new DatagramForward(socket, way, shell)
  return { port: socket.address().port, close: () => forward.close() }
}

type Peer = { readonly flow: number; readonly address: string; readonly port: number }

class DatagramForward {
  readonly #socket: DatagramSocket
  readonly #way: Way
  readonly #shell: Shell
  readonly #byFlow = new Map<number, Peer>()
  readonly #byAddress = new FlowTable<string, Peer>(LIMITS, ({ flow }) => this.#byFlow.delete(flow))
  readonly #sweeper: NodeJS.Timeout
  readonly #closing = new AbortController()
  #flows = 0
  #tunnel: TunnelStream | null = null
  #dialling = false
  #quietUntil = 0
  #waiting: Uint8Array[] = []
  #waitingBytes = 0

  constructor(socket: DatagramSocket, way: Way, shell: Shell) {
    this.#socket = socket
    this.#way = way
    this.#shell = shell
    this.#sweeper = setInterval(() => this.#byAddress.sweep(performance.now()), SWEEP_EVERY_MS)
    socket.on('message', (payload, from) => this.#take(payload, from))
    // A peer that has gone: its answers go nowhere.
    socket.on('error', () => {})
  }

  close(): void {
    clearInterval(this.#sweeper)
    this.#closing.abort()
    this.#tunnel?.destroy()
    this.#socket.close()
  }

  #take(payload: Uint8Array, from: RemoteInfo): void {
    const frame = encodeDatagram(this.#flowOf(from), payload)
    if (this.#tunnel !== null) {
      if (!this.#tunnel.writableNeedDrain) this.#tunnel.write(frame)
      return
    }
    if (this.#waitingBytes + frame.length > MAX_WAITING_BYTES) return
    if (performance.now() < this.#quietUntil) return
    this.#waiting.push(frame)
    this.#waitingBytes += frame.length
    if (!this.#dialling) void this.#dial()
  }

  #flowOf({ address, port }: RemoteInfo): number {
    const key = `${address} ${port}`
    const now = performance.now()
    const known = this.#byAddress.use(key, now)
    if (known !== undefined) return known.flow
    // A number is not used again while an answer to it may still come.
    const peer = { flow: (this.#flows = (this.#flows + 1) >>> 0), address, port }
    this.#byAddress.add(key, peer, now)
    this.#byFlow.set(peer.flow, peer)
    return peer.flow
  }

  async #dial(): Promise<void> {
    this.#dialling = true
    const signal = AbortSignal.any([this.#closing.signal, this.#shell.stops.stop])
    try {
      this.#join(await dialPort(this.#way, signal))
    } catch (error) {
      this.#quietUntil = performance.now() + REFUSED_PAUSE_MS
      const { service, port } = this.#way.wish
      if (!signal.aborted)
        this.#shell.terminal.err(`✗ ${service}:${port}/udp: ${reasonOf(error)}\n`)
    } finally {
      this.#dialling = false
      this.#waiting = []
      this.#waitingBytes = 0
    }
  }

  #join(tunnel: TunnelStream): void {
    const decoder = new DatagramDecoder((flow, payload) => this.#answer(flow, payload))
    tunnel.on('data', (bytes: Buffer) => {
      const malformed = decoder.push(bytes)
      if (malformed !== null) tunnel.destroy(new Fault('tunnel_malformed', malformed))
    })
    // What is sent next dials anew: a gateway that restarts takes nothing with it but what was on its way.
    const over = (): void => {
      if (this.#tunnel === tunnel) this.#tunnel = null
    }
    tunnel.once('close', over).once('end', () => tunnel.destroy())
    this.#tunnel = tunnel
    for (const frame of this.#waiting) tunnel.write(frame)
  }

  #answer(flow: number, payload: Uint8Array): void {
    const peer = this.#byFlow.get(flow)
    if (peer === undefined) return
    this.#byAddress.use(`${peer.address} ${peer.port}`, performance.now())
    this.#socket.send(payload, peer.port, peer.address, () => {})
  }
}
