/** `baseload port-forward`: a port here that leads to a port of a service, whatever lies in between. */
import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import type { Command } from 'commander'
import { reasonOf } from '../../../core/base/refusal.ts'
import { readAccess, type Access } from '../shell/client-settings.ts'
import { EXIT, Failure, failureOf } from '../shell/failure.ts'
import { aborted } from '../shell/stop-requests.ts'
import { openTunnel } from '../shell/tunnel-client.ts'
import { clientOf, describeClient, print, textOf, type Flags, type Shell } from './command.ts'
import { fetchDeployment, type Deployment } from './deployment-answers.ts'
import { targetOf, withTarget, type Target } from './target.ts'
import { isPassing, pauseMs } from './try-again.ts'

/** A connection waits so long for a gateway that restarts; browsers and pools wait longer. */
const PATIENCE_MS = 15_000

export function portForwardCommand(command: Command, shell: Shell): Command {
  return withTarget(
    describeClient(
      command
        .argument('<deployment>', 'id or name')
        .argument('<ports...>', '[local:]port of the service; local 0 takes any free one'),
      'Reach TCP ports of a service as if they were here, until Ctrl-C',
      'baseload port-forward shop 8080:80',
      'baseload port-forward shop --service db 5432 --json',
    ),
  )
    .option('--address <address>', 'where to listen', '127.0.0.1')
    .option('--udp', 'refused: tunnels carry TCP only')
    .action(async (id: string, ports: string[], flags: Flags) => {
      if (flags['udp'] === true) throw noUdp()
      const pairs = ports.map(portPair)
      const found = await fetchDeployment(clientOf(flags, shell), id)
      const servers: Server[] = []
      try {
        for (const pair of pairs) servers.push(await forward(pair, found, flags, shell))
        await aborted(shell.stops.stop)
      } finally {
        for (const server of servers) server.close()
      }
    })
}

type Pair = { readonly local: number; readonly port: number }
type Way = {
  readonly access: Access
  readonly deployment: string
  readonly to: Target & { port: number }
}

async function forward(pair: Pair, found: Deployment, flags: Flags, shell: Shell): Promise<Server> {
  const { port } = pair
  const exposes = (one: { port: number; external_port: number }): boolean =>
    one.port === port || one.external_port === port
  const target = targetOf(found, flags, ({ expose }) => expose.some(exposes))
  const to = { ...target, port }
  const way = { access: readAccess(flags, shell.env), deployment: found.id, to }
  const server = createServer({ allowHalfOpen: true }, (socket) => void carry(socket, way, shell))
  const host = textOf(flags, 'address') ?? '127.0.0.1'
  const local = await listen(server, pair.local, host)
  const listening = `${host.includes(':') ? `[${host}]` : host}:${local}`
  await print(
    flags,
    shell.terminal,
    { listening, ...to },
    () => `${listening} → ${to.service}:${port}\n`,
  )
  return server
}

/** One connection, to its end. What goes wrong with it ends it, and nothing else. */
async function carry(near: Socket, way: Way, { terminal, stops }: Shell): Promise<void> {
  const gone = new AbortController()
  near.on('error', () => {}).once('close', () => gone.abort())
  const signal = AbortSignal.any([gone.signal, stops.stop])
  signal.addEventListener('abort', () => near.destroy())
  try {
    const far = await dial(way, signal)
    far.once('close', () => (far.errored ? near.destroy() : undefined))
    near.once('close', () =>
      near.readableEnded && near.writableFinished ? undefined : far.destroy(),
    )
    near.pipe(far)
    far.pipe(near)
  } catch (error) {
    near.destroy()
    if (!signal.aborted) terminal.err(`✗ ${way.to.service}:${way.to.port}: ${reasonOf(error)}\n`)
  }
}

/** Waits for a gateway that is away for a moment: whoever connected did so to a port that listens. */
async function dial({ access, deployment, to }: Way, signal: AbortSignal) {
  const until = performance.now() + PATIENCE_MS
  for (let failures = 1; ; failures += 1) {
    try {
      return await openTunnel(access, deployment, { kind: 'tcp', ...to }, signal)
    } catch (error) {
      const failure = failureOf(error)
      // Nothing listens: whoever connected hears so at once, as from any other port.
      const final = failure.reason === 'port_refused' || !isPassing(failure)
      if (final || performance.now() > until) throw error
      await pause(pauseMs(failures), null, { signal })
    }
  }
}

async function listen(server: Server, port: number, host: string): Promise<number> {
  try {
    server.listen(port, host)
    await once(server, 'listening')
  } catch (error) {
    throw new Failure(EXIT.failure, `cannot listen on ${host}, port ${port}: ${reasonOf(error)}`, {
      code: 'port_taken',
      next: 'choose another: baseload port-forward <deployment> <local>:<port>',
      cause: error,
    })
  }
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : port
}

function portPair(text: string): Pair {
  const match = /^(?:(\d{1,5}):)?(\d{1,5})$/.exec(text)
  const port = Number(match?.[2])
  const local = match?.[1] === undefined ? port : Number(match[1])
  if (match && port >= 1 && port <= 65_535 && local <= 65_535) return { local, port }
  throw new Failure(EXIT.usage, `'${text}' is no pair of ports`, { next: 'as in 8080:80, or 80' })
}

const noUdp = (): Failure =>
  new Failure(
    EXIT.usage,
    'UDP cannot be forwarded: a tunnel is a stream, and would delay and join packets',
    {
      code: 'unsupported_feature',
      next: 'expose the UDP port in the SDL, or run a TCP relay beside the service',
    },
  )
