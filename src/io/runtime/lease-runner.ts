/** Makes leases run as their specs say, finds them again after a restart, and ends them without a trace. */
import type { Container, ContainerInfo } from 'dockerode'
import { Fault } from '../../core/base/refusal.ts'
import { readCdiSpecs, resolveCdi } from './cdi.ts'
import { containerOptions, limitsOf } from './container-options.ts'
import type { Context } from './context.ts'
import { ask, askLeniently } from './engine-socket.ts'
import { ensureImages } from './lease-images.ts'
import { ensureNetwork, recallNetwork, removeNetwork } from './lease-network.ts'
import { planLease, shapeOf, type ReplicaPlan } from './lease-plan.ts'
import { hasLabels, LABEL, labelFilter, targetOf, type Labels } from './names.ts'
import { ReplicaWatch } from './replica-watch.ts'
import type { Found, LeaseSpec, Recovered, Target } from './runtime.ts'
import { ensureVolumes, removeVolumes, restoreVolumes } from './volumes.ts'

/** Of a container that an update replaces. */
const REPLACE_GRACE_S = 10
/** Of one whose epoch was overtaken: its lease runs elsewhere by now, and two must not write in one name. */
const STALE_GRACE_S = 1

/** What is done to one lease is done one after the other. */
export type InOrder = <T>(lease: string, work: () => Promise<T>) => Promise<T>

export class LeaseRunner {
  readonly #context: Context
  /** By container id. */
  readonly #watches = new Map<string, ReplicaWatch>()

  /** By lease: as it was last told to run. */
  readonly #specs = new Map<string, LeaseSpec>()
  readonly #inOrder: InOrder

  constructor(context: Context, inOrder: InOrder) {
    this.#context = context
    this.#inOrder = inOrder
  }

