/** The fleet: machines as an open marketplace lists them, each its provider's own or one of a hall. */
import type { Random } from '../../../core/base/random.ts'
import type { NodeFacts } from '../../../core/market/market.ts'
import { survival } from '../../../core/market/survival.ts'
import type { Offered } from './traces.ts'

export type Machine = {
  readonly index: number
  readonly node: string
  readonly offered: Offered
  /** What it asks for one GPU with its part of the machine, USD an hour. */
  readonly usd: number
  /** Part of the time that it is there, from 0.90 to 0.95 unless set otherwise. */
  readonly reliability: number
  /** `eu`, `us`, `ap`: what is lost together. */
  readonly zone: string
  readonly facts: NodeFacts
  readonly newcomer: boolean
}

export type Newcomers = {
  readonly gpu: string
  readonly region: string
  readonly usd: number
  readonly vramGib: number
  readonly count: number
}

const GIB = 2 ** 30
const THREADS_PER_GPU = 16
const MEMORY_GIB_PER_GPU = 64
/** A lease with one GPU usually takes about so much, and then costs what the offer says. */
const USUAL = { threads: 8, memoryGib: 16 }
const THREAD_USD = 0.004
const MEMORY_GIB_USD = 0.001
/** Providers ask up to a fifth less or more than the list they were drawn from. */
const SPREAD = 0.2
/** Nodes of one provider, at most. */
const MAX_HALL = 8

export const zoneOf = (region: string): string => region.split('-', 1)[0] ?? region

export function makeMachines(input: {
  nodes: number
  offers: readonly Offered[]
  reliability: { readonly from: number; readonly to: number }
  newcomers: Newcomers | null
  random: Random
}): Machine[] {
  const { nodes, offers, reliability, newcomers, random } = input
  const machines: Machine[] = []
  const drawn = () => reliability.from + (reliability.to - reliability.from) * random()
  for (let provider = 0; machines.length < nodes; provider++) {
    const offered = offers[Math.floor(random() * offers.length)]
    if (!offered) throw new RangeError('no machine is offered: the price list is empty')
    const hall = random() < 0.8 ? 1 : 2 + Math.floor(random() * (MAX_HALL - 1))
    const usd = offered.usd * (1 - SPREAD + 2 * SPREAD * random())
    for (let i = 0; i < hall && machines.length < nodes; i++)
      machines.push(
        aMachine({
          index: machines.length,
          provider: `p${provider}`,
          offered,
          usd,
          reliability: drawn(),
          newcomer: false,
        }),
      )
  }
  for (let i = 0; i < (newcomers?.count ?? 0); i++) {
    if (!newcomers) break
    const { gpu, region, usd, vramGib } = newcomers
    const offered = { gpu, region, gpus: 1, vramGib, usd }
    machines.push(
      aMachine({
        index: machines.length,
        provider: `newcomer${i}`,
        offered,
        usd,
        reliability: drawn(),
        newcomer: true,
      }),
    )
  }
  return machines
}

function aMachine(more: Omit<Machine, 'node' | 'zone' | 'facts'> & { provider: string }): Machine {
  const { index, provider, offered, usd, reliability, newcomer } = more
  const node = `node_${String(index).padStart(24, '0')}`
  const facts = factsOf(node, provider, offered, usd)
  return { index, node, offered, usd, reliability, newcomer, zone: zoneOf(offered.region), facts }
}

function factsOf(node: string, provider: string, offered: Offered, usd: number): NodeFacts {
  const { gpu, gpus, vramGib, region } = offered
  const rest = USUAL.threads * THREAD_USD + USUAL.memoryGib * MEMORY_GIB_USD
  return {
    node,
    provider,
    capacity: {
      runtime: 'docker/27.3.1',
      isolation: 'container',
      cpuArch: 'amd64',
      cpuMilli: gpus * THREADS_PER_GPU * 1000,
      memoryBytes: gpus * MEMORY_GIB_PER_GPU * GIB,
      ephemeralBytes: 1000 * GIB,
      persistent: [],
      gpus: [
        {
          vendor: 'nvidia',
          model: gpu,
          vramBytes: vramGib * GIB,
          interface: null,
          mig: null,
          count: gpus,
        },
      ],
      ips: 0,
      attributes: {},
      tier: 'community',
      region,
      egress: { mbitPerSecond: 1000, gibPerMonth: null },
      cachedImages: [],
      noticeS: 3600,
    },
    sheet: {
      per: 'hour',
      cpuThread: String(THREAD_USD),
      memoryGiB: String(MEMORY_GIB_USD),
      storageGiB: { ephemeral: '0' },
      gpu: { '*': Math.max(0.01, usd - rest).toFixed(6) },
      port: '0',
      ip: '0.005',
    },
    audits: {},
    survival: survival(0),
  }
}
