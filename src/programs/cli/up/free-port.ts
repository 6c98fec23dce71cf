/** Whether a loopback port can be had, and which one the gateway should take. */
import { once } from 'node:events'
import { createServer } from 'node:net'
import { EXIT, Failure } from '../shell/failure.ts'

/** Where the search for a free port begins, so that it is the same on most machines. */
const PREFERRED_PORT = 8420
const HOST = '127.0.0.1'

/** The port that was asked for, or fails; else that of the last start, else a usual one, else a free one. */
export async function choosePort(
  wanted: number | undefined,
  last: number | null,
  preferred = PREFERRED_PORT,
): Promise<number> {
  if (wanted !== undefined) {
    if (await canListen(wanted)) return wanted
    throw new Failure(EXIT.failure, `port ${wanted} is taken by another program`, {
      code: 'port_taken',
      next: 'stop that program, or choose another port with --port',
    })
  }
  for (const port of [last ?? preferred, preferred, preferred + 1])
    if (await canListen(port)) return port
  return freePort()
}

async function canListen(port: number): Promise<boolean> {
  const server = createServer()
  try {
    server.listen(port, HOST)
    await once(server, 'listening')
    return true
  } catch {
    return false
  } finally {
    server.close()
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, HOST)
  await once(server, 'listening')
  const address = server.address()
  server.close()
  if (typeof address === 'object' && address !== null) return address.port
  throw new Failure(EXIT.failure, 'this machine gives out no free port', { code: 'port_taken' })
}
