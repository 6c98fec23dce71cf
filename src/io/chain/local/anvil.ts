/** One anvil process, Foundry's Ethereum node for development: found, started on the loopback, ended with us. */
import { spawn, type ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { z } from 'zod'
import { Fault } from '../../../core/base/refusal.ts'

export type Anvil = {
  readonly url: string
  readonly pid: number
  /** One JSON-RPC call. Throws a Fault `anvil_failed` with what anvil said. */
  readonly rpc: (method: string, params?: readonly unknown[]) => Promise<unknown>
  readonly exited: Promise<void>
  stop(): Promise<void>
}

const READY_TIMEOUT_MS = 30_000
const CALL_TIMEOUT_MS = 20_000
const STOP_TIMEOUT_MS = 5_000

/**
 * The program of npm's package for this platform. The lock names that for Linux on x64; not every registry has the others.
 */
function findAnvil(platform = `${process.platform}-${process.arch}`): string {
  const name = `@foundry-rs/anvil-${platform.replace('-x64', '-amd64')}`
  try {
    const root = createRequire(import.meta.url).resolve(`${name}/package.json`)
    return join(dirname(root), 'bin', 'anvil')
  } catch (cause) {
    throw new Fault(
      'anvil_unsupported_platform',
      `No local chain for ${platform}: npm's package ${name} is not installed. Install again without --omit=optional, ` +
        'or give the RPC address of a chain.',
      { cause },
    )
  }
}

/**
 * Resolves when it answers, after about 50 ms. It knows no accounts of its own and caps a transaction's gas as mainnet does
 * (EIP-7825). `port` 0 takes a free one.
 */
export async function startAnvil(
  options: {
    readonly port?: number
    readonly chainId?: number
    readonly args?: readonly string[]
  } = {},
): Promise<Anvil> {
  const { port = 0, chainId = 31_337, args = [] } = options
  // A state is sent whole when it is loaded; anvil's own limit is 2 MB.
  const fixed = ['--host', '127.0.0.1', '--accounts', '0', '--no-request-size-limit']
  const all = [
    ...fixed,
    '--enable-tx-gas-limit',
    '--port',
    String(port),
    '--chain-id',
    String(chainId),
    ...args,
  ]
  // Its own process group, so that Ctrl-C in the terminal reaches only us; its home must hold nothing of the user's.
  const home = mkdtempSync(join(tmpdir(), 'baseload-anvil-'))
  const child = spawn(findAnvil(), all, {
    detached: true,
    env: { HOME: home, NO_COLOR: '1' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const state = { over: false, output: '' }
  const exited = new Promise<void>((resolve) => {
    const done = (): void => {
      state.over = true
      rmSync(home, { recursive: true, force: true })
      resolve()
    }
    child.once('exit', done)
    child.once('error', done)
  })
  const guard = endWithUs(child.pid)
  void exited.then(() => guard.kill('SIGKILL'))
  const url = await listening(child, state)
  child.unref()
  if (child.stdout instanceof Socket) child.stdout.unref()
  if (child.stderr instanceof Socket) child.stderr.unref()
  return {
    url,
    pid: child.pid ?? 0,
    rpc: (method, params = []) => call(url, method, params),
    exited,
    stop: () => stop(child, exited),
  }
}

/** However this process ends, the kernel closes our end of a pipe; a shell waits at the other end and ends anvil. */
function endWithUs(pid: number | undefined): ChildProcess {
  const shell = spawn('sh', ['-c', 'read _; kill "$1" 2>/dev/null', 'sh', String(pid)], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  })
  shell.unref()
  if (shell.stdin instanceof Socket) shell.stdin.unref()
  return shell
}

function listening(child: ChildProcess, state: { over: boolean; output: string }): Promise<string> {
  return new Promise((resolve, reject) => {
    const fail = (why: string): void => {
      child.kill('SIGKILL')
      const tail = state.output.slice(-2000)
      reject(
        new Fault('anvil_start_failed', `The local chain did not start: ${why}.\n${tail}`, {
          retryable: true,
        }),
      )
    }
    const timer = setTimeout(() => fail('it says nothing'), READY_TIMEOUT_MS)
    const read = (data: Buffer): void => {
      if (state.output.length > 20_000) return
      state.output += data.toString()
      const address = /Listening on (127\.0\.0\.1:\d+)/.exec(state.output)?.[1]
      if (address === undefined) return
      clearTimeout(timer)
      state.output = ' '.repeat(20_001)
      resolve(`http://${address}`)
    }
    // Read to the end of its life: a full pipe would stop it.
    child.stdout?.on('data', read)
    child.stderr?.on('data', read)
    child.once('error', (error) => {
      clearTimeout(timer)
      fail(error.message)
    })
    child.once('exit', (code) => {
      clearTimeout(timer)
      fail(`it ended with ${code}`)
    })
  })
}

async function stop(child: ChildProcess, exited: Promise<void>): Promise<void> {
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS)
  await exited
  clearTimeout(timer)
}

const answer = z.object({
  result: z.unknown().optional(),
  error: z.object({ message: z.string() }).optional(),
})

async function call(url: string, method: string, params: readonly unknown[]): Promise<unknown> {
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }),
      signal: AbortSignal.timeout(CALL_TIMEOUT_MS),
    })
    const { result, error } = answer.parse(await response.json())
    if (error) throw new Error(error.message)
    return result
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new Fault('anvil_failed', `The local chain failed at ${method}: ${why}`, {
      cause,
      retryable: true,
    })
  }
}
