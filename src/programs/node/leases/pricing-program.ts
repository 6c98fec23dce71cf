/**
 * The provider's own pricing program, as Akash's providers have one: started for each order, told it on standard input,
 * and believed when it prints a price. What it may see, how long it may take and how many run is bounded here.
 */
import { NANO_PER_USD } from '../../../core/base/money.ts'
import { rateOf } from '../../../core/base/rate.ts'
import { isRefusal, reasonOf } from '../../../core/base/refusal.ts'
import {
  bidScriptEnv,
  bidScriptInput,
  MAX_BID_SCRIPT_OUTPUT_CHARS,
  onGpus,
  unitsOfScript,
} from '../../../core/market/bid-script.ts'
import type { UnitPrice } from '../../../core/protocol/bid.ts'
import type { Gpu } from '../../../core/protocol/capacity.ts'
import type { Group } from '../../../core/protocol/group.ts'
import { MAX_BID_WINDOW_MS } from '../../../core/protocol/lease-control.ts'
import { runProgram, type ProgramEnd } from '../../../io/child/run-program.ts'
import type { Logger } from '../../../io/telemetry/logger.ts'

/** Each is a process of the provider's: tenants who screen a lot must not fill the machine with them. */
export const MAX_PROGRAMS = 8
/** What a program finds its tools by, and what Akash's own script is set up with. No key is among them. */
const PASSED_ON = /^(PATH|HOME|LANG|LC_\w+|TZ|TMPDIR|PRICE_\w+|WHITELIST\w*)$/

export type Question = {
  readonly group: Group
  /** What it would run on, in the order of its units. */
  readonly gpus: readonly (Gpu | null)[]
  readonly tenant: string
  readonly withinMs: number
}
/** Goes out as a `no_bid` report. */
export type NoBid = { readonly code: 'bid_failed' | 'bid_busy'; readonly message: string }

export class PricingProgram {
  readonly path: string
  readonly #env: Readonly<Record<string, string>>
  readonly #logger: Logger
  readonly #ending = new AbortController()
  #running = 0

  constructor(path: string, env: NodeJS.ProcessEnv, logger: Logger) {
    this.path = path
    this.#env = Object.fromEntries(
      Object.entries(env).flatMap(([name, value]) =>
        value !== undefined && PASSED_ON.test(name) ? [[name, value]] : [],
      ),
    )
    this.#logger = logger
  }

  /** What it asks for each unit. Never rejects. */
  async price(question: Question): Promise<UnitPrice[] | NoBid> {
    const { group, gpus } = question
    if (this.#running >= MAX_PROGRAMS)
      return { code: 'bid_busy', message: `${MAX_PROGRAMS} pricing programs run here already` }
    this.#running += 1
    try {
      const units = unitsOfScript(group, gpus, await this.#run(question))
      return isRefusal(units) ? { code: 'bid_failed', message: units.message } : units
    } catch (error) {
      this.#logger.error('pricing program not started', { error: reasonOf(error) })
      return { code: 'bid_failed', message: 'its pricing program cannot be started' }
    } finally {
      this.#running -= 1
    }
  }

  /**
   * Tries it on a small order, so that a mistake is seen before the first tenant sees it. Null when it bids; else what
   * it did. `fatal`: it can never bid so; else it may have its reasons, such as a list of tenants.
   */
  async tryOut(): Promise<{ readonly fatal: boolean; readonly message: string } | null> {
    const question = { group: SAMPLE, gpus: [null], tenant: 'acct_sample' }
    try {
      const end = await this.#run({ ...question, withinMs: MAX_BID_WINDOW_MS })
      const units = unitsOfScript(SAMPLE, [null], end)
      if (!isRefusal(units)) return null
      const grumble = end.stderr.trim().split('\n').at(-1) ?? ''
      const message = `${this.path}: ${units.message}${grumble === '' ? '' : `: ${grumble.slice(0, 200)}`}`
      return { fatal: end.exitCode === 0 || end.timedOutMs !== null, message }
    } catch (error) {
      return { fatal: true, message: reasonOf(error) }
    }
  }

  /** Those that run are ended. */
  close(): void {
    this.#ending.abort()
  }

  async #run({ group, gpus, tenant, withinMs }: Question): Promise<ProgramEnd> {
    const began = performance.now()
    const end = await runProgram({
      path: this.path,
      input: `${bidScriptInput(onGpus(group, gpus))}\n`,
      env: { ...this.#env, ...bidScriptEnv(tenant) },
      timeoutMs: Math.min(withinMs, MAX_BID_WINDOW_MS),
      maxOutputBytes: MAX_BID_SCRIPT_OUTPUT_CHARS,
      signal: this.#ending.signal,
    })
    const { exitCode, stderr, timedOutMs } = end
    const ms = Math.round(performance.now() - began)
    const failed = exitCode !== 0 || timedOutMs !== null
    this.#logger[failed || stderr !== '' ? 'warn' : 'info']('pricing program', {
      tenant,
      exitCode,
      ms,
      stderr,
    })
    return end
  }
}

/** One CPU, 1 GiB of memory and of disk, for at most a dollar an hour. */
const SAMPLE: Group = {
  name: 'sample',
  attributes: {},
  signedBy: { anyOf: [], allOf: [] },
  units: [
    {
      id: 1,
      resources: {
        cpuMilli: 1000,
        cpuArch: null,
        memoryBytes: 2 ** 30,
        volumes: [{ name: 'default', bytes: 2 ** 30, persistent: false, class: 'default' }],
        gpu: null,
      },
      count: 1,
      endpoints: { sharedHttp: 1, randomPort: 0, leasedIp: 0 },
      maxRate: String(rateOf(NANO_PER_USD, 'hour')),
    },
  ],
  minNoticeS: null,
}
