/** Watches one container: tells of its exits, restarts it with a growing pause, and knows where it can be reached. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Container, ContainerInspectInfo } from 'dockerode'
import { z } from 'zod'
import { reasonOf } from '../../core/base/refusal.ts'
import type { Context } from './context.ts'
import { ask, askLeniently, statusOf } from './engine-socket.ts'
import { exitCause, KILLED, RestartPause } from './exit.ts'
import { probeHealth, probePauseMs } from './health.ts'
import { LABEL, networkName, targetOf, type Labels } from './names.ts'
import { RESTARTS, type ReplicaStatus, type Restart } from './runtime.ts'

/** How soon an engine that does not answer is asked again: it restarts in seconds. */
const ASK_AGAIN_MS = 1_000

/** Of overlay file systems. */
const layerSchema = z.object({ Data: z.object({ UpperDir: z.string() }) })

/** Resolves when there is another container in the place of what this one watched. */
type Remake = (watch: ReplicaWatch, signal: AbortSignal) => Promise<void>

export class ReplicaWatch {
  readonly id: string
  readonly at: NonNullable<ReturnType<typeof targetOf>>
  readonly labels: Labels
  readonly #context: Context
  readonly #container: Container
  readonly #left = new AbortController()
  readonly #pause = new RestartPause()
  /** Makes the container anew, as its lease says now. */
  readonly #remake: Remake
  #asked = false
  #removed = false
  #stopped: 'exit' | 'disk' | null = null
  #healthy: boolean | null = null
  #restarts = 0
  #about: ContainerInspectInfo | null = null
  /** Those who wait for the next start. */
  #starts: (() => void)[] = []

  constructor(
    context: Context,
    { id, labels, remake }: { id: string; labels: Labels; remake: Remake },
  ) {
    const at = targetOf(labels)
    if (at === null) throw new Error(`container ${id} has none of our labels`)
    this.id = id
    this.at = at
    this.labels = labels
    this.#remake = remake
    this.#context = context
    this.#container = context.docker.getContainer(id)
  }

  /** Starts the container where it does not run, and watches it from then on. */
  async start(): Promise<void> {
    this.#about = await this.#inspect()
    if (!this.#about.State.Running) await this.#startAgain()
    this.#watch()
  }

  /** Watches without starting: the policy says what becomes of one that does not run. */
  async adopt(): Promise<void> {
    this.#about = await this.#inspect()
    this.#watch()
  }

  #watch(): void {
    void this.#follow()
    void this.#followHealth()
  }

  /** Stops watching; the container goes on. */
  leave(): void {
    this.#left.abort()
    this.#wake()
  }

  get watching(): boolean {
    return !this.#left.signal.aborted
  }

  /** From outside: by none of our calls. */
  get removed(): boolean {
    return this.#removed
  }

  get running(): boolean {
    return !this.#removed && this.#about?.State.Running === true
  }

  get healthy(): boolean | null {
    return this.#healthy
  }