  get watches(): readonly ReplicaWatch[] {
    return [...this.#watches.values()]
  }

  /** Throws Fault `not_found`. */
  find(target: Target): ReplicaWatch {
    const { lease, service, replica } = target
    const found = this.watches.find(({ at }) => isSame(at, target))
    if (found !== undefined) return found
    throw new Fault('not_found', `Lease ${lease} has no replica ${replica} of ${service} here.`)
  }

  async run(spec: LeaseSpec, signal: AbortSignal): Promise<void> {
    const plans = planLease(spec)
    const there = await this.#list(spec.lease)
    await this.#leaveOldEpochs(spec, there)
    this.#specs.set(spec.lease, spec)
    const current = there.filter((one) => targetOf(one.Labels)?.epoch === spec.epoch)
    await ensureImages(this.#context, { spec, current, signal })
    await ensureNetwork(this.#context, spec)
    const surplus = current.filter((one) => !plans.some((plan) => isAt(plan.target, one)))
    await this.#remove(surplus, REPLACE_GRACE_S)
    // Replacing goes one by one, so that the other replicas serve meanwhile; what is new starts together.
    const pairs = plans.map((plan) => ({
      plan,
      old: current.find((one) => isAt(plan.target, one)),
    }))
    for (const { plan, old } of pairs) if (old !== undefined) await this.#update(plan, old, spec)
    const fresh = pairs.filter(({ old }) => old === undefined)
    const results = await Promise.allSettled(fresh.map(({ plan }) => this.#create(plan, spec)))
    const failed = results.find((result) => result.status === 'rejected')
    if (failed !== undefined) throw failed.reason
    const isWanted = ({ at }: ReplicaWatch) => plans.some(({ target }) => isSame(target, at))
    for (const watch of this.#watchesOf(spec.lease)) if (!isWanted(watch)) this.#drop(watch)
  }

  /** What comes next for this lease decides about containers that somebody removed: nobody else makes them anew. */
  leaveRemoved(lease: string): void {
    for (const watch of this.#watchesOf(lease)) if (watch.removed) watch.leave()
  }

  async stop(
    lease: string,
    { graceS, keepVolumes }: { graceS: number; keepVolumes: boolean },
  ): Promise<void> {
    this.#specs.delete(lease)
    await this.#remove(await this.#list(lease), graceS)
    for (const watch of this.#watchesOf(lease)) this.#drop(watch)
    await removeNetwork(this.#context, lease)
    await removeVolumes(this.#context, lease, { keepPersistent: keepVolumes })
  }

  async recover(current: ReadonlyMap<string, number>): Promise<Recovered> {
    const found = await this.#findLeases()
    const stopped = found.filter(({ lease, epoch }) => current.get(lease) !== epoch)
    const own = found.filter((one) => !stopped.includes(one))
    const adopted: Found[] = []
    const resting: Found[] = []
    for (const { lease } of own) await recallNetwork(this.#context, lease)
    // Also removes the rules of leases that are gone.
    await this.#context.firewall.apply()
    for (const one of own) {
      const containers = await this.#list(one.lease)
      if (!containers.some(({ State }) => State === 'running')) resting.push(one)
      else {
        adopted.push(one)
        for (const each of containers) if (!this.#watches.has(each.Id)) await this.#adopt(each)
      }
    }
    for (const { lease } of stopped)
      await this.stop(lease, { graceS: STALE_GRACE_S, keepVolumes: true })
    return { adopted, resting, stopped }
  }

  leaveAll(): void {
    for (const watch of this.#watches.values()) watch.leave()
    this.#watches.clear()
  }

  async #adopt({ Id, Labels }: ContainerInfo): Promise<void> {
    const watch = this.#watchOf(Id, Labels)
    this.#watches.set(Id, watch)
    await watch.adopt()
  }

  /** Also networks without containers are leases: of an agent that was killed in between. */
  async #findLeases(): Promise<Found[]> {
    const { docker, instance } = this.#context
    const filters = labelFilter({ [LABEL.instance]: instance })
    const [containers, networks] = await Promise.all([
      ask('list containers', docker.listContainers({ all: true, filters })),
      ask('list networks', docker.listNetworks({ filters })),
    ])
    const strays = containers.filter(({ Labels }) => Labels[LABEL.lease] === undefined)
    await this.#remove(strays, 0)
    const leases = new Map<string, number>()
    for (const { Labels } of [...containers, ...networks]) {
      const lease = Labels?.[LABEL.lease]
      const epoch = Number(Labels?.[LABEL.epoch])
      if (lease !== undefined) leases.set(lease, Math.max(epoch, leases.get(lease) ?? 0))
    }
    return [...leases].map(([lease, epoch]) => ({ lease, epoch }))
  }

  async #list(lease: string): Promise<ContainerInfo[]> {
    const { docker, instance } = this.#context
    const labels = { [LABEL.instance]: instance, [LABEL.lease]: lease }
    const options = { all: true, filters: labelFilter(labels) }
    const found = await ask(`list containers of ${lease}`, docker.listContainers(options))
    return found.filter(({ Labels }) => hasLabels(Labels, labels))
  }

  async #leaveOldEpochs(
    { lease, epoch }: LeaseSpec,
    there: readonly ContainerInfo[],
  ): Promise<void> {
    const epochs = there.map(({ Labels }) => targetOf(Labels)?.epoch ?? 0)
    const newest = Math.max(0, ...epochs)
    if (newest > epoch)
      throw new Fault(
        'lease_epoch_stale',
        `Lease ${lease} runs here under epoch ${newest} already; epoch ${epoch} has been overtaken.`,
      )
    await this.#remove(
      there.filter((_, index) => epochs[index] !== epoch),
      STALE_GRACE_S,
    )
  }

  async #update(plan: ReplicaPlan, old: ContainerInfo, spec: LeaseSpec): Promise<void> {
    const { docker, facts } = this.#context
    const known = this.#watches.get(old.Id)
    // It was gone when its watch looked, and is there again: an engine that was starting.
    if (known?.removed === true) this.#drop(known)
    const watch = this.#watches.get(old.Id) ?? this.#watchOf(old.Id, old.Labels)
    const same = old.Labels[LABEL.shape] === shapeOf(plan, facts.quirks.noLiveUpdate)
    if (!same || watch.status().stopped === 'disk') {
      await this.#remove([old], REPLACE_GRACE_S)
      return await this.#create(plan, spec)
    }
    const container = docker.getContainer(old.Id)
    if (!facts.quirks.noLiveUpdate)
      await ask(`change limits of ${plan.target.service}`, container.update(limitsOf(plan)))
    if (this.#watches.has(old.Id)) return
    this.#watches.set(old.Id, watch)
    await watch.start()
  }

  async #create(plan: ReplicaPlan, { restore }: LeaseSpec): Promise<void> {
    const { docker } = this.#context
    const made = await ensureVolumes(this.#context, plan)
    const options = containerOptions(plan, await this.#gpusOf(plan), this.#context)
    const container = await ask(`create ${plan.target.service}`, docker.createContainer(options))
    await restoreVolumes(container, { plan, made, restore })
    const watch = this.#watchOf(container.id, options.Labels ?? {})
    for (const old of this.watches) if (isSame(old.at, watch.at)) this.#drop(old)
    this.#watches.set(container.id, watch)
    await watch.start()
  }

  async #gpusOf({ gpus }: ReplicaPlan) {
    if (gpus.length === 0) return null
    const { facts, cdiFolders } = this.#context
    if (!facts.quirks.noCdi) return { names: gpus }
    return resolveCdi(gpus, await readCdiSpecs(cdiFolders))
  }

  #watchOf(id: string, labels: Labels): ReplicaWatch {
    const remake = (watch: ReplicaWatch, signal: AbortSignal) => this.#remake(watch, signal)
    return new ReplicaWatch(this.#context, { id, labels, remake })
  }

  #remake(watch: ReplicaWatch, signal: AbortSignal): Promise<void> {
    const { lease, epoch } = watch.at
    return this.#inOrder(lease, async () => {
      if (!watch.watching) return
      const spec = this.#specs.get(lease)
      if (spec?.epoch !== epoch)
        throw new Error('it was removed, and nobody has said how to run it')
      await this.run(spec, signal)
    })
  }

  #watchesOf(lease: string): ReplicaWatch[] {
    return this.watches.filter(({ at }) => at.lease === lease)
  }

  #drop(watch: ReplicaWatch): void {
    watch.leave()
    this.#watches.delete(watch.id)
  }

  async #remove(going: readonly ContainerInfo[], graceS: number): Promise<void> {
    for (const watch of going.flatMap(({ Id }) => this.#watches.get(Id) ?? [])) this.#drop(watch)
    await Promise.all(
      going.map(({ Id }) => removeContainer(this.#context.docker.getContainer(Id), graceS)),
    )
  }
}

async function removeContainer(container: Container, graceS: number): Promise<void> {
  await askLeniently('stop a container', container.stop({ t: graceS }))
  await askLeniently('remove a container', container.remove({ force: true, v: true }))
}

const isSame = (a: Target, b: Target): boolean =>
  a.lease === b.lease && a.service === b.service && a.replica === b.replica

const isAt = (target: Target, { Labels }: ContainerInfo): boolean => {
  const at = targetOf(Labels)
  return at !== null && isSame(at, target)
}
