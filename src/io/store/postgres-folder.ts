/**
 * The folder of an embedded PostgreSQL:
 *
 *   data           PostgreSQL's own, owned by whom it runs as
 *   password       0600, random
 *   port           kept, so that the URL stays the same
 *   supervisor     pid of the program that looks after the server
 *   postgres.log
 */
import { randomBytes } from 'node:crypto'
import {
  chownSync,
  closeSync,
  existsSync,
  fsyncSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { Fault } from '../../core/base/refusal.ts'
import type { PostgresBinaries } from './postgres-binaries.ts'
import { runAs, type PostgresUser } from './postgres-user.ts'
import { isAlive } from './postmaster.ts'

export type PostgresFolder = {
  readonly path: string
  readonly data: string
  readonly log: string
  readonly password: string
}

export const SUPERUSER = 'baseload'
const MAX_LOG_BYTES = 10_000_000

export function openFolder(path: string): PostgresFolder {
  // Others may pass through but not look: PostgreSQL's own user has to reach `data`.
  mkdirSync(path, { recursive: true, mode: 0o711 })
  const real = realpathSync(path)
  const log = join(real, 'postgres.log')
  if (existsSync(log) && statSync(log).size > MAX_LOG_BYTES) truncateSync(log)
  return { path: real, data: join(real, 'data'), log, password: password(real) }
}

function password(path: string): string {
  const file = join(path, 'password')
  if (!existsSync(file) && existsSync(join(path, 'data'))) {
    throw new Fault(
      'postgres_password_lost',
      `${file} is missing, and without it nobody can log in to ${join(path, 'data')}. Restore the file, or move the data folder away to begin anew.`,
    )
  }
  try {
    writeFileSync(file, randomBytes(24).toString('base64url'), { mode: 0o600, flag: 'wx' })
    // Of what is not synced a power cut leaves an empty file, and nobody could log in any more.
    syncToDisk(file)
    syncToDisk(path)
  } catch {
    // It exists: two programs that start together use the same one.
  }
  return readFileSync(file, 'utf8').trim()
}

/** Makes the database if there is none, and refuses one of another major version. */
export function prepareData(
  folder: PostgresFolder,
  user: PostgresUser,
  binaries: PostgresBinaries,
): void {
  if (!existsSync(folder.data)) initialise(folder, user, binaries)
  const found = Number(readFileSync(join(folder.data, 'PG_VERSION'), 'utf8'))
  if (found !== binaries.major) {
    throw new Fault(
      'postgres_other_version',
      `${folder.data} was made by PostgreSQL ${found}, this is ${binaries.major}. Run a PostgreSQL ${found} on it and set ` +
        'DATABASE_URL, or dump it there and restore it here.',
    )
  }
  if (statSync(folder.data).uid !== user.uid) give(folder.data, user)
}

/** In a folder beside, renamed when whole: a crash in the middle leaves nothing that looks like a database. */
function initialise(folder: PostgresFolder, user: PostgresUser, binaries: PostgresBinaries): void {
  const draft = join(folder.path, `draft-${process.pid}`)
  rmSync(draft, { recursive: true, force: true })
  mkdirSync(draft, { mode: 0o700 })
  chownSync(draft, user.uid, user.gid)
  chownSync(join(folder.path, 'password'), user.uid, user.gid)
  const { status, stderr, error } = runAs(user, folder.path, [
    binaries.initdb,
    `--pgdata=${draft}`,
    `--username=${SUPERUSER}`,
    `--pwfile=${join(folder.path, 'password')}`,
    '--auth=scram-sha-256',
    '--encoding=UTF8',
    '--locale=C',
    '--locale-provider=builtin',
    '--builtin-locale=C.UTF-8',
    '--data-checksums',
  ])
  if (status !== 0) {
    rmSync(draft, { recursive: true, force: true })
    throw new Fault(
      'postgres_init_failed',
      `initdb failed as ${user.name} in ${folder.path}: ${stderr || String(error)}`,
      { cause: error },
    )
  }
  if (existsSync(folder.data)) rmSync(draft, { recursive: true })
  else {
    renameSync(draft, folder.data)
    syncToDisk(folder.path)
  }
}

/** A file's contents, or a folder's entries. */
function syncToDisk(path: string): void {
  const file = openSync(path, 'r')
  try {
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
}

/** The way PostgreSQL runs changed between two starts (an own user, or root in a namespace): so does the owner. */
function give(path: string, user: PostgresUser): void {
  lchownSync(path, user.uid, user.gid)
  if (!lstatSync(path).isDirectory()) return
  for (const entry of readdirSync(path)) give(join(path, entry), user)
}

/** The port of last time when it is free, else a free one, noted for next time. */
export async function choosePort(folder: PostgresFolder): Promise<number> {
  const file = join(folder.path, 'port')
  const noted = existsSync(file) ? Number(readFileSync(file, 'utf8')) : 0
  const port = (noted > 0 ? await freePort(noted) : null) ?? (await freePort(0))
  if (port === null) throw new Fault('postgres_no_port', 'no loopback TCP port is free')
  writeFileSync(file, `${port}\n`)
  return port
}

const freePort = (wanted: number): Promise<number | null> =>
  new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(null))
    server.listen(wanted, '127.0.0.1', () => {
      const address = server.address()
      server.close(() =>
        resolve(address !== null && typeof address === 'object' ? address.port : null),
      )
    })
  })

/**
 * Whether this program looks after the server: true when it says so in the folder, or when whoever said so
 * is dead. `force` takes it over: a server that does not run has no one to look after it.
 */
export function claimSupervision(folder: PostgresFolder, force = false): boolean {
  const file = join(folder.path, 'supervisor')
  const holder = existsSync(file) ? Number(readFileSync(file, 'utf8')) : 0
  if (holder === process.pid) return true
  if (!force && holder > 0 && isAlive(holder)) return false
  writeFileSync(file, `${process.pid}\n`)
  return true
}

export const endSupervision = (folder: PostgresFolder): void =>
  rmSync(join(folder.path, 'supervisor'), { force: true })
