import assert from 'node:assert/strict'
import { chmodSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { readSpools } from '../../support/network-of-programs.ts'
import { PostgresServer, serverFolder } from '../../support/postgres-pair.ts'
import { seconds, startFleet } from '../fleet-rows.ts'
import { settleAll, startLanes } from '../lanes.ts'
import { occasionOf, type FaultRow } from '../row.ts'

const MAX_BACK_MS = 60_000

export const row: FaultRow = {
  number: 27,
  fault: 'the database is destroyed; restored from a base backup and the archived log',
  load: '8 lanes on 3 fake nodes, also while the backup is made',
  promise: '0 lost of what was archived, books right, back within 60 s',
  async run(context) {
    const occasion = occasionOf(context)
    const folder = serverFolder(occasion)
    const archive = join(folder, 'archive')
    mkdirSync(archive)
    // PostgreSQL's own user writes there.
    chmodSync(archive, 0o777)
    const primary = await PostgresServer.start(occasion, join(folder, 'first'), {
      archive_mode: 'on',
      archive_command: `test ! -f ${archive}/%f && cp %p ${archive}/%f`,
    })
    const { network } = await startFleet(context, {
      nodes: 3,
      databaseUrl: primary.url,
      fake: { paceMs: 5, slots: 16 },
    })
    const loadSeconds = context.form === 'short' ? 3 : 60
    const before = startLanes(network, { lanes: 8, gatewayDies: false })
    await seconds(1, context.signal)
    const backup = join(folder, 'backup')
    await primary.copyTo(backup)
    context.tell('the backup is made')
    await seconds(loadSeconds, context.signal)
    const first = await before.end()
    // What is settled after the switch would be in no archive.
    await network.until('the nodes have handed in every receipt', () =>
      network.nodes.every(({ home }) => readSpools(home).kept.length === 0),
    )
    await primary.until(
      'every answer is paid',
      `select count(*) >= ${first.answers.length} from usage`,
    )
    await seconds(1, context.signal)
    const [switched] = await primary.sql<{ wal: string; rows: string }>(
      'select pg_walfile_name(pg_switch_wal()) as wal, (select count(*) from usage)::text as rows',
    )
    assert.ok(switched)
    await primary.until(
      'the last of the log is archived',
      `select last_archived_wal >= '${switched.wal}' from pg_stat_archiver`,
    )
    await primary.kill()
    rmSync(primary.folder.data, { recursive: true })

    const begin = performance.now()
    writeFileSync(join(backup, 'data', 'recovery.signal'), '')
    const restored = await PostgresServer.start(
      occasion,
      backup,
      {
        archive_mode: 'off',
        restore_command: `cp ${archive}/%f %p`,
        recovery_target_timeline: 'latest',
      },
      primary.port,
    )
    await restored.until('the log is replayed', 'select not pg_is_in_recovery()')
    const tookMs = performance.now() - begin
    context.tell(`restored after ${Math.round(tookMs)} ms`)
    const again = startLanes(network, { lanes: 8, gatewayDies: false })
    await seconds(loadSeconds, context.signal)
    const second = await again.end()
    const answers = [...first.answers, ...second.answers]
    const failures = [...first.failures, ...second.failures]
    const { acknowledged, lost, paid } = await settleAll(network, answers)
    return {
      n: first.n + second.n,
      measured:
        `${switched.rows} attempts paid before, restored in ${(tookMs / 1000).toFixed(1)} s, ${paid} paid in the end; ` +
        `${failures.length} requests failed${failures[0] ? ` (${failures[0]})` : ''}, ${acknowledged} receipts acknowledged, ${lost} lost, books right`,
      pass:
        failures.length === 0 &&
        lost === 0 &&
        acknowledged > 0 &&
        second.answers.length > 0 &&
        tookMs < MAX_BACK_MS,
    }
  },
}
