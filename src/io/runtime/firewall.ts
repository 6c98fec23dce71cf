/** Sets, checks and removes our rules with the machine's own `iptables`. Needs root, or CAP_NET_ADMIN. */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { Fault, reasonOf } from '../../core/base/refusal.ts'
import {
  countedBytes,
  ipv6Rule,
  jumpRule,
  leaseChains,
  mainChain,
  rulesText,
  type LeaseRules,
} from './firewall-rules.ts'

/** Another program may hold iptables' lock: wait for it, but not for ever. */
const WAIT = ['--wait', '10']
const TABLE = ['-t', 'mangle']

export class Firewall {
  readonly #instance: string
  readonly #nameServers: readonly string[]
  readonly #leases = new Map<string, LeaseRules>()
  /** Changes come one after the other: each begins with a look at what is there. */
  #last: Promise<unknown> = Promise.resolve()

  constructor(instance: string, nameServers: readonly string[]) {
    this.#instance = instance
    this.#nameServers = nameServers
  }

  /** The lease is closed in from here on, before it has an interface. */
  open(lease: string, rules: LeaseRules): Promise<void> {
    this.expect(lease, rules)
    return this.apply()
  }

  /** Before `apply`: so are leases known that run already. */
  expect(lease: string, rules: LeaseRules): void {
    this.#leases.set(lease, rules)
  }

  /** With the last lease all of our rules go. */
  close(lease: string): Promise<void> {
    this.#leases.delete(lease)
    return this.apply()
  }

  /** Makes the rules be what they should be, whatever was there. */
  apply(): Promise<void> {
    const next = this.#last.then(() => this.#write())
    this.#last = next.catch(() => {})
    return next
  }

  /** False when somebody removed our rules: a flush, or a firewall that was started anew. */
  async intact(): Promise<boolean> {
    if (this.#leases.size === 0) return true
    await this.#last
    const saved = await save()
    const chains = leaseChains(saved, this.#instance)
    return (
      [...this.#leases.values()].every(({ bridge }) => chains.includes(bridge)) &&
      (await holds('iptables', jumpRule(this.#instance))) &&
      (!hasIpv6() || (await holds('ip6tables', ipv6Rule(this.#instance))))
    )
  }

  /** Since the lease's rules were set; 0 when they are not. */
  async egressBytes(lease: string): Promise<bigint> {
    const rules = this.#leases.get(lease)
    return rules === undefined ? 0n : (countedBytes(await save(['--counters']), rules.bridge) ?? 0n)
  }

  async #write(): Promise<void> {
    const instance = this.#instance
    const leases = [...this.#leases.values()]
    const saved = await save()
    const known = leaseChains(saved, instance)
    if (leases.length === 0) return await this.#remove(saved, known)
    const text = rulesText({ instance, leases, nameServers: this.#nameServers, known })
    await run('iptables-restore', [...WAIT, '--noflush'], text)
    await insert('iptables', jumpRule(instance))
    if (hasIpv6()) await insert('ip6tables', ipv6Rule(instance))
  }

  async #remove(saved: string, known: readonly string[]): Promise<void> {
    const chain = mainChain(this.#instance)
    if (hasIpv6()) await withdraw('ip6tables', ipv6Rule(this.#instance))
    await withdraw('iptables', jumpRule(this.#instance))
    const ours = [...(saved.includes(`:${chain} `) ? [chain] : []), ...known]
    // A chain can go only when no rule leads to it: all are emptied first.
    for (const option of ['-F', '-X'])
      for (const name of ours) await run('iptables', [...WAIT, ...TABLE, option, name])
  }
}

/** Null when we can set rules here. */
export async function firewallProblem(): Promise<{ problem: string; fix: string } | null> {
  for (const command of hasIpv6() ? ['iptables', 'ip6tables'] : ['iptables']) {
    try {
      await run(command, [...WAIT, ...TABLE, '-S', 'PREROUTING'])
    } catch (thrown) {
      return {
        problem: `leases cannot be kept from this host and its LAN: ${reasonOf(thrown)}`,
        fix: `run the node as root (or with CAP_NET_ADMIN), with ${command} installed: apt install iptables`,
      }
    }
  }
  return null
}

/** Kernels may be built without it; then there is nothing to close. */
const hasIpv6 = (): boolean => existsSync('/proc/net/if_inet6')

const save = (options: string[] = []): Promise<string> =>
  run('iptables-save', [...TABLE, ...options])

const holds = (command: string, rule: readonly string[]): Promise<boolean> =>
  run(command, [...WAIT, ...TABLE, '-C', ...rule]).then(
    () => true,
    () => false,
  )

async function insert(command: string, rule: readonly string[]): Promise<void> {
  if (!(await holds(command, rule))) await run(command, [...WAIT, ...TABLE, '-I', ...rule])
}

async function withdraw(command: string, rule: readonly string[]): Promise<void> {
  while (await holds(command, rule)) await run(command, [...WAIT, ...TABLE, '-D', ...rule])
}

/** Rules are few; a megabyte holds those of thousands of leases. */
const MAX_BYTES = 16 << 20

function run(command: string, args: readonly string[], input?: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile(command, args, { maxBuffer: MAX_BYTES }, (error, stdout, stderr) => {
      if (error === null) return resolve(stdout)
      const said = stderr.trim() || reasonOf(error)
      reject(new Fault('firewall_failed', `\`${command}\`: ${said}`, { cause: error }))
    })
    // A command that needs no input may be gone before it gets it.
    child.stdin?.on('error', () => {}).end(input ?? '')
  })
}
