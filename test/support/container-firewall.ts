/** What engines leave behind in a machine's firewall when they stop, and how tests remove it. */
import { execFile } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'

export type SavedNetwork = {
  /** By command: iptables or ip6tables. */
  readonly rules: Readonly<Record<string, string>>
  readonly forwarding: string
  readonly mounted: boolean
}

const COMMANDS = ['iptables', 'ip6tables']
/** Network namespaces with names: Podman and `ip netns` mount the folder over itself. */
const NAMESPACES = '/run/netns'
const FORWARDING = '/proc/sys/net/ipv4/ip_forward'
/** Engines name their chains so; and the interfaces of leases begin like this. */
const THEIRS = /DOCKER|NETAVARK|BASELOAD|\bbl[0-9a-f]{12}\b/

export async function saveNetwork(): Promise<SavedNetwork> {
  const rules: Record<string, string> = {}
  for (const command of COMMANDS) rules[command] = await feed(`${command}-save`, [], '')
  return {
    rules,
    forwarding: await readFile(FORWARDING, 'utf8'),
    mounted: await isMounted(NAMESPACES),
  }
}

/** Takes away what engines added since; rules of others stay. */
export async function restoreNetwork(before: SavedNetwork): Promise<void> {
  for (const command of COMMANDS) {
    const after = await feed(`${command}-save`, [], '')
    const text = undoText(before.rules[command] ?? '', after)
    if (text !== '') await feed(`${command}-restore`, ['--wait', '10', '--noflush'], text)
  }
  await writeFile(FORWARDING, before.forwarding)
  if (!before.mounted && (await isMounted(NAMESPACES))) await feed('umount', [NAMESPACES], '')
}

const isMounted = async (path: string): Promise<boolean> =>
  (await readFile('/proc/mounts', 'utf8')).includes(` ${path} `)

/** For `iptables-restore`, which understands the quoting of `iptables-save`; empty: there is nothing to undo. */
export function undoText(before: string, after: string): string {
  const old = tablesOf(before)
  const changes = [...tablesOf(after)].flatMap(([table, lines]) => {
    const had = new Set(old.get(table) ?? [])
    const fresh = lines.filter((line) => !had.has(line) && THEIRS.test(line))
    const chains = fresh.flatMap((line) => /^:(\S+)/.exec(line)?.[1] ?? [])
    const rules = fresh
      .filter(
        (line) => line.startsWith('-A ') && !chains.some((name) => line.startsWith(`-A ${name} `)),
      )
      .map((line) => line.replace('-A', '-D'))
    const policies = policiesOf(old.get(table) ?? []).filter((line) => !lines.includes(line))
    const undo = [
      ...policies,
      ...rules,
      ...chains.map((name) => `-F ${name}`),
      ...chains.map((name) => `-X ${name}`),
    ]
    return undo.length === 0 ? [] : [`*${table}`, ...undo, 'COMMIT\n']
  })
  return changes.join('\n')
}

/** `:FORWARD ACCEPT`, without the counters behind it. */
const policiesOf = (lines: readonly string[]): string[] =>
  lines.filter((line) => / (ACCEPT|DROP)$/.test(line) && line.startsWith(':'))

/** Table → its chains and rules, without counters. */
function tablesOf(saved: string): Map<string, string[]> {
  const tables = new Map<string, string[]>()
  let lines: string[] = []
  for (const line of saved.split('\n')) {
    if (line.startsWith('*')) tables.set(line.slice(1), (lines = []))
    else if (line.startsWith(':') || line.startsWith('-A '))
      lines.push(line.replace(/ \[\d+:\d+\]$/, ''))
  }
  return tables
}

function feed(command: string, args: readonly string[], input: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile(command, args, { maxBuffer: 1 << 24 }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout)
      else reject(new Error(`${command}: ${stderr}`))
    })
    // A program that needs no input may be gone before it gets it.
    child.stdin?.on('error', () => {}).end(input)
  })
}
