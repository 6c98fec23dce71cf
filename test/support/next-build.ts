/** This build once more, with one more migration: what an upgrade brings. */
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Occasion } from './occasion.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

export const NEXT_MIGRATION = '9999-next.add.sql'

/** Columns in the tables that every answer writes (their locks are exclusive), a table, an index. */
const ADDS = `
alter table usage add column next_note text not null default 'none';
alter table receipts add column next_note text;
alter table holds add column next_note text;
alter table gateways add column next_note text not null default 'new';
create table next_things (id text primary key);
create index next_usage_note on usage (next_note);
`

/** The path of its main.js; removed with the occasion. */
export function makeNextBuild(t: Occasion): string {
  const folder = mkdtempSync(join(tmpdir(), 'baseload-next-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  mkdirSync(join(folder, 'dist'))
  cpSync(join(root, 'dist/src'), join(folder, 'dist/src'), { recursive: true })
  cpSync(join(root, 'package.json'), join(folder, 'package.json'))
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))
  symlinkSync(join(root, 'models'), join(folder, 'models'))
  writeFileSync(join(folder, 'dist/src/io/store/migrations', NEXT_MIGRATION), ADDS)
  return join(folder, 'dist/src/programs/cli/main.js')
}
