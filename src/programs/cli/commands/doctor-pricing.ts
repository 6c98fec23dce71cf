/** Whether the provider's pricing program works: it is run once on a small order, as a node does at its start. */
import { fail, ok, warn, type CheckResult } from '../../../io/probe/check-result.ts'
import { silentLogger } from '../../../io/telemetry/logger.ts'
import { PricingProgram } from '../../node/leases/pricing-program.ts'

/** None where the price sheet prices. */
export async function lookAtPricing(
  path: string | null,
  env: NodeJS.ProcessEnv,
): Promise<CheckResult[]> {
  if (path === null) return []
  const problem = await new PricingProgram(path, env, silentLogger).tryOut()
  const check = 'pricing program'
  if (problem === null) return [ok(check, `${path} prices a sample order`, { path })]
  const found = problem.message
  return [
    problem.fatal
      ? fail(check, {
          found,
          cause: 'a node whose program can never bid leases out nothing',
          fix: 'run it by hand with an order on standard input; docs/leases.md shows one',
          details: { path },
        })
      : warn(check, {
          found,
          cause: 'it does not bid on a sample order of 1 CPU, 1 GiB for at most $1 an hour',
          fix: 'nothing, where that is what it should do: perhaps it has a list of tenants',
          details: { path },
        }),
  ]
}
