/** Network and clock, judged from one look at the gateway. */
import { LINK_VERSIONS, MAX_CLOCK_SKEW_MS } from '../../core/protocol/link.ts'
import { fail, ok, warn, type CheckResult } from './check-result.ts'
import type { GatewayLook } from './gateway-look.ts'

/** Heartbeats come every 2 s; beyond this the gateway may take the node for slow. */
const FAR_MS = 500
/** Far enough from the limit to be worth a word before it is reached. */
const NOTABLE_SKEW_MS = 5_000

export function checkNetwork(look: GatewayLook): CheckResult {
  const { origin, failed, roundTripMs, challenge } = look
  const details = { origin, roundTripMs: rounded(roundTripMs), step: failed?.step ?? null }
  if (failed) {
    const { found, fix } = ADVICE[failed.step]
    return fail('network', { found: `${origin} ${found}`, cause: failed.reason, fix, details })
  }
  const versions = challenge?.versions ?? []
  if (!versions.some((version) => LINK_VERSIONS.some((ours) => ours === version)))
    return fail('network', {
      found: `${origin} speaks link versions ${versions.join(', ')}, this node ${LINK_VERSIONS.join(', ')}`,
      cause: 'one of the two is too old for the other',
      fix: 'update Baseload here, or ask the operator to update the gateway',
      details,
    })
  const found = `${origin} answers on the node link, ${rounded(roundTripMs)} ms away`
  if ((roundTripMs ?? 0) > FAR_MS)
    return warn('network', {
      found,
      cause: 'so long a way delays each first token',
      fix: 'join a gateway closer to you, or use a wired connection',
      details,
    })
  return ok('network', found, details)
}

export function checkClock({ skewMs, origin }: GatewayLook): CheckResult {
  if (skewMs === null)
    return warn('clock', {
      found: 'not compared with any other clock',
      cause: `${origin} told no time`,
      fix: 'correct the network check first',
    })
  const details = { skewMs, limitMs: MAX_CLOCK_SKEW_MS }
  const seconds = (Math.abs(skewMs) / 1000).toFixed(1)
  const found = `${seconds} s ${skewMs > 0 ? 'behind' : 'ahead of'} the gateway's clock`
  const fix = 'let the system keep its time: timedatectl set-ntp true'
  if (Math.abs(skewMs) > MAX_CLOCK_SKEW_MS)
    return fail('clock', {
      found,
      cause: `beyond ${MAX_CLOCK_SKEW_MS / 1000} s the gateway refuses the link: receipts would have wrong times`,
      fix,
      details,
    })
  if (Math.abs(skewMs) > NOTABLE_SKEW_MS)
    return warn('clock', { found, cause: 'it drifts, and will be refused one day', fix, details })
  return ok('clock', found, details)
}

const ADVICE = {
  name: {
    found: 'has no address',
    fix: "check the gateway's name for typing errors, then this machine's DNS",
  },
  connect: {
    found: 'does not accept connections',
    fix: 'check that the gateway runs, and that no firewall here stops outgoing connections to it',
  },
  link: {
    found: 'accepts connections, but not the node link',
    fix: 'check that the address is a Baseload gateway, and that every proxy on the way passes WebSockets',
  },
} as const

const rounded = (ms: number | null): number | null =>
  ms === null ? null : Math.round(ms * 10) / 10
