/**
 * The gateway's end of the node link: upgrades, proves who dialled, and keeps one `NodeLink` per node.
 * docs/protocol.md describes what travels.
 */
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Millis } from '../../core/base/time.ts'
import type { Identity } from '../keys/identity.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { LinkEvents, NodeLink } from './node-link.ts'

export type LinkServerLimits = {
  /** A node beats this often; three beats of silence close its link. */
  readonly heartbeatMs: number
  /** From TCP accept to a valid HELLO. */
  readonly handshakeMs: number
  /** Connections that have not proven their key yet: keeps strangers from taking every socket. */
  readonly handshakes: number
}

export type LinkServer = {
  /** Takes over an HTTP upgrade for LINK_PATH; the caller has checked the path. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void
  /** Node id → its link, live. */
  links(): ReadonlyMap<string, NodeLink>
  /** Closes every link with `shutting_down` and takes no more; attempts are lost. */
  close(): Promise<void>
}

export type LinkServerOptions = {
  readonly identity: Identity
  readonly events: LinkEvents
  readonly now: () => Millis
  readonly logger: Logger
  readonly limits?: Partial<LinkServerLimits>
}

export function createLinkServer(_options: LinkServerOptions): LinkServer {
  throw new Error('being built')
}
