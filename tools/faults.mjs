// `npm run faults`: installs and builds what is missing, then runs rows of the scorecard (docs/reliability.md).
import { spawn } from 'node:child_process'
import { prepare } from './prepare.mjs'

const { root, enginesDir } = await prepare({ engine: true, contracts: true })
const child = spawn(
  process.execPath,
  ['--import', 'tsx', 'test/faults/main.ts', ...process.argv.slice(2)],
  { cwd: root, stdio: 'inherit', env: { ...process.env, BASELOAD_ENGINES: enginesDir } },
)
// A terminal sends Ctrl-C to both, others only to this one.
for (const signal of ['SIGINT', 'SIGTERM'])
  process.on(signal, () => void (process.stdin.isTTY || child.kill(signal)))
child.on('close', (code, signal) => process.exit(signal ? 1 : (code ?? 1)))
