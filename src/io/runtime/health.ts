/** The health check that an image brings along: asked of the engine, or run where the engine does not run it itself. */
import { z } from 'zod'
import type { Context } from './context.ts'
import { askLibpod } from './engine-socket.ts'

/** Docker's default. */
const DEFAULT_INTERVAL_MS = 30_000
/** What an engine knows is asked for more often than the check runs, so that a change shows soon. */
const LOOK_MS = 5_000
const LEAST_MS = 200

/** How often to probe; null: the image has no health check. `undriven` as in the quirks. */
export function probePauseMs(about: unknown, undriven: boolean): number | null {
  const { data } = checkedSchema.safeParse(about)
  const test = data?.Config.Healthcheck?.Test ?? []
  if (test.length === 0 || test[0] === 'NONE') return null
  const intervalMs = (data?.Config.Healthcheck?.Interval ?? 0) / 1e6 || DEFAULT_INTERVAL_MS
  return Math.max(LEAST_MS, undriven ? intervalMs : Math.min(intervalMs, LOOK_MS))
}

/** Null: it cannot be told yet. */
export async function probeHealth({ docker, facts }: Context, id: string): Promise<boolean | null> {
  const answer = facts.quirks.healthUndriven
    ? await askLibpod(docker, { method: 'GET', path: `/containers/${id}/healthcheck` })
    : (await docker.getContainer(id).inspect()).State.Health
  const status = statusSchema.safeParse(answer).data?.Status
  if (status === 'healthy') return true
  return status === 'unhealthy' ? false : null
}

const statusSchema = z.object({ Status: z.string() })

const checkedSchema = z.object({
  Config: z.object({
    Healthcheck: z
      .object({ Test: z.array(z.string()).nullish(), Interval: z.number().nullish() })
      .nullish(),
  }),
})
