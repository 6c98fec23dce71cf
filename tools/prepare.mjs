// Installs and builds what is missing, says what it does, and does nothing the second time.
// Plain JavaScript without dependencies: it runs on a fresh clone.
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const SOURCES = ['src', 'test', 'bench', 'tsconfig.json', 'package.json', 'tools/copy-assets.mjs']
const CLI = 'dist/src/programs/cli/main.js'

/**
 * After this, node_modules and dist are current. With `engine`, the embedded engine is installed, too;
 * `enginesDir` is where the tests look for it. With `contracts`, so are the contracts' compiler and test runner.
 */
export async function prepare({ engine, contracts = false }) {
  checkNode()
  installPackages(root, 'packages (npm ci), about 20 s with a warm cache')
  if (contracts) prepareContracts()
  build()
  const enginesDir =
    process.env.BASELOAD_ENGINES || join(root, 'node_modules', '.cache', 'baseload', 'engines')
  if (engine) await installEngine(enginesDir)
  return { root, enginesDir, cli: join(root, CLI) }
}

/** Forge, solc and OpenZeppelin in contracts/node_modules: apart from the rest, because only who works on contracts needs them. */
export function prepareContracts() {
  installPackages(join(root, 'contracts'), "the contracts' compiler (npm ci), 100 MB")
}

/** Ends the process with a sentence a person can act on. */
function fail(message) {
  process.stderr.write(`\n  ✗ ${message}\n`)
  process.exit(1)
}

function say(what) {
  process.stderr.write(`  · ${what}\n`)
}

function run(what, command, args, cwd = root) {
  say(what)
  const result = spawnSync(command, args, { cwd, encoding: 'utf8', maxBuffer: 1 << 28 })
  const { status, signal, stdout, stderr, error } = result
  if (status === 0) return
  // Ctrl-C reaches the child, too: then there is nothing to explain.
  if (signal === 'SIGINT') process.exit(130)
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

/** The marker holds the lock file that was installed: another lock file means another tree. */
function installPackages(folder, what) {
  const marker = join(folder, 'node_modules', '.baseload-installed')
  const lock = readFileSync(join(folder, 'package-lock.json'), 'utf8')
  if (existsSync(marker) && readFileSync(marker, 'utf8') === lock) return
  const command = [
    'ci',
    // The compilers and PostgreSQL's binaries are needed whatever NODE_ENV or npm's settings say.
    '--include=dev',
    '--include=optional',
    '--no-audit',
    '--no-fund',
  ]
  run(`installing ${what} …`, 'npm', command, folder)
  writeFileSync(marker, lock)
}

function build() {
  const marker = join(root, 'dist', '.built')
  const builtAt = statSync(marker, { throwIfNoEntry: false })?.mtimeMs ?? 0
  if (builtAt <= Math.max(...SOURCES.map(newest))) {
    // What was deleted in src must not live on in dist: an old migration would still be applied.
    rmSync(join(root, 'dist'), { recursive: true, force: true })
    run('building …', join(root, 'node_modules', '.bin', 'tsc'), [])
    run('copying SQL …', process.execPath, [join(root, 'tools', 'copy-assets.mjs')])
    chmodSync(join(root, CLI), 0o755)
    writeFileSync(marker, '')
  }
  linkBinary()
}

/** Makes `npx baseload` work from this folder; npm links only what dependencies bring. */
function linkBinary() {
  const link = join(root, 'node_modules', '.bin', 'baseload')
  if (!existsSync(link)) {
    rmSync(link, { force: true })
    symlinkSync(join('..', '..', CLI), link)
  }
}

/** When anything in here was last changed, added or removed; 0 for what does not exist. */
function newest(path) {
  const own = statSync(join(root, path), { throwIfNoEntry: false })
  if (!own?.isDirectory()) return own?.mtimeMs ?? 0
  let latest = own.mtimeMs
  for (const entry of readdirSync(join(root, path), { recursive: true })) {
    const stat = statSync(join(root, path, entry), { throwIfNoEntry: false })
    latest = Math.max(latest, stat?.mtimeMs ?? 0)
  }
  return latest
}

async function installEngine(enginesDir) {
  const { installLlamaCpp } = await import(join(root, 'dist/src/io/engine/llama-cpp/install.js'))
  await installLlamaCpp({ enginesDir, backend: 'cpu', say })
}
