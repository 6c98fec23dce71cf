/**
 * Byte tunnels: what a gateway asks for over the link, how a node proves its dial, and the small frames that a
 * shell's streams travel in. A tunnel itself is bytes both ways on a WebSocket of its own; docs/protocol.md.
 */
import { z } from 'zod'
import { FrameDecoder } from './frame-decoder.ts'

export const TUNNEL_PATH = '/v1/nodes/tunnel'
/** The tunnel's id; its secret is the bearer token of `authorization`. */
export const TUNNEL_ID_HEADER = 'baseload-tunnel'
/** The node's signature over `TUNNEL_DOMAIN` + tunnelText: a secret that leaked is no use to another. */
export const TUNNEL_SIGNATURE_HEADER = 'baseload-signature'
/** In the gateway's 101: its signature over `TUNNEL_ANSWER_DOMAIN` + tunnelAnswerText. */
export const TUNNEL_ANSWER_HEADER = 'baseload-answer'

export const TUNNEL_DOMAIN = 'baseload tunnel v1\n'
export const tunnelText = (gateway: string, tunnel: string, secret: string): string =>
  `${gateway}\n${tunnel}\n${secret}`

export const TUNNEL_ANSWER_DOMAIN = 'baseload tunnel answer v1\n'
/** What the gateway signs when it takes a dial: whoever answers is the one that asked on the link. */
export const tunnelAnswerText = (
  gateway: string,
  node: string,
  tunnel: string,
  secret: string,
): string => `${gateway}\n${node}\n${tunnel}\n${secret}`

/** One WebSocket message of a tunnel. An empty one ends its sender's direction. */
export const MAX_TUNNEL_MESSAGE_BYTES = 256 * 1024
/** From OPEN_TUNNEL to the dial: connecting to a service and one more TLS handshake fit. */
export const TUNNEL_OPEN_MS = 10_000
/** Tunnels at one node at the same time, those being dialled included: each holds two sockets there. */
export const MAX_TUNNELS_PER_NODE = 4096
/** No byte either way for so long ends a tunnel: whoever still needs it asks anew. */
export const TUNNEL_IDLE_MS = 60 * 60_000
/** The longest that a tunnel lives: what was granted a day ago is asked for again. */
export const TUNNEL_TOTAL_MS = 24 * 60 * 60_000

const secret = z.string().regex(/^[\w-]{43}$/) // 32 bytes, base64url
const word = z.string().max(300)
const path = z.string().min(1).max(4096)
const cells = z.int().min(1).max(10_000)
/** Argument lists above this are data: they belong on standard input. */
const MAX_COMMAND_CHARS = 64 * 1024

/** Which running container is meant; a node refuses an epoch that is not its lease's. */
const place = { lease: z.string().max(60), epoch: z.int().min(0), service: word }
const container = { ...place, replica: z.int().min(0).max(999) }

const purposeSchema = z.discriminatedUnion('kind', [
  /** Bytes of one connection to a port of the service. */
  z.object({ kind: z.literal('tcp'), ...container, port: z.int().min(1).max(65_535) }),
  /** Datagrams of many flows, framed as in `datagram-frame.ts`, both ways. */
  z.object({ kind: z.literal('udp'), ...container, port: z.int().min(1).max(65_535) }),
  /** `ExecFrame`s both ways; the node's direction ends after an exit frame. */
  z.object({
    kind: z.literal('exec'),
    ...container,
    command: z
      .array(z.string())
      .min(1)
      .max(1024)
      .refine((words) => words.join('').length <= MAX_COMMAND_CHARS, {
        message: `at most ${MAX_COMMAND_CHARS} characters`,
      }),
    stdin: z.boolean(),
    /** Null: no terminal, so that output and errors stay apart. */
    terminal: z.object({ columns: cells, rows: cells }).nullable(),
    /** Null: the command is hung up as soon as its tunnel is lost. `exec-log.ts` has the counting. */
    session: z
      .object({
        /** Of the tenant's choice: whoever has it may come back to the command. */
        secret,
        /** Counted frames of the node that the tenant has taken; null: none, the command is to start. */
        taken: z.int().min(0).nullable(),
      })
      .nullable()
      .default(null),
  }),
  /** `ExecFrame`s of channels stdout and stderr, node → gateway. */
  z.object({
    kind: z.literal('logs'),
    ...container,
    follow: z.boolean(),
    /** Only so many of the last lines; null: all that are kept. */
    tailLines: z.int().min(0).max(1_000_000).nullable(),
    sinceMs: z.int().min(0).nullable(),
    timestamps: z.boolean(),
  }),
  /** A `ContainerStats` as JSON a line, node → gateway: at once and after each pause, until the gateway ends its direction. */
  z.object({ kind: z.literal('stats'), ...container, everyMs: z.int().min(500).max(60_000) }),
  /** A tar archive, gateway → node, unpacked at `path`; the node ends its direction when all is written. */
  z.object({ kind: z.literal('copy-in'), ...container, path }),
  /** A tar archive of `path`, node → gateway. */
  z.object({ kind: z.literal('copy-out'), ...container, path }),
  /** The volume's contents, node → gateway. */
  z.object({ kind: z.literal('snapshot'), ...container, volume: word }),
  /** The same, gateway → node; the node ends its direction when all is written. */
  z.object({ kind: z.literal('restore'), ...container, volume: word }),
])
export type TunnelPurpose = z.infer<typeof purposeSchema>

