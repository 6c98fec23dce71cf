/** A primary with a synchronous standby behind one URL: money is acknowledged when both have it. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { PostgresServer, serverFolder } from '../support/postgres-pair.ts'
import { occasionOf, type RowContext } from './row.ts'

/** Three probes 100 ms apart: then the primary is held for dead. */
const DETECT_MS = 300

export type Pair = {
  /** Both hosts; whoever takes writes is used. */
  readonly url: string
  primary(): PostgresServer
  standby(): PostgresServer
  /** SIGKILL of the primary, promotion of its standby. Milliseconds until writes go on. */
  failOver(): Promise<number>
  /** A new standby where the dead primary was. */
  renew(): Promise<void>
}

export async function standbyPair(context: RowContext): Promise<Pair> {
  const occasion = occasionOf(context)
  const folder = serverFolder(occasion)
  let made = 0
  const path = (): string => join(folder, `server-${++made}`)
  const settings = { wal_keep_size: '1GB', synchronous_commit: 'on' }
  let primary = await PostgresServer.start(occasion, path(), settings)
  let standby = await follow(primary)

  async function follow(of: PostgresServer, port?: number): Promise<PostgresServer> {
    const copy = path()
    await of.copyTo(copy)
    writeFileSync(join(copy, 'data', 'standby.signal'), '')
    const { password } = of.folder
    const follower = await PostgresServer.start(
      occasion,
      copy,
      {
        primary_conninfo: `host=127.0.0.1 port=${of.port} user=baseload password=${password} application_name=standby`,
        synchronous_standby_names: '',
      },
      port,
    )
    await of.sql(`alter system set synchronous_standby_names = 'standby'`)
    await of.sql('select pg_reload_conf()')
    await of.until(
      'the standby is synchronous',
      `select bool_or(sync_state = 'sync') from pg_stat_replication`,
    )
    return follower
  }
  const { port, folder: files } = primary
  const hosts = `127.0.0.1:${port},127.0.0.1:${standby.port}`
  return {
    url: `postgres://baseload:${files.password}@${hosts}/postgres?target_session_attrs=read-write`,
    primary: () => primary,
    standby: () => standby,
    async failOver() {
      const begin = performance.now()
      await primary.kill()
      await sleep(DETECT_MS)
      await standby.sql('select pg_promote(true, 30)')
      await standby.sql('create table if not exists writes_go_on (at timestamptz)')
      await standby.sql('insert into writes_go_on values (now())')
      return performance.now() - begin
    },
    async renew() {
      const dead = primary
      primary = standby
      standby = await follow(primary, dead.port)
    },
  }
}
