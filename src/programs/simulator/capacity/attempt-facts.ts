/** What the router is told: a node's replica as its offer would make it, and how an attempt broke. */
import type { Millis } from '../../../core/base/time.ts'
import { CAPABILITIES } from '../../../core/protocol/offer.ts'
import { replicaFrom, type Replica } from '../../../core/routing/replica.ts'
import { planResume } from '../../../core/routing/resume.ts'
import { suspectAfterMs } from '../../../core/routing/stall.ts'
import type { Running } from './flights.ts'
import type { Machine } from './machines.ts'
import type { Settings } from './settings.ts'

export function offeredReplica(input: {
  link: string
  machine: Machine
  slots: number
  settings: Settings
  now: Millis
}): Replica {
  const { link, machine, slots, settings, now } = input
  const { node, index, offered } = machine
  const { inputUsd, outputUsd } = settings.tokenPrice
  return replicaFrom({
    link,
    offer: { node, region: offered.region, providerName: null, dataCollection: 'deny' },
    model: {
      model: `model-${index % settings.models}`,
      digest: 'name:model',
      engine: 'simulated/1',
      quantization: null,
      contextTokens: 131_072,
      slots,
      capabilities: [...CAPABILITIES],
      inputNanoUsdPerMTok: nano(inputUsd),
      outputNanoUsdPerMTok: nano(outputUsd),
    },
    offerIndex: 0,
    tier: 'community',
    now,
  })
}

/** A sampled chat of no set length, streamed: what was given has been seen. */
export const plansAfter = (one: Running, replica: Replica, now: Millis) =>
  planResume({
    api: 'chat',
    preference: 'continue',
    structured: false,
    sampled: true,
    shown: one.given > 0,
    tokens: one.given,
    idsKnown: true,
    fits: true,
    maxTokens: null,
    digest: replica.digest,
    engineFamily: replica.engineFamily,
    attempts: one.attempts,
    fruitless: one.fruitless,
    reason: 'lost',
    now,
    deadline: one.deadline ?? Infinity,
  })

/** A node that is pinged has so long to answer. */
const PING_TIMEOUT_MS = 1_500

/** How long a node is silent before it is given up: until it is suspect by its own rhythm, and a ping. */
export const silenceMs = ({ replica }: Running, began: boolean): Millis =>
  PING_TIMEOUT_MS +
  suspectAfterMs({
    phase: began ? 'decoding' : 'first-token',
    firstTokenMs: replica?.firstTokenMs ?? 0,
    tokenMs: replica?.tokenMs ?? 0,
  })

const nano = (usd: number): string => String(Math.round(usd * 1e9))
