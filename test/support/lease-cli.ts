/** A tenant at the built command line, in a home of its own. */
import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { pageAt, type LeaseNetwork } from './lease-network.ts'
import { sdlOf, type SdlPlan } from './lease-sdl.ts'
import { MAIN } from './program.ts'

/** The built CLI, with a home of its own and the tenant's key. */
export class Cli {
  readonly #home = mkdtempSync(join(tmpdir(), 'baseload-cli-'))
  readonly #env: NodeJS.ProcessEnv
  readonly #children: ChildProcess[] = []

  constructor(
    t: TestContext,
    { url, tenantKey }: Pick<LeaseNetwork, 'url' | 'tenantKey'>,
    env: NodeJS.ProcessEnv = {},
  ) {
    t.after(() => {
      for (const child of this.#children) child.kill('SIGKILL')
      rmSync(this.#home, { recursive: true, force: true })
    })
    const own = { BASELOAD_HOME: this.#home, BASELOAD_URL: url, BASELOAD_API_KEY: tenantKey }
    this.#env = { ...process.env, NO_COLOR: '1', ...own, ...env }
  }

  path(name: string): string {
    return join(this.#home, name)
  }

  /** An SDL file. */
  sdl(text: string): string {
    writeFileSync(this.path('app.yaml'), text)
    return this.path('app.yaml')
  }

  update(plan: SdlPlan): Promise<unknown> {
    return this.run(['update', 'shop', this.sdl(sdlOf(plan))])
  }

  start(args: readonly string[]): ChildProcess {
    return this.#spawn(process.execPath, [MAIN, ...args])
  }

  /** The same for a command that goes on until it is stopped. */
  follow(args: readonly string[]): { said: () => string; stop: () => Promise<void> } {
    const child = this.start(args)
    let said = ''
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (said += text))
    const stop = async (): Promise<void> => {
      const gone = once(child, 'exit')
      child.kill('SIGINT')
      await gone
    }
    return { said: () => said, stop }
  }

  /** A port here that leads to one of `shop`. */
  async forward(ports: string): Promise<{ listening: string; stop: () => Promise<void> }> {
    const { said, stop } = this.follow(['port-forward', 'shop', ports, '--json'])
    while (!said().includes('\n')) await pause(20)
    const { listening }: { listening: string } = JSON.parse(said())
    return { listening, stop }
  }

  /** Fails unless it ends with the code; null: with any. */
  async run(
    args: readonly string[],
    { code = 0, input = '' }: { code?: number | null; input?: string } = {},
  ): Promise<{ out: string; err: string }> {
    return await ended(this.start(args), args.join(' '), code, input)
  }

  /** Types the line into it, and then `exit`; util-linux's `script` is the terminal. */
  async inTerminal(command: string, line: string): Promise<string> {
    const whole = `'${process.execPath}' '${MAIN}' ${command}`
    const child = this.#spawn('script', ['-qec', whole, '/dev/null'])
    const { out } = await ended(child, command, 0, `${line}\nexit\n`)
    return out
  }

  #spawn(program: string, args: readonly string[]): ChildProcess {
    const child = spawn(program, args, { env: this.#env })
    this.#children.push(child)
    return child
  }
}

async function ended(child: ChildProcess, what: string, code: number | null, input: string) {
  const said = { out: '', err: '' }
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (said.out += text))
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (said.err += text))
  child.stdin?.end(input)
  const [exit]: unknown[] = await once(child, 'close')
  if (code !== null) assert.equal(exit, code, `${what}\n${said.out}\n${said.err}`)
  return said
}

/** `running` says that the containers run; a server in them may need a moment more to listen. */
export async function pageSoon(url: string): Promise<string | null> {
  for (let tries = 0; tries < 50; tries++) {
    const page = await pageAt(url)
    if (page !== null) return page
    await pause(100)
  }
  return null
}

/** How many bytes come back when so many are sent to an echo; sent again while nothing does, as datagrams may be lost. */
export async function echoed(listening: string, size: number): Promise<number> {
  const [host = '', port] = listening.split(':')
  const socket = createSocket('udp4')
  try {
    for (;;) {
      socket.send(Buffer.alloc(size), Number(port), host)
      const answer = once(socket, 'message', { signal: AbortSignal.timeout(500) })
      const [message]: Buffer[] = await answer.catch(() => [])
      if (message !== undefined) return message.length
    }
  } finally {
    socket.close()
  }
}