  /** Null while it does not run. */
  get address(): string | null {
    if (!this.running) return null
    const name = networkName(this.#context.instance, this.at.lease)
    return this.#about?.NetworkSettings.Networks[name]?.IPAddress || null
  }

  /** The folder of this host that holds what it writes outside of volumes; null: its engine keeps that otherwise. */
  get layer(): string | null {
    return layerSchema.safeParse(this.#about?.GraphDriver).data?.Data.UpperDir ?? null
  }

  /** Ends it for good, because of what it wrote. */
  async stopForDisk(): Promise<void> {
    this.#stopped = 'disk'
    this.#asked = true
    await askLeniently(`stop ${this.#name}`, this.#container.kill())
  }

  /** Resolves at the next start; at once when nobody watches any more. */
  nextStart(): Promise<void> {
    if (!this.watching || this.#stopped !== null) return Promise.resolve()
    return new Promise((resolve) => this.#starts.push(resolve))
  }

  status(): ReplicaStatus {
    const { State, Config } = this.#about ?? {}
    const running = this.running
    const ended = this.#removed || (!running && State !== undefined && State.Status !== 'created')
    return {
      ...this.at,
      image: Config?.Image ?? '',
      state: running ? 'running' : ended ? 'exited' : 'created',
      stopped: this.#stopped,
      healthy: this.#healthy,
      startedAt: Date.parse(State?.StartedAt ?? '') || 0,
      exitCode: ended ? this.#exitCode : null,
      restarts: this.#restarts,
    }
  }

  async #follow(): Promise<void> {
    while (this.watching) {
      try {
        await this.#container.wait({ abortSignal: this.#left.signal })
        this.#about = await this.#inspect()
        if (!this.watching || this.#about.State.Running) continue
        // Docker kills first and removes then: what it says meanwhile is no exit of the container's own.
        if (this.#about.State.Status === 'removing') {
          await this.#rest(ASK_AGAIN_MS)
          continue
        }
        if (!(await this.#afterExit(this.#about))) return
      } catch (thrown) {
        if (!this.watching) return
        if (statusOf(thrown) === 404) return await this.#afterRemoval()
        this.#tellFailure(thrown)
        await this.#rest(ASK_AGAIN_MS)
      }
    }
  }

  /** False: it stays as it is. */
  async #afterExit({ State }: ContainerInspectInfo): Promise<boolean> {
    const exitCode = State.ExitCode
    const ranMs = Date.parse(State.FinishedAt) - Date.parse(State.StartedAt)
    const cause = exitCause({ exitCode, oomKilled: State.OOMKilled, asked: this.#asked })
    const restartInMs =
      this.#stopped === null ? this.#pause.next(this.#policy, { exitCode, ranMs }) : null
    this.#healthy = null
    if (restartInMs === null) this.#stopped ??= 'exit'
    this.#context.tell({ type: 'container.exited', ...this.at, exitCode, cause, restartInMs })
    if (restartInMs === null) {
      this.#wake()
      return false
    }
    await this.#rest(restartInMs)
    if (!this.watching) return false
    this.#restarts += 1
    await this.#startAgain()
    return true
  }

  /** Somebody else removed it: what its policy says of an exit holds for that, too. */
  async #afterRemoval(): Promise<void> {
    const exitCode = this.#exitCode
    const ranMs = this.running ? Date.now() - Date.parse(this.#about?.State.StartedAt ?? '') : 0
    this.#removed = true
    this.#healthy = null
    let restartInMs =
      this.#stopped === null ? this.#pause.next(this.#policy, { exitCode, ranMs }) : null
    if (restartInMs === null) this.#stopped ??= 'exit'
    this.#context.tell({
      type: 'container.exited',
      ...this.at,
      exitCode,
      cause: 'removed',
      restartInMs,
    })
    while (restartInMs !== null) {
      await this.#rest(restartInMs)
      if (!this.watching) return
      try {
        return await this.#remake(this, this.#left.signal)
      } catch (thrown) {
        if (!this.watching) return
        this.#tellFailure(thrown)
        restartInMs = this.#pause.next('always', { exitCode, ranMs: 0 })
      }
    }
    this.leave()
  }

  async #startAgain(): Promise<void> {
    const start = this.#container.start().catch((thrown: unknown) => {
      // 304: an earlier start has worked, and its answer was lost.
      if (statusOf(thrown) !== 304) throw thrown
    })
    await ask(`start ${this.#name}`, start)
    this.#about = await this.#inspect()
    this.#context.tell({ type: 'container.started', ...this.at })
    this.#wake()
  }

  async #followHealth(): Promise<void> {
    const pauseMs = probePauseMs(this.#about, this.#context.facts.quirks.healthUndriven)
    if (pauseMs === null) return
    while (this.watching && this.#stopped === null) {
      await this.#rest(pauseMs)
      if (!this.running || !this.watching) continue
      const healthy = await probeHealth(this.#context, this.id).catch(() => null)
      if (healthy === null || healthy === this.#healthy) continue
      this.#healthy = healthy
      this.#context.tell({ type: 'container.health', ...this.at, healthy })
    }
  }

  #tellFailure(thrown: unknown): void {
    this.#context.tell({ type: 'watch.failed', reason: `${this.#name}: ${reasonOf(thrown)}` })
  }

  #wake(): void {
    for (const wake of this.#starts.splice(0)) wake()
  }

  #rest(ms: number): Promise<void> {
    return sleep(ms, undefined, { signal: this.#left.signal }).catch(() => {})
  }

  #inspect(): Promise<ContainerInspectInfo> {
    return this.#container.inspect()
  }

  /** What ran when it was removed was killed for that. */
  get #exitCode(): number {
    const { Running = true, ExitCode = KILLED } = this.#about?.State ?? {}
    return Running ? KILLED : ExitCode
  }

  get #policy(): Restart {
    return RESTARTS.find((one) => one === this.labels[LABEL.restart]) ?? 'always'
  }

  get #name(): string {
    const { lease, service, replica } = this.at
    return `${service}-${replica} of lease ${lease}`
  }
}
