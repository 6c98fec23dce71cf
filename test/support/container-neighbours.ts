/**
 * What stands around a provider's machine, made of one network namespace: a LAN with a web server on each address that
 * a lease must not reach, and one address of the internet, which it may. The addresses are led here for the test only.
 */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { networkInterfaces } from 'node:os'
import { connect, createServer, type AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'

const run = promisify(execFile)
const ip = (...args: string[]) => run('ip', args)

const NAMESPACE = 'baseload-neighbours'
const HOST_SIDE = 'blneigh0'
const THERE_SIDE = 'blneigh1'
const HOST_ADDRESS = '192.168.213.1'
const LAN_ADDRESS = '192.168.213.2'

/** Private, carrier-grade NAT, link-local. */
export const LAN = [LAN_ADDRESS, '10.99.99.9', '172.31.99.9', '100.64.9.9', '169.254.9.9']
/** Of EC2, GCP, Azure and many more; Alibaba; Azure's wire server. */
export const METADATA = ['169.254.169.254', '100.100.100.200', '168.63.129.16']
/** A documentation block (RFC 5737): surely nobody else's. */
export const INTERNET = '198.51.100.7'

const LED_HERE = [...LAN.slice(1), ...METADATA, INTERNET]

export type Neighbours = {
  /** All of this host's addresses, IPv6 with its zone left out, and ports at which it listens on all of them. */
  readonly hostAddresses: readonly string[]
  readonly hostPorts: readonly number[]
  remove(): Promise<void>
}

export async function makeNeighbours(): Promise<Neighbours> {
  // A run that was killed may have left it.
  await ip('netns', 'delete', NAMESPACE).catch(() => {})
  await ip('netns', 'add', NAMESPACE)
  await ip('link', 'add', HOST_SIDE, 'type', 'veth', 'peer', 'name', THERE_SIDE, 'netns', NAMESPACE)
  await ip('address', 'add', `${HOST_ADDRESS}/24`, 'dev', HOST_SIDE)
  await ip('link', 'set', HOST_SIDE, 'up')
  const there = (...args: string[]) => ip('-n', NAMESPACE, ...args)
  await there('link', 'set', 'lo', 'up')
  await there('address', 'add', `${LAN_ADDRESS}/24`, 'dev', THERE_SIDE)
  await there('link', 'set', THERE_SIDE, 'up')
  await there('route', 'add', 'default', 'via', HOST_ADDRESS)
  for (const address of LED_HERE) {
    await there('address', 'add', `${address}/32`, 'dev', THERE_SIDE)
    // In a cloud the machine may have such a route: then the real service is what is tried.
    await ip('route', 'add', `${address}/32`, 'via', LAN_ADDRESS).catch(() => {})
  }
  const web = spawn('ip', ['netns', 'exec', NAMESPACE, '/bin/busybox', 'httpd', '-f', '-p', '80'], {
    stdio: 'ignore',
  })
  await answered(LAN_ADDRESS)
  const servers = await Promise.all([listen('0.0.0.0'), listen('::'), listen('127.0.0.1')])
  return {
    hostAddresses: Object.values(networkInterfaces()).flatMap((all) =>
      (all ?? []).map(({ address }) => address),
    ),
    hostPorts: servers.map((server) => (server.address() as AddressInfo).port),
    remove: async () => {
      for (const server of servers) server.close()
      const gone = once(web, 'exit')
      web.kill()
      await gone
      // The routes go with their interface.
      await ip('link', 'delete', HOST_SIDE)
      await ip('netns', 'delete', NAMESPACE)
    },
  }
}

/** Resolves when the web server takes connections; the suite's time limit ends it. */
async function answered(host: string): Promise<void> {
  for (;;) {
    const socket = connect({ host, port: 80 })
    try {
      await once(socket, 'connect')
      return
    } catch {
      await sleep(20)
    } finally {
      socket.destroy()
    }
  }
}

async function listen(host: string) {
  const server = createServer((socket) => socket.end('the host\n')).listen(0, host)
  await once(server, 'listening')
  return server
}
