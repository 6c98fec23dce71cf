/** For tests: the command line in a home of its own, with a terminal that is remembered and gateways made up on the spot. */
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough, Writable } from 'node:stream'
import type { Shell } from './commands/command.ts'
import { runProgram } from './program.ts'

export function sendJson(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))
}

type Handler = (request: IncomingMessage, response: ServerResponse) => unknown

export function setup(env: NodeJS.ProcessEnv = {}) {
  const home = mkdtempSync(join(tmpdir(), 'baseload-cli-'))
  let stop = new AbortController()
  const servers: ReturnType<typeof createServer>[] = []
  let [out, err] = ['', '']
  const stdin = Object.assign(new PassThrough(), {
    isTTY: false,
    /** Each mode that the terminal was put in. */
    modes: [] as boolean[],
    setRawMode: (raw: boolean) => void stdin.modes.push(raw),
  })
  const stdout = Object.assign(
    sink((text) => (out += text)),
    {
      isTTY: false,
      columns: 80,
      rows: 24,
    },
  )
  const stderr = sink((text) => (err += text))
  const shell: Shell = {
    stdio: { stdin, stdout, stderr },
    env: { ...env, BASELOAD_HOME: home },
    stops: {
      get stop() {
        return stop.signal
      },
      kill: new AbortController().signal,
    },
    terminal: {
      out: async (text) => void (out += text),
      err: (text) => void (err += text),
      isTty: false,
      canAsk: false,
      dim: (text) => text,
      bold: (text) => text,
    },
  }
  const listen = async (handler: Handler) => {
    const server = createServer((request, response) => void handler(request, response)).listen(
      0,
      '127.0.0.1',
    )
    servers.push(server)
    await once(server, 'listening')
    const address = server.address()
    return `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`
  }
  return {
    home,
    shell,
    stdin,
    stdout,
    listen,
    interrupt: () => stop.abort(),
    /** As a new process, that nobody has interrupted. */
    renew: () => void (stop = new AbortController()),
    /** What was printed so far, while a command runs. */
    printed: () => ({ out, err }),
    /** An address where nobody listens. */
    gone: async () => {
      const url = await listen(() => {})
      const server = servers.pop()
      server?.close()
      if (server) await once(server, 'close')
      return url
    },
    run: async (...args: string[]) => {
      ;[out, err] = ['', '']
      const code = await runProgram(args, shell)
      return { code, out, err }
    },
    close: () => {
      for (const server of servers) {
        server.closeAllConnections()
        server.close()
      }
      rmSync(home, { recursive: true })
    },
  }
}

const sink = (take: (text: string) => void): Writable =>
  new Writable({
    write(chunk: Buffer, _encoding, done) {
      take(String(chunk))
      done()
    },
  })
