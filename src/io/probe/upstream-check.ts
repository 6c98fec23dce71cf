/** The server that `--engine openai` would use: there, and with models. */
import { reasonOf } from '../../core/base/refusal.ts'
import { isRecord } from '../../core/protocol/read-fields.ts'
import { fail, ok, type CheckResult } from './check-result.ts'

const CHECK = 'upstream'
const ANSWER_MS = 10_000

/** `upstream`: up to and including the version, e.g. http://127.0.0.1:8000/v1. */
export async function checkUpstream(
  upstream: string,
  apiKey: string | null,
  signal: AbortSignal,
): Promise<CheckResult> {
  const address = upstream.replace(/\/+$/, '')
  const details = { upstream: address }
  try {
    const response = await fetch(`${address}/models`, {
      headers: apiKey === null ? {} : { authorization: `Bearer ${apiKey}` },
      signal: AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]),
    })
    const body: unknown = response.ok ? await response.json() : null
    const list = isRecord(body) ? body['data'] : null
    if (response.status === 401 || response.status === 403)
      return fail(CHECK, {
        found: `${address} wants another API key`,
        cause: `it answered ${response.status}`,
        fix: 'put its key into an environment variable and name that in upstreamKeyEnv',
        details,
      })
    if (!Array.isArray(list))
      return fail(CHECK, {
        found: `${address}/models is no list of models`,
        cause: `it answered ${response.status}`,
        fix: 'give --upstream the address up to and including /v1',
        details,
      })
    const ids = list.filter(isRecord).map((model) => String(model['id']))
    if (ids.length === 0)
      return fail(CHECK, {
        found: `${address} has no models`,
        cause: 'none is loaded or installed there',
        fix: 'load one in that server first, e.g. ollama pull',
        details,
      })
    const named = ids.slice(0, 5).join(', ')
    return ok(CHECK, `${address} serves ${named}${ids.length > 5 ? ', …' : ''}`, {
      ...details,
      models: ids.length,
    })
  } catch (error) {
    signal.throwIfAborted()
    const cause = error instanceof Error && error.cause !== undefined ? error.cause : error
    return fail(CHECK, {
      found: `${address} does not answer`,
      cause: reasonOf(cause),
      fix: 'start that server, or correct --upstream',
      details,
    })
  }
}
