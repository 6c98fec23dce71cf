/** UDP of a tunnel at the node: a socket for each flow, so that the service sees its peers apart. What cannot go on is dropped. */
import type { Socket as DatagramSocket } from 'node:dgram'
import type { Duplex } from 'node:stream'
import { finished } from 'node:stream/promises'
import { Fault } from '../../../core/base/refusal.ts'
import type { Millis } from '../../../core/base/time.ts'
import {
  DatagramDecoder,
  encodeDatagram,
  FLOW_IDLE_MS,
  MAX_FLOWS_PER_TUNNEL,
} from '../../../core/protocol/datagram-frame.ts'
import { FlowTable, type FlowLimits } from '../../../core/protocol/flow-table.ts'

export type DatagramSource = {
  /** A socket that is connected to the service's port. */
  readonly open: () => Promise<DatagramSocket>
  readonly now: () => Millis
  readonly limits?: FlowLimits
}

const LIMITS: FlowLimits = { max: MAX_FLOWS_PER_TUNNEL, idleMs: FLOW_IDLE_MS }
const SWEEP_EVERY_MS = 5_000
/** A flow's datagrams while its socket opens, which takes less than a millisecond. */
const MAX_WAITING = 16
/** A container on this machine takes datagrams as they come; one that does not loses them. */
const MAX_UNSENT_BYTES = 1 << 20

/** Until the gateway ends its direction. Rejects when either side broke off, or what came is no datagram. */
export async function carryDatagrams(stream: Duplex, source: DatagramSource): Promise<void> {
  const { open, now, limits = LIMITS } = source
  const flows = new FlowTable<number, Flow>(limits, (flow) => flow.close())
  const timer = setInterval(() => flows.sweep(now()), Math.min(SWEEP_EVERY_MS, limits.idleMs))
  timer.unref()
  const decoder = new DatagramDecoder((id, payload) => {
    let flow = flows.use(id, now())
    if (flow === undefined) {
      flow = new Flow(open, {
        heard: (answer) => {
          // A reader that is slower than the service loses datagrams, as on any line.
          if (flows.use(id, now()) !== undefined && !stream.writableNeedDrain)
            stream.write(encodeDatagram(id, answer))
        },
        broke: () => flows.remove(id),
      })
      flows.add(id, flow, now())
    }
    flow.send(Buffer.from(payload))
  })
  stream.on('data', (bytes: Buffer) => {
    const malformed = decoder.push(bytes)
    if (malformed !== null) stream.destroy(new Fault('tunnel_malformed', malformed))
  })
  stream.once('end', () => stream.end())
  try {
    await finished(stream)
  } finally {
    clearInterval(timer)
    flows.clear()
  }
}

type FlowEvents = { readonly heard: (answer: Buffer) => void; readonly broke: () => void }

class Flow {
  #socket: DatagramSocket | null = null
  #waiting: Buffer[] = []
  #closed = false

  constructor(open: DatagramSource['open'], events: FlowEvents) {
    open().then(
      (socket) => this.#opened(socket, events),
      // The service is not there just now; what is sent next looks for it anew.
      () => (this.#closed ? undefined : events.broke()),
    )
  }

  send(payload: Buffer): void {
    if (this.#socket !== null) {
      if (this.#socket.getSendQueueSize() < MAX_UNSENT_BYTES) this.#socket.send(payload)
    } else if (this.#waiting.length < MAX_WAITING) this.#waiting.push(payload)
  }

  close(): void {
    this.#closed = true
    this.#waiting = []
    this.#socket?.close()
    this.#socket = null
  }

  #opened(socket: DatagramSocket, { heard, broke }: FlowEvents): void {
    // Nobody listens, or the container has another address by now: what is sent next finds out.
    socket.on('error', () => (this.#closed ? undefined : broke()))
    if (this.#closed) {
      socket.close()
      return
    }
    socket.on('message', heard)
    this.#socket = socket
    for (const payload of this.#waiting.splice(0)) this.send(payload)
  }
}
