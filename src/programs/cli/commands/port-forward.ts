/** `baseload port-forward`: a port here that leads to a port of a service, whatever lies in between. */
import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import type { Command } from 'commander'
import { reasonOf } from '../../../core/base/refusal.ts'
import { readAccess } from '../shell/client-settings.ts'
import { EXIT, Failure } from '../shell/failure.ts'
import { aborted } from '../shell/stop-requests.ts'
import { clientOf, describeClient, print, textOf, type Flags, type Shell } from './command.ts'
import { forwardDatagrams } from './datagram-forward.ts'
import { fetchDeployment, type Deployment } from './deployment-answers.ts'
import { cannotListen, dialPort, type Way } from './dial-port.ts'
import { targetOf, withTarget } from './target.ts'

export function portForwardCommand(command: Command, shell: Shell): Command {
  return withTarget(
    describeClient(
      command
        .argument('<deployment>', 'id or name')
        .argument('<ports...>', '[local:]port[/udp] of the service; local 0 takes any free one'),
      'Reach TCP and UDP ports of a service as if they were here, until Ctrl-C',
      'baseload port-forward shop 8080:80',
      'baseload port-forward shop --service dns 5353:53/udp',
      'baseload port-forward shop --service db 5432 --json',
    ),
  )
    .option('--address <address>', 'where to listen', '127.0.0.1')
    .action(async (id: string, ports: string[], flags: Flags) => {
      const pairs = ports.map(portPair)
      const found = await fetchDeployment(clientOf(flags, shell), id)
      const servers: { close(): unknown }[] = []
      try {
        for (const pair of pairs) servers.push(await forward(pair, found, flags, shell))
        await aborted(shell.stops.stop)
      } finally {
        for (const server of servers) server.close()
      }
    })
}

type Proto = 'tcp' | 'udp'
type Pair = { readonly local: number; readonly port: number; readonly proto: Proto }

/** Listens for one of them. */
async function forward(
  { local, port, proto }: Pair,
  found: Deployment,
  flags: Flags,
  shell: Shell,
): Promise<{ close(): unknown }> {
  const target = targetOf(found, flags, ({ expose }) =>
    expose.some((one) => one.proto === proto && (one.port === port || one.external_port === port)),
  )
  const to = { ...target, port }
  const way: Way = {
    access: readAccess(flags, shell.env),
    deployment: found.id,
    wish: { kind: proto, ...to },
  }
  const host = textOf(flags, 'address') ?? '127.0.0.1'
  const at = { host, port: local }
  const served = await (proto === 'udp' ? forwardDatagrams : forwardConnections)(way, at, shell)
  const listening = `${host.includes(':') ? `[${host}]` : host}:${served.port}`
  const suffix = proto === 'udp' ? '/udp' : ''
  await print(
    flags,
    shell.terminal,
    { listening, proto, ...to },
    () => `${listening}${suffix} → ${to.service}:${port}${suffix}\n`,
  )
  return served
}

type Served = { readonly port: number; close(): unknown }

async function forwardConnections(
  way: Way,
  at: { host: string; port: number },
  shell: Shell,
): Promise<Served> {
  const server = createServer({ allowHalfOpen: true }, (socket) => void carry(socket, way, shell))
  return { port: await listen(server, at), close: () => server.close() }
}

/** One connection, to its end. What goes wrong with it ends it, and nothing else. */
async function carry(near: Socket, way: Way, { terminal, stops }: Shell): Promise<void> {
  const gone = new AbortController()
  near.on('error', () => {}).once('close', () => gone.abort())
  const signal = AbortSignal.any([gone.signal, stops.stop])
  signal.addEventListener('abort', () => near.destroy())
  try {
    const far = await dialPort(way, signal)
    far.once('close', () => (far.errored ? near.destroy() : undefined))
    near.once('close', () =>
      near.readableEnded && near.writableFinished ? undefined : far.destroy(),
    )
    near.pipe(far)
    far.pipe(near)
  } catch (error) {
    near.destroy()
    const { service, port } = way.wish
    if (!signal.aborted) terminal.err(`✗ ${service}:${port}: ${reasonOf(error)}\n`)
  }
}

async function listen(
  server: Server,
  { host, port }: { host: string; port: number },
): Promise<number> {
  try {
    server.listen(port, host)
    await once(server, 'listening')
  } catch (error) {
    throw cannotListen(host, port, error)
  }
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : port
}

function portPair(text: string): Pair {
  const match = /^(?:(\d{1,5}):)?(\d{1,5})(?:\/(tcp|udp))?$/i.exec(text)
  const port = Number(match?.[2])
  const local = match?.[1] === undefined ? port : Number(match[1])
  const proto = match?.[3]?.toLowerCase() === 'udp' ? 'udp' : 'tcp'
  if (match && port >= 1 && port <= 65_535 && local <= 65_535) return { local, port, proto }
  throw new Failure(EXIT.usage, `'${text}' is no pair of ports`, {
    next: 'as in 8080:80, 80, or 5353:53/udp',
  })
}
