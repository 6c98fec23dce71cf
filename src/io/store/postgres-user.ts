/**
 * Under which identity PostgreSQL runs. It refuses uid 0, so for root there are two ways: an own system user
 * when that user can reach both the programs and the data, else a user namespace, in which files stay
 * root's and the effective uid is not 0. Each way is tried for real rather than guessed from file modes.
 */
import { spawnSync, type SpawnSyncReturns } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { Fault } from '../../core/base/refusal.ts'

export type PostgresUser = {
  readonly name: string
  /** Who owns the data folder. */
  readonly uid: number
  readonly gid: number
  /** What goes in front of a command. */
  readonly prefix: readonly string[]
  /** Options for `spawn`: empty when no change of identity is needed. */
  readonly identity: { readonly uid?: number; readonly gid?: number }
}

const SYSTEM_USER = 'baseload'
const NOBODY = 65534
const NAMESPACE = [
  'unshare',
  '--user',
  `--map-user=${NOBODY}`,
  `--map-group=${NOBODY}`,
  '--',
] as const

/** `folder` must exist; `probe` is a program of the package that prints its version and ends. */
export function choosePostgresUser(folder: string, probe: string): PostgresUser {
  const uid = process.getuid?.() ?? 0
  const gid = process.getgid?.() ?? 0
  if (uid !== 0 || process.platform === 'win32')
    return { name: 'you', uid, gid, prefix: [], identity: {} }

  const system = systemUser()
  if (system && works(system, folder, probe)) return system
  const namespaced: PostgresUser = {
    name: 'root in a user namespace',
    uid: 0,
    gid: 0,
    prefix: NAMESPACE,
    identity: {},
  }
  if (works(namespaced, folder, probe)) return namespaced
  throw new Fault(
    'postgres_no_user',
    `PostgreSQL does not run as root, no other user may enter ${folder} or the folder of ${probe}, and user namespaces ` +
      'are not allowed here. Set BASELOAD_HOME to a folder that others can enter (and keep the program in one too), ' +
      'run as another user, or set DATABASE_URL.',
  )
}

/** Runs one of the package's programs to its end as that user. */
export function runAs(
  user: PostgresUser,
  folder: string,
  command: readonly string[],
): SpawnSyncReturns<string> {
  const [program = '', ...args] = [...user.prefix, ...command]
  return spawnSync(program, args, {
    ...user.identity,
    cwd: folder,
    encoding: 'utf8',
    env: postgresEnvironment(),
  })
}

/** Nothing of the caller's environment: PG* variables would change what the server does. */
export const postgresEnvironment = (): NodeJS.ProcessEnv => ({
  PATH: process.env['PATH'],
  LC_ALL: 'C',
  TZ: 'UTC',
})

/** The working folder is entered before the identity changes, so the shell has to try the way again. */
const works = (user: PostgresUser, folder: string, probe: string): boolean =>
  runAs(user, folder, ['sh', '-c', 'test -x "$1" && "$2" --version', 'sh', folder, probe])
    .status === 0

function systemUser(): PostgresUser | null {
  if (passwdEntry(SYSTEM_USER) === null) {
    spawnSync('useradd', [
      '--system',
      '--no-create-home',
      '--home-dir=/nonexistent',
      '--shell=/usr/sbin/nologin',
      SYSTEM_USER,
    ])
  }
  return passwdEntry(SYSTEM_USER) ?? passwdEntry('nobody')
}

function passwdEntry(name: string): PostgresUser | null {
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((entry) => entry.startsWith(`${name}:`))
  const [, , uid, gid] = line?.split(':') ?? []
  if (!uid || !gid) return null
  const identity = { uid: Number(uid), gid: Number(gid) }
  return { name, ...identity, prefix: [], identity }
}
