// `npm test`: installs what is missing, builds, then runs every test on this machine.
// `npm test -- ledger` runs the files whose path has "ledger". Plain JavaScript: it runs before anything is installed.
import { spawnSync } from 'node:child_process'
import { prepare } from './prepare.mjs'

const { root, enginesDir } = await prepare({ engine: true, contracts: true })
const { status, signal } = spawnSync(
  process.execPath,
  ['--import', 'tsx', 'test/run.ts', ...process.argv.slice(2)],
  { cwd: root, stdio: 'inherit', env: { ...process.env, BASELOAD_ENGINES: enginesDir } },
)
process.exit(signal ? 1 : (status ?? 1))
