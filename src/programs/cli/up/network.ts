/**
 * The processes of one network on this machine, a gateway and some nodes, kept running and written down in network.json
 * whenever one of their pids changes.
 */
import { mkdirSync, readFileSync, renameSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { aborted } from '../shell/stop-requests.ts'
import { childMessage } from '../shell/supervised.ts'
import { supervise, type ProcessPlan, type SupervisedProcess } from './supervised-process.ts'

export type NetworkPlan = {
  readonly home: string
  /** How to run this CLI: the program, and what comes before the command's name. */
  readonly program: readonly [string, ...string[]]
  readonly gateway: { readonly args: readonly string[]; readonly env: NodeJS.ProcessEnv }
  /** Arguments of each node. */
  readonly nodes: readonly { readonly args: readonly string[]; readonly env: NodeJS.ProcessEnv }[]
}

export type RunningProcesses = {
  readonly gateway: { readonly pid: number | null }
  readonly nodes: readonly { readonly id: string; readonly pid: number }[]
  /** All pids, also of those that are not ready yet. */
  readonly pids: readonly number[]
}

export type NetworkEvents = {
  changed(running: RunningProcesses): void
  /** A line of the gateway's standard output. */
  line(text: string): void
  /** Something a person should know, in one line. */
  say(text: string): void
  /** The gateway left on purpose: the network is over. */
  over(): void
}

export type Network = {
  /** The gateway answers and every node has reported in, at least once. */
  readonly ready: Promise<void>
  stop(): Promise<void>
  kill(): void
}

/** The gateway cuts running answers after 10 s, and then has its last postings to write. */
const GATEWAY_GRACE_MS = 15_000
/** Without a gateway a node has nothing to finish. */
const NODE_GRACE_MS = 4_000
const MAX_LOG_BYTES = 16 * 1024 * 1024 // one older log is kept: two per process

type NodeSlot = { id: string | null; readonly process: SupervisedProcess }

export function startNetwork(plan: NetworkPlan, events: NetworkEvents): Network {
  const logs = join(plan.home, 'logs')
  mkdirSync(logs, { recursive: true, mode: 0o700 })
  const waiting = new Set<string>(['gateway', ...plan.nodes.map((_, index) => `node ${index + 1}`)])
  const ready = new AbortController()
  const nodes: NodeSlot[] = []
  let gateway: SupervisedProcess | null = null

  const changed = () => {
    const running = nodes.flatMap(({ id, process: { pid } }) =>
      id === null || pid === null ? [] : [{ id, pid }],
    )
    const all = [gateway?.pid ?? null, ...nodes.map((node) => node.process.pid)]
    events.changed({
      gateway: { pid: gateway?.pid ?? null },
      nodes: running,
      pids: all.filter((pid) => pid !== null),
    })
  }

  function arrived(name: string): void {
    waiting.delete(name)
    if (waiting.size === 0) ready.abort()
  }

  function processPlan(name: string, args: readonly string[], env: NodeJS.ProcessEnv): ProcessPlan {
    const [command, ...before] = plan.program
    return { command, args: [...before, ...args], env, logFile: logFile(logs, name) }
  }

  const failed = (name: string, file: string) => (how: string, againInMs: number) => {
    changed()
    const last = how.startsWith('exit') ? lastLine(logFile(logs, file)) : ''
    events.say(`${name} ended (${how}${last}); starting it again in ${againInMs / 1000} s`)
  }

  function startGateway(): SupervisedProcess {
    const { args, env } = plan.gateway
    return supervise(processPlan('gateway', args, env), {
      // The first start happens before `supervise` returns: tell when there is something to ask for its pid.
      started: () => queueMicrotask(changed),
      message: (value) => {
        if (childMessage.safeParse(value).success) arrived('gateway')
      },
      line: (text) => events.line(text),
      failed: failed('the gateway', 'gateway'),
      left: () => events.over(),
    })
  }

  function startNode(index: number): void {
    const name = `node ${index + 1}`
    const file = `node-${index + 1}`
    const { args = [], env = {} } = plan.nodes[index] ?? {}
    const process = supervise(processPlan(file, args, env), {
      started: () => queueMicrotask(changed),
      message: (value) => {
        const message = childMessage.safeParse(value)
        if (!message.success) return
        slot.id = message.data.ready.id
        arrived(name)
        changed()
      },
      failed: failed(name, file),
      left: () => {
        arrived(name)
        changed()
        events.say(`${name} has left`)
      },
    })
    const slot: NodeSlot = { id: null, process }
    nodes.push(slot)
  }

  gateway = startGateway()
  plan.nodes.forEach((_, index) => startNode(index))
  return {
    ready: aborted(ready.signal),
    async stop() {
      // The gateway first, while its nodes are there: answers end, and their receipts are handed in and paid.
      await gateway.stop(GATEWAY_GRACE_MS)
      await Promise.all(nodes.map((node) => node.process.stop(NODE_GRACE_MS)))
    },
    kill() {
      for (const node of nodes) node.process.kill()
      gateway.kill()
    },
  }
}

/** What the process said last: usually why it ended. */
function lastLine(path: string): string {
  const lines = readFileSync(path, 'utf8').trim().split('\n')
  const reason = lines.findLast((line) => line.startsWith('✗')) ?? lines.at(-1) ?? ''
  return reason === '' ? '' : `: ${reason.replace(/^✗ /, '').slice(0, 300)}`
}

/** One file a process, appended to over its lives; a large one is put aside first. */
function logFile(folder: string, name: string): string {
  const path = join(folder, `${name}.log`)
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0
  if (size > MAX_LOG_BYTES) renameSync(path, `${path}.old`)
  return path
}
