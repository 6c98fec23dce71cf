// `node tools/forge.mjs test|build|…`: runs forge on contracts/, after installing it there if need be.
// Plain JavaScript: its own packages may not be installed yet.
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { prepareContracts } from './prepare.mjs'

prepareContracts()
const contracts = fileURLToPath(new URL('../contracts/', import.meta.url))
const platform = { darwin: 'darwin', win32: 'win32' }[process.platform] ?? 'linux'
const machine = process.arch === 'arm64' ? 'arm64' : 'amd64'
const name = `@foundry-rs/forge-${platform}-${machine}`
const program = `${contracts}node_modules/${name}/bin/forge${platform === 'win32' ? '.exe' : ''}`
const { status, signal, error } = spawnSync(program, process.argv.slice(2), {
  cwd: process.env.BASELOAD_CONTRACTS ?? contracts,
  stdio: 'inherit',
})
if (error)
  process.stderr.write(
    `\n  ✗ Forge did not start: ${error.message}. npm has it for this machine as ${name}.\n`,
  )
process.exit(error || signal ? 1 : (status ?? 1))
