// Installs and builds what is missing, says what it does, and does nothing the second time.
// Plain JavaScript without dependencies: it runs on a fresh clone.
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))

/** Ends the process with a sentence a person can act on. */
function fail(message) {
  process.stderr.write(`\n  ✗ ${message}\n`)
  process.exit(1)
}

function run(what, command, args) {
  process.stderr.write(`  · ${what}\n`)
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd: root,
    encoding: 'utf8',
  })
  if (status === 0) return
  process.stderr.write(`${stdout ?? ''}${stderr ?? ''}\n`)
  fail(
    `\`${command} ${args.join(' ')}\` failed${error ? `: ${error.message}` : ''}. Fix the above and run the same command again.`,
  )
}

function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major > 20 || (major === 20 && minor >= 19)) return
  fail(
    `Baseload needs Node 20.19 or newer; this is ${process.versions.node} at ${process.execPath}.`,
  )
}

/** npm writes node_modules/.package-lock.json; when the lock file is newer, the tree is stale. */
function installPackages() {
  const marker = join(root, 'node_modules', '.baseload-installed')
  const lock = readFileSync(join(root, 'package-lock.json'), 'utf8')
  if (existsSync(marker) && readFileSync(marker, 'utf8') === lock) return
  run('installing packages (npm ci), about 20 s with a warm cache …', 'npm', [
    'ci',
    '--no-audit',
    '--no-fund',
  ])
  writeFileSync(marker, lock)
}

function newest(folder) {
  let latest = 0
  for (const entry of readdirSync(join(root, folder), { recursive: true })) {
    latest = Math.max(latest, statSync(join(root, folder, entry)).mtimeMs)
  }
  return latest
}

function build() {
  const marker = join(root, 'dist', '.built')
  if (existsSync(marker) && statSync(marker).mtimeMs > Math.max(newest('src'), newest('test')))
    return
  run('building …', join(root, 'node_modules', '.bin', 'tsc'), [])
  run('copying SQL …', process.execPath, [join(root, 'tools', 'copy-assets.mjs')])
  writeFileSync(marker, '')
}

/** After this, node_modules and dist are current, and the embedded engine is where the tests look for it. */
export async function prepare({ engine }) {
  checkNode()
  installPackages()
  build()
  const enginesDir =
    process.env.BASELOAD_ENGINES ?? join(root, 'node_modules', '.cache', 'baseload', 'engines')
  if (engine) {
    const { installLlamaCpp } = await import(join(root, 'dist/src/io/engine/llama-cpp/install.js'))
    await installLlamaCpp({
      enginesDir,
      backend: 'cpu',
      say: (line) => process.stderr.write(`  · ${line}\n`),
    })
  }
  return { root, enginesDir }
}
