/** What the comparison needs and the repository does not hold: two small C programs, HAProxy, and Portkey. */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** This file runs from dist/bench/gateway. */
export const ROOT = fileURLToPath(new URL('../../../', import.meta.url))
const CACHE = join(ROOT, 'node_modules', '.cache', 'baseload', 'bench')

export type Tools = {
  readonly client: string
  readonly upstream: string
  readonly haproxy: string
  /** Portkey's server script. */
  readonly portkey: string
}

/** Finds, compiles and fetches. `install`: HAProxy by apt, where it is missing. */
export function findTools(install: boolean, say: (line: string) => void): Tools {
  mkdirSync(CACHE, { recursive: true })
  return {
    client: compile('client', say),
    upstream: compile('upstream', say),
    haproxy: findHaproxy(install, say),
    portkey: fetchPortkey(say),
  }
}

/** The load generator must cost far less than what it measures, so it is C. Compiled once a version. */
function compile(name: string, say: (line: string) => void): string {
  const source = join(ROOT, 'bench', 'gateway', `${name}.c`)
  const version = createHash('sha256').update(readFileSync(source)).digest('hex').slice(0, 12)
  const program = join(CACHE, `${name}-${version}`)
  if (existsSync(program)) return program
  say(`compiling ${name}.c …`)
  const { status, error, stderr } = run('cc', ['-O2', '-o', program, source])
  if (error) throw new Error('no C compiler: `apt-get install gcc libc6-dev`, then run this again')
  if (status !== 0) throw new Error(`cc ${source}:\n${stderr}`)
  return program
}

function findHaproxy(install: boolean, say: (line: string) => void): string {
  const found = ['haproxy', '/usr/sbin/haproxy'].find((path) => run(path, ['-v']).status === 0)
  if (found !== undefined) return found
  const advice = 'HAProxy is missing: `apt-get install haproxy`, or run this with --install as root'
  if (!install && process.getuid?.() !== 0) throw new Error(advice)
  say('installing HAProxy (apt-get install haproxy) …')
  run('apt-get', ['update', '-q'])
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  run('apt-get', ['install', '-y', '-q', '--no-install-recommends', 'haproxy'], env)
  if (run('/usr/sbin/haproxy', ['-v']).status !== 0) throw new Error(advice)
  return '/usr/sbin/haproxy'
}

/**
 * The newest Portkey, with the versions of its own lock file under it: what a plain `npm install` resolves today
 * answers every streamed request with 500.
 */
const PORTKEY = {
  name: 'portkey-for-the-bench',
  private: true,
  dependencies: { '@portkey-ai/gateway': '1.15.2' },
  overrides: { '@hono/node-server': '1.13.5', hono: '4.9.7' },
}

function fetchPortkey(say: (line: string) => void): string {
  const folder = join(CACHE, 'portkey')
  const script = join(folder, 'node_modules', '@portkey-ai', 'gateway', 'build', 'start-server.js')
  const manifest = join(folder, 'package.json')
  const wanted = `${JSON.stringify(PORTKEY, null, 2)}\n`
  const have = existsSync(script) && existsSync(manifest) ? readFileSync(manifest, 'utf8') : null
  if (have === wanted) return script
  say('fetching Portkey (npm install, once) …')
  mkdirSync(folder, { recursive: true })
  writeFileSync(manifest, wanted)
  const args = ['install', '--no-audit', '--no-fund', '--ignore-scripts']
  const { status, stderr } = run('npm', args, process.env, folder)
  if (status !== 0 || !existsSync(script))
    throw new Error(`npm could not fetch Portkey:\n${stderr}`)
  return script
}

const run = (command: string, args: string[], env = process.env, cwd = ROOT) =>
  spawnSync(command, args, { env, cwd, encoding: 'utf8' })
