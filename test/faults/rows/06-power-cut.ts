import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { openDatabase } from '../../../src/io/store/database.ts'
import { startEmbeddedPostgres } from '../../../src/io/store/embedded-postgres.ts'
import { createPostgresStore } from '../../../src/io/store/postgres-store.ts'
import { sampleUsage, withReceipts } from '../../../src/io/store/samples.ts'
import { testTenant } from '../../../src/io/store/testing.ts'
import { silentLogger } from '../../../src/io/telemetry/logger.ts'
import { seededRandom } from '../../../src/core/base/random.ts'
import type { FaultRow, RowContext } from '../row.ts'

const LANES = 8
const logger = silentLogger

export const row: FaultRow = {
  number: 6,
  fault: 'power cut: what the disk has at that moment is all that is left',
  load: '8 lanes that settle receipts in PostgreSQL on an ext4 of its own',
  promise: '0 acknowledged settlements lost, ledger invariants hold',
  missing: async () =>
    process.getuid?.() === 0 && existsSync('/dev/loop-control')
      ? null
      : 'a loop device to mount: run it as root on Linux',
  async run(context) {
    const disk = new Disk(context)
    const random = seededRandom(context.seed)
    const cuts = context.form === 'short' ? 2 : 20
    let acknowledged = 0
    let lost = 0
    let wrong = 0
    disk.mount('a')
    for (let cut = 0; cut < cuts; cut++) {
      context.signal.throwIfAborted()
      const acked = await settleAndCut(disk, 800 + random() * 1500)
      disk.unmount()
      disk.mount('b')
      const left = await lookAt(disk.folder)
      acknowledged += acked.length
      lost += acked.filter((attempt) => !left.attempts.has(attempt)).length
      wrong += left.wrong
      disk.unmount()
      disk.mount('a')
      context.tell(`cut ${cut + 1}: ${acked.length} acknowledged, ${lost} lost so far`)
    }
    return {
      n: cuts,
      measured: `${acknowledged} settlements acknowledged before ${cuts} cuts, ${lost} lost, ${wrong} balances wrong`,
      pass: lost === 0 && wrong === 0 && acknowledged > cuts * 10,
    }
  },
}

/** Two images, one mounted at a time: `a` is worked on, `b` is what the disk had when the power went. */
class Disk {
  readonly #base = mkdtempSync(join(tmpdir(), 'baseload-power-'))
  readonly #mountPoint = join(this.#base, 'disk')
  readonly folder = join(this.#mountPoint, 'postgres')
  #mounted = false

  constructor({ after }: RowContext) {
    execFileSync('chmod', ['755', this.#base])
    mkdirSync(this.#mountPoint)
    execFileSync('truncate', ['-s', '512M', this.#image('a')])
    execFileSync('mkfs.ext4', ['-q', '-F', this.#image('a')])
    after(() => {
      this.unmount()
      rmSync(this.#base, { recursive: true, force: true })
    })
  }

  #image(name: 'a' | 'b'): string {
    return join(this.#base, `${name}.img`)
  }

  mount(name: 'a' | 'b'): void {
    execFileSync('mount', ['-o', 'loop', this.#image(name), this.#mountPoint])
    this.#mounted = true
  }

  unmount(): void {
    if (this.#mounted) execFileSync('umount', [this.#mountPoint])
    this.#mounted = false
  }

  /** Of the image and not of the files: what was written and not synced is not there. */
  keepWhatItHas(): void {
    execFileSync('cp', ['--sparse=always', this.#image('a'), this.#image('b')])
  }
}

/** Returns the attempts whose settlement was acknowledged before the cut. */
async function settleAndCut(disk: Disk, runMs: number): Promise<string[]> {
  const postgres = await startEmbeddedPostgres({ folder: disk.folder, logger })
  const store = await createPostgresStore({ url: postgres.url, logger })
  const account = await testTenant(store, 1_000_000_000n)
  const acked: string[] = []
  const over = new AbortController()
  const lane = async (): Promise<void> => {
    while (!over.signal.aborted) {
      const usages = Array.from({ length: 4 }, () => sampleUsage({ account }))
      const outcomes = await store.settle(withReceipts(usages))
      if (outcomes.some((outcome) => outcome !== 'settled')) throw new Error(outcomes.join())
      acked.push(...usages.map(({ attempt }) => attempt))
    }
  }
  const lanes = Array.from({ length: LANES }, lane)
  await sleep(runMs)
  const pids = [postgres.pid() ?? 0].flatMap((pid) => [pid, ...childrenOf(pid)])
  for (const pid of pids) process.kill(pid, 'SIGSTOP')
  const before = [...acked]
  disk.keepWhatItHas()
  for (const pid of pids) process.kill(pid, 'SIGCONT')
  over.abort()
  await Promise.all(lanes)
  await store.close()
  await postgres.stop()
  return before
}

async function lookAt(folder: string): Promise<{ attempts: Set<string>; wrong: number }> {
  const postgres = await startEmbeddedPostgres({ folder, logger })
  const store = await createPostgresStore({ url: postgres.url, logger })
  const database = openDatabase({ url: postgres.url, logger, connections: 1 })
  const rows = await database.run(
    (sql) => sql<{ attempt: string }[]>`
      select u.attempt from usage u join receipts r on r.attempt = u.attempt`,
  )
  const { sumNanoUsd, wrong } = await store.audit()
  await Promise.all([store.close(), database.close()])
  await postgres.stop()
  const attempts = new Set(rows.map(({ attempt }) => attempt))
  return { attempts, wrong: wrong.length + (sumNanoUsd === 0n ? 0 : 1) }
}

function childrenOf(parent: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        return (
          readFileSync(`/proc/${name}/stat`, 'utf8').split(') ')[1]?.split(' ')[1] ===
          String(parent)
        )
      } catch {
        return false // it has ended
      }
    })
    .map(Number)
}