/** The purpose, or null: of a kind that this software does not know, or out of its limits. */
export function parsePurpose(value: unknown): TunnelPurpose | null {
  const read = purposeSchema.safeParse(value)
  return read.success ? read.data : null
}

/** What a container uses at a moment. Processor time and bytes count from its start. */
export const containerStatsSchema = z.object({
  atMs: z.int().min(0),
  /** Nanoseconds of processor time, a decimal string. */
  cpuNanos: z.string().regex(/^\d{1,20}$/),
  memoryBytes: z.int().min(0),
  memoryLimitBytes: z.int().min(0),
  pids: z.int().min(0),
  receivedBytes: z.int().min(0),
  sentBytes: z.int().min(0),
})
export type ContainerStats = z.infer<typeof containerStatsSchema>

export const openTunnelSchema = z.object({
  tunnel: z.string().max(60),
  secret,
  /** How long the gateway waits for the dial. */
  withinMs: z.int().min(1).max(60_000),
  /** A `TunnelPurpose`, or one of a later software: that is refused, and the link goes on. */
  purpose: z.unknown(),
})
export type OpenTunnel = z.infer<typeof openTunnelSchema>

/** Why a node refuses a tunnel; later software may know more codes. */
export type TunnelRefusalCode =
  | 'tunnel_unsupported' // this node does not know or do such a thing
  | 'tunnel_limit' // as many tunnels as it takes are open
  | 'lease_unknown' // it runs no such lease
  | 'lease_epoch_stale' // it runs another epoch of the lease
  | 'service_unknown' // the lease has no such service or replica
  | 'service_not_running' // not yet, or not just now
  | 'port_refused' // nothing listens there
  | 'path_not_found' // nothing to copy, or nowhere to copy to
  | 'volume_unknown' // the service has no such volume
  | 'command_failed' // the command could not be started
  | 'session_unknown' // no such command waits for its tenant: hung up, or never started here

export const tunnelRefusedSchema = z.object({
  tunnel: z.string().max(60),
  code: z.string().max(60),
  message: z.string().max(2000),
})
export type TunnelRefused = z.infer<typeof tunnelRefusedSchema>

/** The streams of a shell or a log: `[u8 channel][u32 length][payload]`, big-endian. */
export const EXEC_CHANNEL = {
  STDIN: 0, // gateway → node; an empty one ends it
  STDOUT: 1, // node → gateway
  STDERR: 2, // node → gateway
  EXIT: 3, // node → gateway, JSON `ExecExit`, the last frame
  RESIZE: 4, // gateway → node: u16 columns, u16 rows
  SIGNAL: 5, // gateway → node: a signal's name for the command, `SIGINT`
  TAKEN: 6, // both ways, in a session: u64, how many counted frames of the other end this one has taken
} as const
export type ExecChannel = (typeof EXEC_CHANNEL)[keyof typeof EXEC_CHANNEL]

export const execExitSchema = z.object({
  /** The exit code; null when the command was killed or never ran. */
  code: z.int().nullable(),
  /** In words, where the code is not all there is to say: killed, out of memory, container gone. */
  reason: z.string().max(2000).nullable(),
})
export type ExecExit = z.infer<typeof execExitSchema>

const EXEC_HEADER_BYTES = 5
/** Larger writes are split, so that a resize never waits behind megabytes. */
export const MAX_EXEC_PAYLOAD_BYTES = 64 * 1024

/** One frame. Throws a RangeError on a payload over the limit: the writer's bug. */
export function encodeExecFrame(channel: ExecChannel, payload: Uint8Array): Uint8Array {
  if (payload.length > MAX_EXEC_PAYLOAD_BYTES)
    throw new RangeError(`exec channel ${channel}: ${payload.length} bytes`)
  const frame = new Uint8Array(EXEC_HEADER_BYTES + payload.length)
  frame[0] = channel
  new DataView(frame.buffer).setUint32(1, payload.length)
  frame.set(payload, EXEC_HEADER_BYTES)
  return frame
}

export function encodeResize(columns: number, rows: number): Uint8Array {
  const payload = new Uint8Array(4)
  const view = new DataView(payload.buffer)
  view.setUint16(0, columns)
  view.setUint16(2, rows)
  return encodeExecFrame(EXEC_CHANNEL.RESIZE, payload)
}

/** A RESIZE frame's payload; null when it is malformed. */
export function decodeResize(payload: Uint8Array): { columns: number; rows: number } | null {
  if (payload.length !== 4) return null
  const view = new DataView(payload.buffer, payload.byteOffset)
  const [columns, rows] = [view.getUint16(0), view.getUint16(2)]
  return columns > 0 && rows > 0 ? { columns, rows } : null
}

/** Visits each whole frame; `payload` is a view that is only valid during the call. Unknown channels come too. */
export type ExecVisitor = (channel: number, payload: Uint8Array) => void

/** Reads frames off a stream that arrives in any pieces. */
export class ExecDecoder extends FrameDecoder {
  constructor(visit: ExecVisitor) {
    super({ headerBytes: EXEC_HEADER_BYTES, payloadBytes: execPayloadBytes }, (header, payload) =>
      visit(header.getUint8(0), payload),
    )
  }
}

function execPayloadBytes(header: DataView): number | string {
  const length = header.getUint32(1)
  return length <= MAX_EXEC_PAYLOAD_BYTES
    ? length
    : `an exec frame of ${length} bytes, limit ${MAX_EXEC_PAYLOAD_BYTES}`
}
