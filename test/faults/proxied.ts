/** A fleet whose nodes dial through fault proxies, one each. */
import { seededRandom } from '../../src/core/base/random.ts'
import { startFaultProxy, type FaultProxy } from '../support/fault-proxy.ts'
import { startFleet, type FleetOptions } from './fleet-rows.ts'
import type { RowContext } from './row.ts'

export async function proxiedFleet(context: RowContext, options: FleetOptions) {
  const proxies: FaultProxy[] = []
  const fleet = await startFleet(context, {
    ...options,
    dial: async (targetPort, node) => {
      const random = seededRandom(context.seed + node)
      const proxy = await startFaultProxy({ targetPort, random })
      context.after(() => proxy.close())
      proxies[node] = proxy
      return proxy.port
    },
  })
  return { ...fleet, proxies }
}
