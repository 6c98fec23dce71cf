/**
 * PostgreSQL servers with settings of their own, and copies of them: a base backup by `pg_backup_start`, copied files and
 * `pg_backup_stop`, which becomes a standby or is restored from an archive. Nobody starts them again when they die.
 */
import assert from 'node:assert/strict'
import {
  appendFileSync,
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import postgresJs from 'postgres'
import { findPostgresBinaries } from '../../src/io/store/postgres-binaries.ts'
import {
  choosePort,
  openFolder,
  prepareData,
  SUPERUSER,
  type PostgresFolder,
} from '../../src/io/store/postgres-folder.ts'
import { choosePostgresUser } from '../../src/io/store/postgres-user.ts'
import { startPostmaster, stopPostmaster } from '../../src/io/store/postmaster.ts'
import type { Occasion } from './occasion.ts'

export type Settings = Readonly<Record<string, string | number>>

const PATIENCE_MS = 30_000
/** What a copy must not have: it is of the running server alone. */
const NOT_COPIED =
  /^(postmaster\.(pid|opts)|pg_(wal|replslot|dynshmem|notify|serial|snapshots|stat_tmp|subtrans)\/.*)$/

export class PostgresServer {
  readonly folder: PostgresFolder
  readonly port: number
  #pid: number | null = null

  private constructor(folder: PostgresFolder, port: number) {
    this.folder = folder
    this.port = port
  }

  /** `path` has a database already, or gets one. Killed with the occasion. */
  static async start(
    t: Occasion,
    path: string,
    settings: Settings,
    port?: number,
  ): Promise<PostgresServer> {
    const folder = openFolder(path)
    const binaries = findPostgresBinaries()
    const user = choosePostgresUser(folder.path, binaries.postgres)
    prepareData(folder, user, binaries)
    for (const [name, value] of Object.entries(settings))
      appendFileSync(join(folder.data, 'postgresql.auto.conf'), `${name} = '${value}'\n`)
    const server = new PostgresServer(folder, port ?? (await choosePort(folder)))
    t.after(() => server.kill())
    const { data, log } = folder
    const started = { user, postgres: binaries.postgres, data, port: server.port, log }
    server.#pid = (await startPostmaster(started)).pid
    return server
  }

  get url(): string {
    return `postgres://${SUPERUSER}:${this.folder.password}@127.0.0.1:${this.port}/postgres`
  }

  get pid(): number {
    assert.ok(this.#pid !== null, 'PostgreSQL runs')
    return this.#pid
  }

  /** SIGKILL of the server and of all its children; resolves when it is gone. */
  async kill(): Promise<void> {
    const pid = this.#pid
    if (pid === null) return
    this.#pid = null
    for (const one of [pid, ...childrenOf(pid)]) {
      try {
        process.kill(one, 'SIGKILL')
      } catch {
        // It ended by itself.
      }
    }
    await stopPostmaster(pid)
  }

  /** To the server and all its children. */
  signal(name: 'SIGSTOP' | 'SIGCONT'): void {
    for (const one of [this.pid, ...childrenOf(this.pid)]) process.kill(one, name)
  }

  /** On a connection of its own. */
  async sql<T extends object>(text: string): Promise<T[]> {
    const sql = postgresJs(this.url, { max: 1, connect_timeout: 2, onnotice: () => {} })
    try {
      return [...(await sql.unsafe<T[]>(text))]
    } finally {
      await sql.end({ timeout: 1 })
    }
  }

  /** Looks until the statement gives true. */
  async until(what: string, statement: string): Promise<void> {
    const deadline = performance.now() + PATIENCE_MS
    for (;;) {
      const [row] = await this.sql<{ yes: boolean | null }>(`select (${statement}) as yes`).catch(
        () => [],
      )
      if (row?.yes === true) return
      assert.ok(performance.now() < deadline, `waited ${PATIENCE_MS} ms in vain: ${what}`)
      await sleep(50)
    }
  }

  /** Its files and its password, whole and consistent once the log since then has been replayed. */
  async copyTo(path: string): Promise<void> {
    mkdirSync(path, { recursive: true, mode: 0o711 })
    copyFileSync(join(this.folder.path, 'password'), join(path, 'password'))
    const data = join(path, 'data')
    const sql = postgresJs(this.url, { max: 1, onnotice: () => {} })
    try {
      await sql`select pg_backup_start('copy', true)`
      copyFolder(this.folder.data, data)
      const [label] = await sql<{ labelfile: string }[]>`
        select labelfile from pg_backup_stop(false)`
      writeFileSync(join(data, 'backup_label'), label?.labelfile ?? '')
    } finally {
      await sql.end({ timeout: 1 })
    }
  }
}

/** Files come and go while the server writes: what the log says of them counts. */
function copyFolder(from: string, to: string, within = ''): void {
  mkdirSync(to, { mode: 0o700 })
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    const name = within + entry.name
    if (NOT_COPIED.test(name)) continue
    const [source, target] = [join(from, entry.name), join(to, entry.name)]
    try {
      if (entry.isDirectory()) copyFolder(source, target, `${name}/`)
      else copyFileSync(source, target)
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error
    }
  }
}

function childrenOf(pid: number): number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
  return text.split(' ').filter(Boolean).map(Number)
}

/** A folder for servers and archives that PostgreSQL's own user may enter; removed with the occasion. */
export function serverFolder(t: Occasion): string {
  const folder = mkdtempSync(join(tmpdir(), 'baseload-servers-'))
  chmodSync(folder, 0o711)
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}
