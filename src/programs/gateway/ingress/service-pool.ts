/** The tunnels to each service that was lately asked for, by copy. */
import type { IngressTarget } from './ingress-table.ts'
import { MAX_EXCHANGES_PER_REPLICA, TunnelAgent } from './tunnel-agent.ts'

/** How often services that nobody asks for any more are forgotten. */
const SWEEP_MS = 10_000

export class ServicePool {
  readonly #services = new Map<string, Map<number, TunnelAgent>>()
  readonly #sweeper = setInterval(() => this.#sweep(), SWEEP_MS).unref()

  /** The copy with the least to do that was not tried yet; null when none is left, or each has all it takes. */
  pick(target: IngressTarget, tried: ReadonlySet<TunnelAgent>): TunnelAgent | null {
    const replicas = this.#replicasOf(target)
    // From a random one on, so that equals take turns.
    const start = Math.floor(Math.random() * target.replicas)
    let best: TunnelAgent | null = null
    for (let i = 0; i < target.replicas; i++) {
      const replica = (start + i) % target.replicas
      const agent = replicas.get(replica) ?? new TunnelAgent(target, replica)
      if (tried.has(agent) || agent.running >= MAX_EXCHANGES_PER_REPLICA) continue
      if (best === null || agent.running < best.running) best = agent
      replicas.set(replica, agent)
      if (best.running === 0) break
    }
    return best
  }

  /** Cuts what runs. */
  close(): void {
    clearInterval(this.#sweeper)
    for (const replicas of this.#services.values())
      for (const agent of replicas.values()) agent.destroy()
    this.#services.clear()
  }

  #replicasOf({ lease, epoch, service, port }: IngressTarget): Map<number, TunnelAgent> {
    const key = `${lease}/${epoch}/${service}/${port}`
    const known = this.#services.get(key)
    if (known) return known
    const replicas = new Map<number, TunnelAgent>()
    this.#services.set(key, replicas)
    return replicas
  }

  #sweep(): void {
    for (const [key, replicas] of this.#services) {
      for (const [replica, agent] of replicas) if (agent.unused) replicas.delete(replica)
      if (replicas.size === 0) this.#services.delete(key)
    }
  }
}
