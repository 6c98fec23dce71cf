/**
 * The processes of one network on this machine, a gateway and some nodes, kept running and written down in network.json
 * whenever one of their pids changes.
 */
import { mkdirSync, readFileSync, renameSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { aborted } from '../shell/stop-requests.ts'
import { childMessage } from '../shell/supervised.ts'
import {
  supervise,
  type ProcessEvents,
  type ProcessPlan,
  type SupervisedProcess,
} from './supervised-process.ts'

export type NetworkPlan = {
  readonly home: string
  /** How to run this CLI: the program, and what comes before the command's name. */
  readonly program: readonly [string, ...string[]]
  readonly gateway: ProcessCommand
  readonly nodes: readonly ProcessCommand[]
}

type ProcessCommand = { readonly args: readonly string[]; readonly env: NodeJS.ProcessEnv }

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

/** Starts everything at once: nodes dial until the gateway answers. */
export function startNetwork(plan: NetworkPlan, events: NetworkEvents): Network {
  mkdirSync(join(plan.home, 'logs'), { recursive: true, mode: 0o700 })
  const started = new ProcessTable(plan, events)
  return {
    ready: aborted(started.ready.signal),
    async stop() {
      // The gateway first, while its nodes are there: answers end, and their receipts are handed in and paid.
      await started.gateway.stop(GATEWAY_GRACE_MS)
      await Promise.all(started.nodes.map((node) => node.process.stop(NODE_GRACE_MS)))
    },
    kill() {
      for (const node of started.nodes) node.process.kill()
      started.gateway.kill()
    },
  }
}

type NodeSlot = { id: string | null; readonly process: SupervisedProcess }

/** Who runs, under which pid and id, and who has not reported yet. */
class ProcessTable {
  readonly gateway: SupervisedProcess
  readonly nodes: NodeSlot[]
  readonly ready = new AbortController()
  readonly #plan: NetworkPlan
  readonly #events: NetworkEvents
  readonly #missing: Set<string>

  constructor(plan: NetworkPlan, events: NetworkEvents) {
    this.#plan = plan
    this.#events = events
    const names = plan.nodes.map((_, index) => `node ${index + 1}`)
    this.#missing = new Set(['gateway', ...names])
    this.gateway = this.#startGateway()
    this.nodes = plan.nodes.map((node, index) => this.#startNode(names[index] ?? '', node))
  }

  #startGateway(): SupervisedProcess {
    return supervise(this.#processPlan('gateway', this.#plan.gateway), {
      ...this.#commonEvents('gateway'),
      message: (value) => {
        if (childMessage.safeParse(value).success) this.#arrived('gateway')
      },
      line: (text) => this.#events.line(text),
      left: () => this.#events.over(),
    })
  }

  #startNode(name: string, command: ProcessCommand): NodeSlot {
    const process = supervise(this.#processPlan(name, command), {
      ...this.#commonEvents(name),
      message: (value) => {
        const message = childMessage.safeParse(value)
        if (!message.success) return
        slot.id = message.data.ready.id
        this.#arrived(name)
        this.#changed()
      },
      left: () => {
        this.#arrived(name)
        this.#changed()
        this.#events.say(`${name} has left`)
      },
    })
    const slot: NodeSlot = { id: null, process }
    return slot
  }

  #commonEvents(name: string): Pick<ProcessEvents, 'started' | 'failed'> {
    return {
      // The first start happens before `supervise` returns: tell when there is something to ask for its pid.
      started: () => queueMicrotask(() => this.#changed()),
      failed: (how, againInMs) => {
        this.#changed()
        const last = how.startsWith('exit') ? lastLine(this.#logFile(name)) : ''
        const the = name === 'gateway' ? 'the gateway' : name
        this.#events.say(`${the} ended (${how}${last}); starting it again in ${againInMs / 1000} s`)
      },
    }
  }

  #changed(): void {
    const running = this.nodes.flatMap(({ id, process: { pid } }) =>
      id === null || pid === null ? [] : [{ id, pid }],
    )
    const all = [this.gateway.pid, ...this.nodes.map((node) => node.process.pid)]
    this.#events.changed({
      gateway: { pid: this.gateway.pid },
      nodes: running,
      pids: all.filter((pid) => pid !== null),
    })
  }

  #arrived(name: string): void {
    this.#missing.delete(name)
    if (this.#missing.size === 0) this.ready.abort()
  }

  #processPlan(name: string, { args, env }: ProcessCommand): ProcessPlan {
    const [command, ...before] = this.#plan.program
    const logFile = this.#logFile(name)
    rotate(logFile)
    return { command, args: [...before, ...args], env, logFile }
  }

  #logFile(name: string): string {
    return join(this.#plan.home, 'logs', `${name.replace(' ', '-')}.log`)
  }
}

/** What the process said last: usually why it ended. */
function lastLine(path: string): string {
  const lines = readFileSync(path, 'utf8').trim().split('\n')
  const reason = lines.findLast((line) => line.startsWith('✗')) ?? lines.at(-1) ?? ''
  return reason === '' ? '' : `: ${reason.replace(/^✗ /, '').slice(0, 300)}`
}

/** A log is appended to over its process's lives; a large one is put aside first. */
function rotate(path: string): void {
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0
  if (size > MAX_LOG_BYTES) renameSync(path, `${path}.old`)
}
